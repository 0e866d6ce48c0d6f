//! The manifest of the append-only file: which files it consists of, in Redis's words.
//!
//! ```text
//! file appendonly.aof.2.base.rdb seq 2 type b
//! file appendonly.aof.5.incr.aof seq 5 type i
//! ```

use crate::resp::split_inline;
use std::borrow::Cow;
use std::fmt::Write as _;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) seq: u64,
}

/// All files, in the order in which they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) base: Option<Part>,
    pub(super) increments: Vec<Part>,
    /// Files that nobody needs any more.
    pub(super) history: Vec<Part>,
}

/// The longest line.
const LINE_BYTES_MAX: usize = 1024;

/// Why a text is no manifest: the line, and what is wrong, in Redis's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: line {line}")]
pub(super) struct BadManifest {
    line: usize,
    reason: &'static str,
}

impl Manifest {
    /// Reads a manifest. One that names nothing is none: whoever began it did not come to its end.
    pub(super) fn parse(text: &str) -> Result<Self, BadManifest> {
        if text.is_empty() {
            return Err(BadManifest { line: 0, reason: "Found an empty AOF manifest" });
        }
        let mut manifest = Self::default();
        for (index, line) in text.lines().enumerate() {
            manifest.add(line).map_err(|reason| BadManifest { line: index + 1, reason })?;
        }
        Ok(manifest)
    }

    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        const FORMAT: &str = "Invalid AOF manifest file format";
        if line.len() > LINE_BYTES_MAX {
            return Err("The AOF manifest file contains too long line");
        }
        if line.starts_with('#') {
            return Ok(());
        }
        let words = split_inline(line.as_bytes()).ok_or(FORMAT)?;
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        if words.len() < 6 || words.len() % 2 != 0 {
            return Err(FORMAT);
        }
        // What later versions may say besides is left alone.
        let value = |key: &str| {
            words.chunks_exact(2).find(|pair| pair[0] == key).map(|pair| pair[1].as_ref())
        };
        let name = value("file").filter(|name| !name.contains('/')).ok_or(FORMAT)?.to_owned();
        let seq = value("seq").and_then(|seq| seq.parse().ok()).ok_or(FORMAT)?;
        let part = Part { name, seq };
        match value("type").ok_or(FORMAT)? {
            "b" if self.base.is_some() => return Err("Found duplicate base file information"),
            "b" => self.base = Some(part),
            "i" if self.increments.last().is_some_and(|last| last.seq >= seq) => {
                return Err("Found a non-monotonic sequence number");
            }
            "i" => self.increments.push(part),
            "h" => self.history.push(part),
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    /// The text of the file.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        let base = self.base.iter().map(|part| (part, 'b'));
        let history = self.history.iter().map(|part| (part, 'h'));
        let increments = self.increments.iter().map(|part| (part, 'i'));
        for (part, kind) in base.chain(history).chain(increments) {
            let Part { name, seq } = part;
            let name = quoted(name);
            writeln!(text, "file {name} seq {seq} type {kind}").expect("a string takes all");
        }
        text
    }

    /// The next base.
    pub(super) fn next_base(&self, stem: &str) -> Part {
        let seq = self.base.as_ref().map_or(0, |part| part.seq) + 1;
        Part { name: format!("{stem}.{seq}.base.rdb"), seq }
    }

    /// The next increment.
    pub(super) fn next_increment(&self, stem: &str) -> Part {
        let seq = self.increments.last().map_or(0, |part| part.seq) + 1;
        Part { name: format!("{stem}.{seq}.incr.aof"), seq }
    }
}

/// A name as it is written in a line: in quotes where it would be several words, or none.
fn quoted(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !name.is_empty() && name.bytes().all(plain) {
        return Cow::Borrowed(name);
    }
    let mut text = String::from('"');
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a string takes all"),
        }
    }
    text.push('"');
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                        file appendonly.aof.1.base.rdb seq 1 type h\n\
                        file appendonly.aof.4.incr.aof seq 4 type i\n\
                        file appendonly.aof.5.incr.aof seq 5 type i\n";

    #[test]
    fn it_reads_what_it_writes() {
        let manifest = Manifest::parse(TEXT).expect("a manifest");
        assert_eq!(manifest.to_text(), TEXT);
        assert_eq!(manifest.next_base("appendonly.aof").name, "appendonly.aof.3.base.rdb");
        assert_eq!(manifest.next_increment("appendonly.aof").name, "appendonly.aof.6.incr.aof");
        assert_eq!(Manifest::parse("# nothing\n"), Ok(Manifest::default()));
    }

    #[test]
    fn names_may_hold_anything_but_a_folder() {
        let part = |name: &str| Part { name: name.to_owned(), seq: 1 };
        for name in ["a b.1.base.rdb", "it's", "\"", "a\\b", "é", "\n"] {
            let manifest = Manifest { base: Some(part(name)), ..Manifest::default() };
            assert_eq!(Manifest::parse(&manifest.to_text()), Ok(manifest), "{name}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        const FORMAT: &str = "Invalid AOF manifest file format";
        let long = format!("file {} seq 1 type b", "a".repeat(2000));
        for (text, reason) in [
            ("", "Found an empty AOF manifest"),
            ("file a seq 1", FORMAT),
            ("file a seq 1 type b\n\nfile b seq 1 type i", FORMAT),
            ("file a seq 1 type b key", FORMAT),
            ("file a seq x type b", FORMAT),
            ("file ../a seq 1 type b", FORMAT),
            ("filx a seq 1 type i", FORMAT),
            ("file \"a seq 1 type i", FORMAT),
            ("file a seq 1 type b\nfile b seq 2 type b", "Found duplicate base file information"),
            ("file a seq 2 type i\nfile b seq 1 type i", "Found a non-monotonic sequence number"),
            ("file a seq 1 type z", "Unknown AOF file type"),
            (&long, "The AOF manifest file contains too long line"),
        ] {
            let error = Manifest::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
