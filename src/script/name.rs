//! What scripts are called.

use crate::value::sha1;
use std::fmt;

/// A script's name: the SHA-1 of its text, as 40 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ScriptName([u8; Self::LENGTH]);

impl ScriptName {
    /// Digits of a name.
    pub(crate) const LENGTH: usize = 40;

    /// The name of a text.
    pub(crate) fn of(body: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut name = [0; 40];
        for (digits, byte) in name.chunks_exact_mut(2).zip(sha1(body)) {
            digits[0] = DIGITS[usize::from(byte >> 4)];
            digits[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(name)
    }

    /// A name as a client spells it, in either case. `None` if no script can be called so.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; 40] = text.try_into().ok()?;
        let hex = digits.iter().all(u8::is_ascii_hexdigit);
        hex.then(|| Self(digits.map(|digit| digit.to_ascii_lowercase())))
    }

    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits")
    }
}

impl fmt::Display for ScriptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_called_by_its_sha1() {
        let name = ScriptName::of(b"return 1");
        assert_eq!(name.as_str(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(ScriptName::parse(b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), Some(name));
        assert_eq!(ScriptName::parse(b"e0e1"), None);
        assert_eq!(ScriptName::parse(&[b'x'; 40]), None);
    }
}
