//! Inline commands: a line of words, quoted as in redis-cli.

use super::encode::bulk_header;
use super::request::Span;

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inline {
    /// Its words are in the output; none for an empty line.
    Arguments,
    /// A quote was not closed, or something other than a space followed it.
    UnbalancedQuotes,
}

/// Splits a line into words and writes them as a multibulk, noting where each word lies.
///
/// The rules are those of Redis's inline protocol: words end at white space; `"…"` knows `\n \r
/// \t \b \a \xHH` and takes any other escaped character as it is; `'…'` knows only `\'`; a
/// closing quote must be followed by white space or the end.
pub(super) fn split(line: &[u8], frame: &mut Vec<u8>, spans: &mut Vec<Span>) -> Inline {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut at = 0;
    loop {
        while at < line.len() && is_space(line[at]) {
            at += 1;
        }
        if at == line.len() {
            break;
        }
        let Some((word, next)) = word(line, at) else { return Inline::UnbalancedQuotes };
        words.push(word);
        at = next;
    }
    if words.is_empty() {
        return Inline::Arguments;
    }
    bulk_header(frame, b'*', words.len());
    for word in &words {
        bulk_header(frame, b'$', word.len());
        let start = frame.len() as u32;
        frame.extend_from_slice(word);
        spans.push(Span { start, end: frame.len() as u32 });
        frame.extend_from_slice(b"\r\n");
    }
    Inline::Arguments
}

/// The words of a line, by the rules of inline commands; `None` when its quotes do not match.
pub fn split_inline(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut frame, mut spans) = (Vec::new(), Vec::new());
    match split(line, &mut frame, &mut spans) {
        Inline::UnbalancedQuotes => None,
        Inline::Arguments => {
            let word = |span: &Span| frame[span.start as usize..span.end as usize].to_vec();
            Some(spans.iter().map(word).collect())
        }
    }
}

/// The word that starts at `at`, and where it ended.
fn word(line: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut word = Vec::new();
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' => at = double_quoted(line, at + 1, &mut word)?,
            b'\'' => at = single_quoted(line, at + 1, &mut word)?,
            // Vertical tabs and form feeds are skipped before a word, but do not end one.
            b' ' | b'\t' | b'\n' | b'\r' => return Some((word, at)),
            // A C string ends at its NUL, and so does the last word of Redis's line.
            0 => return Some((word, line.len())),
            _ => {
                word.push(byte);
                at += 1;
                continue;
            }
        }
        return Some((word, at));
    }
    Some((word, at))
}

fn double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match &line[at..] {
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                at += 2;
            }
            [b'"', after @ ..] => return closed(after).then_some(at + 1),
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match &line[at..] {
            [b'\\', b'\'', ..] => {
                word.push(b'\'');
                at += 2;
            }
            [b'\'', after @ ..] => return closed(after).then_some(at + 1),
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// Whether a closing quote may stand before these bytes.
fn closed(after: &[u8]) -> bool {
    after.first().is_none_or(|&byte| is_space(byte))
}

/// C's `isspace` in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (mut frame, mut spans) = (Vec::new(), Vec::new());
        (split(line, &mut frame, &mut spans) == Inline::Arguments).then(|| {
            spans.iter().map(|s| frame[s.start as usize..s.end as usize].to_vec()).collect()
        })
    }

    #[test]
    fn words_are_split_and_unquoted_as_in_redis() {
        let table: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b"  \t ", &[]),
            (b"set  a b ", &[b"set", b"a", b"b"]),
            (br#"set a "\x41\n\"\q""#, &[b"set", b"a", b"A\n\"q"]),
            (br"set a 'it\'s \n'", &[b"set", b"a", br"it's \n"]),
            (br#"set a """#, &[b"set", b"a", b""]),
            (br#"set a pre"post""#, &[b"set", b"a", b"prepost"]),
            (br#"set "\xzz""#, &[b"set", b"xzz"]),
            (b"set \x0b a\x0bb \x0c", &[b"set", b"a\x0bb"]),
        ];
        for (line, expected) in table {
            let expected: Vec<Vec<u8>> = expected.iter().map(|w| w.to_vec()).collect();
            assert_eq!(words(line), Some(expected), "{}", String::from_utf8_lossy(line));
        }
        for line in [&b"set \"a"[..], b"set 'a", b"set \"a\"b", b"set 'a'b", b"\"\\"] {
            assert_eq!(words(line), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
