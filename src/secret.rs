//! A password: compared in constant time, and never printed.

/// A password of a client or towards a server. `Debug` and `Display` show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the password's bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self(bytes.as_ref().into())
    }

    /// The bytes, for the one place that sends them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `attempt` is this password. How long it takes depends on the attempt alone, not on
    /// how much of it is right.
    pub fn matches(&self, attempt: &[u8]) -> bool {
        let mut difference = attempt.len() ^ self.0.len();
        for (i, byte) in attempt.iter().enumerate() {
            let own = if self.0.is_empty() { 0 } else { self.0[i % self.0.len()] };
            difference |= usize::from(byte ^ own);
        }
        std::hint::black_box(difference) == 0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_password_matches_and_none_is_shown() {
        let secret = Secret::new("abc");
        for (attempt, right) in [("abc", true), ("ab", false), ("abcabc", false), ("", false)] {
            assert_eq!(secret.matches(attempt.as_bytes()), right, "{attempt:?}");
        }
        assert_eq!(format!("{secret:?}{secret}"), "******");
    }
}
