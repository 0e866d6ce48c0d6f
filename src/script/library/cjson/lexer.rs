//! JSON cut into tokens.

use crate::value::parse_double_prefix;
use std::borrow::Cow;

/// A token. A zero byte is an end wherever it stands, the end of the text included.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Cow<'a, [u8]>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    /// What is none, and why.
    Wrong(&'static str),
}

impl Token<'_> {
    /// What errors call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::Text(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Wrong(why) => why,
        }
    }
}

pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// Hexadecimal numbers, infinities and what is no number are read.
    invalid_numbers: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], invalid_numbers: bool) -> Self {
        Self { text, at: 0, invalid_numbers }
    }

    /// The next token, and where it starts; of what is none, where it went wrong.
    pub(super) fn next(&mut self) -> (Token<'a>, usize) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let start = self.at;
        let rest = &self.text[start..];
        let (token, len) = match rest.first().copied().unwrap_or(0) {
            0 => (Token::End, 0),
            b'{' => (Token::ObjectBegin, 1),
            b'}' => (Token::ObjectEnd, 1),
            b'[' => (Token::ArrayBegin, 1),
            b']' => (Token::ArrayEnd, 1),
            b':' => (Token::Colon, 1),
            b',' => (Token::Comma, 1),
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' if self.invalid_numbers || !is_invalid_number(rest) => number(rest),
            b'-' | b'0'..=b'9' => (Token::Wrong("invalid number"), 0),
            _ if rest.starts_with(b"true") => (Token::Boolean(true), 4),
            _ if rest.starts_with(b"false") => (Token::Boolean(false), 5),
            _ if rest.starts_with(b"null") => (Token::Null, 4),
            _ if self.invalid_numbers && is_invalid_number(rest) => number(rest),
            _ => (Token::Wrong("invalid token"), 0),
        };
        self.at += len;
        (token, start)
    }

    fn string(&mut self) -> (Token<'a>, usize) {
        let start = self.at;
        self.at += 1;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0)).count();
            let (plain, rest) = rest.split_at(plain);
            self.at += plain.len();
            match rest.first() {
                Some(b'"') => {
                    self.at += 1;
                    let text = match unescaped {
                        Some(mut text) => {
                            text.extend_from_slice(plain);
                            Cow::Owned(text)
                        }
                        None => Cow::Borrowed(plain),
                    };
                    return (Token::Text(text), start);
                }
                Some(b'\\') => {
                    let text = unescaped.get_or_insert_default();
                    text.extend_from_slice(plain);
                    match unescape(rest, text) {
                        Ok(len) => self.at += len,
                        Err(why) => return (Token::Wrong(why), self.at),
                    }
                }
                _ => return (Token::Wrong("unexpected end of string"), self.at),
            }
        }
    }
}

/// Reads an escape, and returns its length.
fn unescape(text: &[u8], out: &mut Vec<u8>) -> Result<usize, &'static str> {
    let byte = match text.get(1) {
        Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => {
            let (character, len) = unicode(text).ok_or("invalid unicode escape code")?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(len);
        }
        _ => return Err("invalid escape code"),
    };
    out.push(byte);
    Ok(2)
}

/// `\uXXXX`, or two of them for what lies beyond 16 bits.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let escape = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        escape.iter().try_fold(0, |unit, &digit| Some(unit << 4 | (digit as char).to_digit(16)?))
    };
    let high = unit(0)?;
    if let Some(character) = char::from_u32(high) {
        return Some((character, 6));
    }
    let low = unit(6)?;
    if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    let character = char::from_u32(0x10000 + ((high & 0x3ff) << 10 | (low & 0x3ff)))?;
    Some((character, 12))
}

/// Whether it starts as a number that JSON does not have: with a plus, a zero before a digit,
/// hexadecimal, infinite, or no number.
fn is_invalid_number(text: &[u8]) -> bool {
    if text.first() == Some(&b'+') {
        return true;
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let starts = |word: &[u8]| text.len() >= 3 && text[..3].eq_ignore_ascii_case(word);
    matches!(text, [b'0', b'x' | b'X' | b'0'..=b'9', ..]) || starts(b"inf") || starts(b"nan")
}

fn number(text: &[u8]) -> (Token<'static>, usize) {
    let (number, mut len) = parse_double_prefix(text);
    if len == 0 {
        return (Token::Wrong("invalid number"), 0);
    }
    if number.is_nan() && text.get(len) == Some(&b'(') {
        // What is no number may say in parentheses which one it is.
        let inside = text[len + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
            .count();
        if text.get(len + 1 + inside) == Some(&b')') {
            len += inside + 2;
        }
    }
    (Token::Number(number), len)
}
