//! The parts of a reply that are needed to put several together, found without building a tree.
//!
//! All bytes here were scanned before, so they are whole; what is checked is that they are what
//! their command answers.

use crate::resp::parse_i64;

/// A reply of a part cannot be what its command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The number of an integer reply.
pub(super) fn integer(reply: &[u8]) -> Result<i64, Malformed> {
    let digits = reply.strip_prefix(b":").and_then(|r| r.strip_suffix(b"\r\n"));
    digits.and_then(parse_i64).ok_or(Malformed)
}

/// The number of elements of an array or set, and their bytes.
pub(super) fn array(reply: &[u8]) -> Result<(i64, &[u8]), Malformed> {
    let rest = match reply {
        [b'*' | b'~', rest @ ..] => rest,
        _ => return Err(Malformed),
    };
    let end = memchr::memchr(b'\r', rest).ok_or(Malformed)?;
    let count = parse_i64(&rest[..end]).filter(|&n| n >= 0).ok_or(Malformed)?;
    Ok((count, &rest[end + 2..]))
}

/// The length of the string, null or line that `bytes` starts with. They were scanned before.
pub(super) fn element_len(bytes: &[u8]) -> Option<usize> {
    let line = memchr::memchr(b'\n', bytes)? + 1;
    match bytes[0] {
        b'$' | b'=' => match parse_i64(&bytes[1..line - 2])? {
            -1 => Some(line),
            len => Some(line + usize::try_from(len).ok()? + 2).filter(|&n| n <= bytes.len()),
        },
        b'_' | b'-' | b'+' | b':' => Some(line),
        _ => None,
    }
}

/// The text of a bulk or simple string.
pub(super) fn bulk_text(element: &[u8]) -> Option<&[u8]> {
    match element[0] {
        b'$' => {
            let from = memchr::memchr(b'\n', element)? + 1;
            element.get(from..element.len() - 2)
        }
        b'+' | b':' => element.get(1..element.len() - 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_their_headers() {
        assert_eq!(integer(b":-7\r\n"), Ok(-7));
        assert_eq!(integer(b"+7\r\n"), Err(Malformed));
        assert_eq!(array(b"*2\r\n:1\r\n:2\r\n"), Ok((2, &b":1\r\n:2\r\n"[..])));
        assert_eq!(array(b"*-1\r\n"), Err(Malformed));
        let table: &[(&[u8], Option<usize>)] = &[
            (b"$3\r\nabc\r\nrest", Some(9)),
            (b"$-1\r\nrest", Some(5)),
            (b"_\r\nrest", Some(3)),
            (b"*1\r\n", None),
        ];
        for (bytes, len) in table {
            assert_eq!(element_len(bytes), *len, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(bulk_text(b"$2\r\n17\r\n"), Some(&b"17"[..]));
    }
}
