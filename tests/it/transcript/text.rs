//! Words of a command → bytes, and a reply → one line of text.

use keyway::cluster::Slot;
use keyway::resp::Reply;

/// The words of a command line; `"…"` knows `\n \r \t \\ \" \xHH`.
pub(super) fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.bytes().peekable();
    loop {
        while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
        if bytes.peek().is_none() {
            return words;
        }
        let mut word = Vec::new();
        while let Some(byte) = bytes.next_if(|byte| !byte.is_ascii_whitespace()) {
            if byte != b'"' {
                word.push(byte);
                continue;
            }
            loop {
                match bytes.next().expect("a quote is closed") {
                    b'"' => break,
                    b'\\' => word.push(escaped(&mut bytes)),
                    byte => word.push(byte),
                }
            }
        }
        words.push(word);
    }
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    match bytes.next().expect("something follows a backslash") {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            let mut digit = || {
                let digit = bytes.next().expect("two hexadecimal digits");
                char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8
            };
            digit() << 4 | digit()
        }
        byte => byte,
    }
}

/// `slot(key)` in a text becomes the key's slot; `big(byte,count)` so many of one letter.
pub(super) fn expand(text: &str) -> String {
    let text = expand_call(text, "slot(", |key| Slot::of(key.as_bytes()).number().to_string());
    expand_call(&text, "big(", |inside| {
        let (letter, count) = inside.split_once(',').expect("big(letter,count)");
        letter.repeat(count.trim().parse().expect("a count"))
    })
}

fn expand_call(text: &str, name: &str, value: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(name) {
        let (inside, after) = after.split_once(')').expect("a closing parenthesis");
        out.push_str(before);
        out.push_str(&value(inside));
        rest = after;
    }
    out + rest
}

/// A reply on one line: `OK`, `"bulk"`, `7`, `(nil)`, `-ERR …`, `[…]`, `{k: v}`, `~[…]`.
pub(super) fn show(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(show).collect::<Vec<_>>().join(", ");
    match reply {
        Reply::Simple(text) => text.escape_ascii().to_string(),
        Reply::Error(text) => {
            // A space at the end would be lost on the way to a file.
            let text = String::from_utf8_lossy(text);
            match text.strip_suffix(' ') {
                Some(start) => format!("-{start}\\x20"),
                None => format!("-{text}"),
            }
        }
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => quoted(bytes),
        Reply::Null => "(nil)".into(),
        Reply::NullArray => "(nil array)".into(),
        Reply::Boolean(value) => format!("#{}", if *value { 't' } else { 'f' }),
        Reply::Double(text) => format!(",{}", text.escape_ascii()),
        Reply::BigNumber(digits) => format!("({}", digits.escape_ascii()),
        Reply::Verbatim { format, text } => format!("{}{}", format.escape_ascii(), quoted(text)),
        Reply::Array(items) => format!("[{}]", list(items)),
        Reply::Set(items) => format!("~[{}]", list(items)),
        Reply::Push(items) => format!(">[{}]", list(items)),
        Reply::Map(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", show(key), show(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii().to_string().replace("\\'", "'"))
}

/// Whether a shown reply is what was expected: the same text, or a number within `low..high`, or
/// anything that begins as a text ending in `…` does. `any` is anything but an error.
pub(super) fn matches(expected: &str, got: &str) -> bool {
    if expected == got {
        return true;
    }
    if expected == "any" {
        return !got.starts_with('-');
    }
    if let Some(start) = expected.strip_suffix('…') {
        return got.starts_with(start);
    }
    match (expected.split_once(".."), got.parse::<i64>()) {
        (Some((low, high)), Ok(got)) => {
            let bound = |text: &str| text.parse::<i64>().ok();
            matches!((bound(low), bound(high)), (Some(low), Some(high)) if (low..=high).contains(&got))
        }
        _ => false,
    }
}
