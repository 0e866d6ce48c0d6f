//! Bytes written as text.

/// `\r \n \t \\ \xHH` → bytes; everything else stands for itself.
///
/// # Panics
/// When a backslash is followed by something else.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'r') => out.push(b'\r'),
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'\\') => out.push(b'\\'),
            Some(b'"') => out.push(b'"'),
            Some(b'x') => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let (Some(high), Some(low)) = (high, low) else { panic!("\\xHH in {text}") };
                out.push((high << 4 | low) as u8);
            }
            other => panic!("a backslash before {:?} in {text}", other.map(char::from)),
        }
    }
    out
}

/// `big(text,count)` → so many times the text.
///
/// # Panics
/// When a count is missing.
pub(crate) fn expand_big(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("big(") {
        let (repeated, after) = after.split_once(',').expect("a count after a comma");
        let (count, after) = after.split_once(')').expect("a closing parenthesis");
        out.push_str(before);
        out.push_str(&repeated.repeat(count.parse().expect("a count")));
        rest = after;
    }
    out + rest
}
