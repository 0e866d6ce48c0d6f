//! The manifest of the append-only file: which files it consists of, in Redis's words.
//!
//! ```text
//! file appendonly.aof.2.base.rdb seq 2 type b
//! file appendonly.aof.5.incr.aof seq 5 type i
//! ```

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

/// The text is no manifest. The line is Redis's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid AOF manifest file format: line {0}")]
pub(super) struct BadManifest(usize);

impl Manifest {
    /// Reads a manifest.
    pub(super) fn parse(text: &str) -> Result<Self, BadManifest> {
        let mut manifest = Self::default();
        for (index, line) in text.lines().enumerate() {
            let bad = || BadManifest(index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let value = |key: &str| {
                let pairs = words.chunks_exact(2);
                pairs.into_iter().find(|pair| pair[0] == key).map(|pair| pair[1])
            };
            let name = value("file").filter(|name| !name.contains('/')).ok_or_else(bad)?;
            let name = name.trim_matches('"').to_owned();
            let seq = value("seq").and_then(|seq| seq.parse().ok()).ok_or_else(bad)?;
            let part = Part { name, seq };
            match value("type") {
                Some("b") if manifest.base.is_none() => manifest.base = Some(part),
                Some("i") if manifest.increments.last().is_none_or(|last| last.seq < seq) => {
                    manifest.increments.push(part);
                }
                Some("h") => manifest.history.push(part),
                _ => return Err(bad()),
            }
        }
        Ok(manifest)
    }

    /// The text of the file.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        let base = self.base.iter().map(|part| (part, 'b'));
        let history = self.history.iter().map(|part| (part, 'h'));
        let increments = self.increments.iter().map(|part| (part, 'i'));
        for (part, kind) in base.chain(history).chain(increments) {
            let Part { name, seq } = part;
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
        assert_eq!(Manifest::parse("# nothing\n\n"), Ok(Manifest::default()));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for text in [
            "file a seq 1",
            "file a seq x type b",
            "file ../a seq 1 type b",
            "seq 1 type i",
            "file a seq 1 type b\nfile b seq 2 type b",
            "file a seq 2 type i\nfile b seq 1 type i",
            "file a seq 1 type z",
        ] {
            assert!(Manifest::parse(text).is_err(), "{text}");
        }
    }
}
