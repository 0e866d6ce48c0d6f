//! What a script's first line says of it: `#!lua flags=no-writes,allow-stale`.

use super::Declared;
use crate::resp::split_inline;

/// Reads the first line, if it is a shebang, and says where the script proper starts: at that
/// line's end, so that lines keep their numbers.
///
/// # Errors
/// The whole error line, as Redis 7.0 words it.
pub(super) fn read(body: &[u8]) -> Result<(Declared, usize), Vec<u8>> {
    if !body.starts_with(b"#!") {
        return Ok((Declared::default(), 0));
    }
    let Some(end) = memchr::memchr(b'\n', body) else {
        return Err(b"ERR Invalid script shebang".to_vec());
    };
    let words = match split_inline(&body[..end]) {
        Some(words) if !words.is_empty() => words,
        _ => return Err(b"ERR Invalid engine in script shebang".to_vec()),
    };
    if words[0] != b"#!lua" {
        return Err(refusal("Unexpected engine in script shebang", &words[0]));
    }
    let mut declared = Declared { says: true, ..Declared::default() };
    for word in &words[1..] {
        let Some(flags) = word.strip_prefix(b"flags=") else {
            return Err(refusal("Unknown lua shebang option", word));
        };
        if flags.is_empty() {
            continue;
        }
        for flag in flags.split(|&byte| byte == b',') {
            match flag {
                b"no-writes" => declared.no_writes = true,
                b"allow-oom" => declared.allow_oom = true,
                b"allow-stale" => declared.allow_stale = true,
                b"no-cluster" => declared.no_cluster = true,
                b"allow-cross-slot-keys" => declared.allow_cross_slot_keys = true,
                _ => return Err(refusal("Unexpected flag in script shebang", flag)),
            }
        }
    }
    Ok((declared, end))
}

fn refusal(problem: &str, what: &[u8]) -> Vec<u8> {
    [b"ERR ", problem.as_bytes(), b": ", what].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_shebang_says_nothing() {
        assert_eq!(read(b"return 1"), Ok((Declared::default(), 0)));
    }

    #[test]
    fn a_shebang_names_flags() {
        let (declared, start) =
            read(b"#!lua flags=no-writes,allow-stale\nreturn 1").expect("it is read");
        assert_eq!(start, 33);
        let expected =
            Declared { says: true, no_writes: true, allow_stale: true, ..Declared::default() };
        assert_eq!(declared, expected);
        assert!(read(b"#!lua\nreturn 1").expect("it is read").0.says);
    }

    #[test]
    fn what_a_shebang_must_not_say_is_told_as_redis_tells_it() {
        for (body, error) in [
            ("#!lua", "ERR Invalid script shebang"),
            ("#!lua flags=a\nreturn 1", "ERR Unexpected flag in script shebang: a"),
            ("#!lua flags=no-writes, allow-oom\n", "ERR Unexpected flag in script shebang: "),
            ("#!lua flags=NO-WRITES\n", "ERR Unexpected flag in script shebang: NO-WRITES"),
            ("#!lua name=x\nreturn 1", "ERR Unknown lua shebang option: name=x"),
            ("#! lua\nreturn 1", "ERR Unexpected engine in script shebang: #!"),
            ("#!LUA\nreturn 1", "ERR Unexpected engine in script shebang: #!LUA"),
            ("#!lua \"x\nreturn 1", "ERR Invalid engine in script shebang"),
        ] {
            assert_eq!(read(body.as_bytes()), Err(error.as_bytes().to_vec()), "{body}");
        }
    }
}
