//! The patterns of KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET and ACLs, matched as Redis matches them.
//!
//! A mismatch only ever goes back to the last `*`: what an earlier one could swallow more of, the
//! last one can swallow too. So the cost is at most the pattern's length times the text's, and
//! `a*a*a*…b` is no weapon.

/// Whether letter case counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` matches only `a`.
    Sensitive,
    /// `a` matches `A` too (ASCII letters).
    Ignored,
}

impl Case {
    fn fold(self, byte: u8) -> u8 {
        match self {
            Self::Sensitive => byte,
            Self::Ignored => byte.to_ascii_lowercase(),
        }
    }
}

/// Whether all of `text` matches `pattern`: `*` is any bytes, `?` one byte, `[a-z]` or `[^a-z]` one
/// byte of a class, `\` takes the next byte as it is.
///
/// An empty text matches only an empty pattern, not even `*`: callers know `*` as "all" before they
/// ask, and Redis's matcher does not look at a pattern when there is no byte to compare.
pub fn glob_match(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to resume: behind the last `*`, with one more byte given to it.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                if p == pattern.len() {
                    return true;
                }
                star = Some((p, t));
                continue;
            }
            Some(_) => {
                let (matches, next) = match_byte(&pattern[p..], text[t], case);
                if matches {
                    p += next;
                    t += 1;
                    continue;
                }
            }
            None => {}
        }
        let Some((behind, from)) = star else { return false };
        (p, t) = (behind, from + 1);
        star = Some((p, t));
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Whether `byte` matches the first element of `pattern` (which is not `*`), and that element's
/// length.
fn match_byte(pattern: &[u8], byte: u8, case: Case) -> (bool, usize) {
    let same = |literal: u8| case.fold(literal) == case.fold(byte);
    match pattern {
        [b'?', ..] => (true, 1),
        [b'[', ..] => match_class(pattern, byte, case),
        [b'\\', literal, ..] => (same(*literal), 2),
        [literal, ..] => (same(*literal), 1),
        [] => (false, 0),
    }
}

/// As [`match_byte`], for `[…]`. A class that is not closed ends with the pattern.
fn match_class(pattern: &[u8], byte: u8, case: Case) -> (bool, usize) {
    let raw = byte;
    let byte = case.fold(byte);
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        at += match &pattern[at..] {
            [] => return (found != negated, at),
            [b'\\', literal, ..] => {
                // Here letter case counts, always: Redis compares this byte as it is.
                // Escaped inside a class, letter case always counts: so it is in Redis.
                found |= *literal == raw;
                2
            }
            [b']', ..] => return (found != negated, at + 1),
            [from, b'-', to, ..] => {
                let (from, to) = (case.fold(*from.min(to)), case.fold(*from.max(to)));
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                3
            }
            [literal, ..] => {
                found |= case.fold(*literal) == byte;
                1
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_they_do_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("*", "anything", true),
            ("**", "", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            (r"h\?llo", "h?llo", true),
            (r"h\?llo", "hello", false),
            (r"[\]]", "]", true),
            (r"[a\-z]", "-", true),
            (r"[a\-z]", "b", false),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("[ab", "b", true),
            ("[ab", "c", false),
            ("[", "a", false),
            ("[^", "a", true),
            (r"a\", r"a\", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("*a", "ba", true),
            ("a?", "a", false),
            ("[a-]", "[", false),
            ("[a-]", "_", true),
        ] {
            let found = glob_match(pattern.as_bytes(), text.as_bytes(), Case::Sensitive);
            assert_eq!(found, expected, "{pattern:?} on {text:?}");
        }
        assert!(glob_match(b"CONF[A-I]G|*", b"config|get", Case::Ignored));
        assert!(!glob_match(b"CONFIG", b"config", Case::Sensitive));
        assert!(glob_match(br"\GET", b"get", Case::Ignored));
        assert!(glob_match(br"[\g]ET", b"get", Case::Ignored));
        assert!(!glob_match(br"[\G]ET", b"get", Case::Ignored));
    }

    /// Redis's definition, written as the recursion that it is: slow, and plainly right.
    fn reference(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skip| reference(rest, &text[skip..])),
            _ => match text {
                [] => false,
                [byte, rest @ ..] => {
                    let (matches, next) = match_byte(pattern, *byte, Case::Sensitive);
                    matches && reference(&pattern[next..], rest)
                }
            },
        }
    }

    proptest::proptest! {
        #[test]
        fn going_back_to_the_last_star_is_enough(
            pattern in r"[ab*?\[\]^\\-]{0,9}",
            text in r"[ab\]\\-]{0,9}",
        ) {
            proptest::prop_assert_eq!(
                glob_match(pattern.as_bytes(), text.as_bytes(), Case::Sensitive),
                if text.is_empty() {
                    pattern.is_empty()
                } else {
                    reference(pattern.as_bytes(), text.as_bytes())
                }
            );
        }
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_length_times_the_texts() {
        let pattern = [b"a*".repeat(500), b"b".to_vec()].concat();
        let text = b"a".repeat(20_000);
        // 20 million steps at most; with a recursion per star this would not end.
        assert!(!glob_match(&pattern, &text, Case::Sensitive));
    }
}
