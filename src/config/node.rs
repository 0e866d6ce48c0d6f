//! A node's configuration: the grammar of redis.conf, and of redis-server's command line.
//!
//! ```text
//! file      := { line "\n" }       # `#` begins a comment line; `include FILE` reads another file
//! line      := name { word }       # words as in an inline command: "a b", "\x00", 'it\'s'
//! arguments := [ FILE | "-" ] [ name { word } ] { "--" name { word } | "--name word …" }
//! ```
//! The word behind a name alone may begin with two dashes itself.
//! Only the grammar is here. What the names mean, and what each may hold, the node knows.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a node is told at its start, in order: a later directive wins.
#[derive(Clone, Debug, Default)]
pub struct NodeConfig {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// All directives, those of the command line last.
    pub directives: Vec<NodeDirective>,
}

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDirective {
    /// Its name, in lower case.
    pub name: String,
    /// What follows.
    pub words: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

/// Where a directive stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file, or on standard input.
    Line {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// The line, from 1.
        number: usize,
        /// The line itself.
        text: String,
    },
    /// On the command line.
    Arguments(String),
}

/// Why a configuration cannot be used. `Display` is the report that redis-server writes: tools
/// look for its first line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\n*** FATAL CONFIG FILE ERROR (Keyway {version}) ***\n{place}{reason}", version = env!("CARGO_PKG_VERSION"))]
pub struct FatalConfig {
    place: Place,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line { file, number, text } => write!(
                f,
                "Reading the configuration file {}, at line {number}\n>>> '{text}'\n",
                file.display()
            ),
            Self::Arguments(text) => write!(f, "Reading the command line\n>>> '{text}'\n"),
        }
    }
}

/// How deep files may include files: more is taken for a circle.
const INCLUDE_DEPTH_MAX: usize = 16;

impl NodeConfig {
    /// Reads what the arguments after `keyway node` say, and the file that they name.
    ///
    /// # Errors
    /// A file that cannot be read, and lines that cannot be taken apart.
    pub fn from_args(args: &[OsString]) -> Result<Self, FatalConfig> {
        let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let mut config = Self::default();
        let mut rest = args.as_slice();
        if let Some((first, others)) = args.split_first()
            && !first.starts_with("--")
        {
            rest = others;
            if first == "-" {
                config.read_stdin()?;
            } else {
                config.file = Some(first.into());
                let place = Place::Arguments(first.clone());
                config.read_file(Path::new(first), &place, 0)?;
            }
        }
        config.read_arguments(rest)?;
        Ok(config)
    }

    /// Reads a file alone.
    ///
    /// # Errors
    /// It cannot be read, or a line cannot be taken apart.
    pub fn from_file(path: &Path) -> Result<Self, FatalConfig> {
        let mut config = Self { file: Some(path.to_owned()), ..Self::default() };
        config.read_file(path, &Place::Arguments(path.display().to_string()), 0)?;
        Ok(config)
    }

    fn read_stdin(&mut self) -> Result<(), FatalConfig> {
        let mut text = String::new();
        if let Err(error) = std::io::stdin().read_to_string(&mut text) {
            let place = Place::Arguments("-".to_owned());
            return Err(FatalConfig { place, reason: format!("Can't read it: {error}") });
        }
        self.read_text(Path::new("-"), &text, 0)
    }

    fn read_file(&mut self, path: &Path, from: &Place, depth: usize) -> Result<(), FatalConfig> {
        let fail = |reason: String| Err(FatalConfig { place: from.clone(), reason });
        if depth > INCLUDE_DEPTH_MAX {
            return fail(format!("Files include each other more than {INCLUDE_DEPTH_MAX} deep"));
        }
        match std::fs::read(path) {
            Ok(text) => self.read_text(path, &String::from_utf8_lossy(&text), depth),
            Err(error) => fail(format!("can't open config file '{}': {error}", path.display())),
        }
    }

    fn read_text(&mut self, file: &Path, text: &str, depth: usize) -> Result<(), FatalConfig> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place =
                Place::Line { file: file.to_owned(), number: number + 1, text: line.to_owned() };
            if line.starts_with("//") {
                let reason = "A comment begins with '#', not with '//'".to_owned();
                return Err(FatalConfig { place, reason });
            }
            let Some(words) = split_words(line) else {
                let reason = "Unbalanced quotes in configuration line".to_owned();
                return Err(FatalConfig { place, reason });
            };
            let mut words = words.into_iter();
            let Some(name) = words.next().map(|name| name.to_ascii_lowercase()) else { continue };
            let words: Vec<String> = words.collect();
            match (name.as_str(), words.as_slice()) {
                ("include", [path]) => self.read_file(Path::new(path), &place, depth + 1)?,
                _ => self.directives.push(NodeDirective { name, words, place }),
            }
        }
        Ok(())
    }

    /// `[ name word … ] { --name word … | "--name word …" }`
    fn read_arguments(&mut self, args: &[String]) -> Result<(), FatalConfig> {
        let is_name = |arg: &&String| arg.starts_with("--");
        let mut rest = args;
        while let Some((first, others)) = rest.split_first() {
            let text = first.strip_prefix("--").unwrap_or(first);
            let mut words = split_words(text).unwrap_or_default().into_iter();
            let Some(name) = words.next() else {
                let reason = "Unbalanced quotes in configuration line".to_owned();
                return Err(FatalConfig { place: Place::Arguments(text.to_owned()), reason });
            };
            let mut words: Vec<String> = words.collect();
            // A name alone takes the next argument, whatever that looks like. `save` may do without.
            let takes_next = words.is_empty()
                && others.first().is_some_and(|next| !next.starts_with("--") || name != "save");
            let given = usize::from(takes_next);
            let count = given + others[given..].iter().take_while(|arg| !is_name(arg)).count();
            words.extend_from_slice(&others[..count]);
            let mut shown = text.to_owned();
            for word in &others[..count] {
                write!(shown, " {word:?}").expect("a text takes all that is written");
            }
            let place = Place::Arguments(shown);
            let name = name.to_ascii_lowercase();
            match (name.as_str(), words.as_slice()) {
                ("include", [path]) => self.read_file(Path::new(path), &place, 1)?,
                _ => self.directives.push(NodeDirective { name, words, place }),
            }
            rest = &others[count..];
        }
        Ok(())
    }

    /// The last value given to a directive of one word, where it was given.
    pub fn last(&self, name: &str) -> Option<&str> {
        let given = self.directives.iter().rev().find(|directive| directive.name == name)?;
        given.words.first().map(String::as_str)
    }

    /// What is wrong with the directive at `place` in the list.
    pub fn fatal(&self, place: usize, reason: String) -> FatalConfig {
        let place = match self.directives.get(place) {
            Some(directive) => directive.place.clone(),
            None => Place::Arguments(String::new()),
        };
        FatalConfig { place, reason }
    }

    /// Refuses what a node could only pretend to do: better no start than a false promise.
    ///
    /// # Errors
    /// `daemonize yes`, TLS, and loading of modules.
    pub fn refuse_what_is_not_built(&self) -> Result<(), FatalConfig> {
        for (index, directive) in self.directives.iter().enumerate() {
            let name = directive.name.as_str();
            let is_overridden = || self.directives[index + 1..].iter().any(|d| d.name == name);
            if name != "loadmodule" && is_overridden() {
                continue;
            }
            let value = directive.words.first().map_or("", String::as_str);
            let reason = match name {
                "daemonize" if value.eq_ignore_ascii_case("yes") => {
                    "A node runs in the foreground: leave daemonize to the service manager, or override \
                     it with --daemonize no"
                }
                "tls-port" if value != "0" => "This version does not speak TLS",
                "loadmodule" => "This version does not load modules",
                _ => continue,
            };
            let place = directive.place.clone();
            return Err(FatalConfig { place, reason: reason.to_owned() });
        }
        Ok(())
    }
}

/// Splits a line into words as an inline command is split; `None` when its quotes do not match.
fn split_words(line: &str) -> Option<Vec<String>> {
    let words = crate::resp::split_inline(line.as_bytes())?;
    Some(words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Vec<(String, Vec<String>)>, String> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let config = NodeConfig::from_args(&args).map_err(|error| error.to_string())?;
        Ok(config.directives.into_iter().map(|d| (d.name, d.words)).collect())
    }

    fn directive(name: &str, words: &[&str]) -> (String, Vec<String>) {
        (name.to_owned(), words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn what_a_later_directive_overrides_is_not_refused() {
        let check = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let config = NodeConfig::from_args(&args).expect("it reads");
            config.refuse_what_is_not_built().map_err(|error| error.reason)
        };
        assert_eq!(check(&["--daemonize", "yes", "--daemonize", "no"]), Ok(()));
        assert_eq!(check(&["--tls-port", "7000", "--port", "1", "--tls-port", "0"]), Ok(()));
        for (args, word) in [
            (["--daemonize", "no", "--daemonize", "yes"], "--daemonize no"),
            (["--tls-port", "0", "--tls-port", "7000"], "TLS"),
            (["--loadmodule", "a.so", "--loadmodule", "b.so"], "modules"),
        ] {
            let reason = check(&args).expect_err("refused");
            assert!(reason.contains(word), "{reason}");
        }
    }

    #[test]
    fn arguments_are_read_as_redis_server_reads_them() {
        let args = ["--port", "7000", "--save", "60 1", "--save", "", "--bind", "127.0.0.1", "::1"];
        assert_eq!(
            parse(&args).expect("valid"),
            [
                directive("port", &["7000"]),
                directive("save", &["60 1"]),
                directive("save", &[""]),
                directive("bind", &["127.0.0.1", "::1"]),
            ]
        );
        for (args, expected) in [
            (&["--requirepass", "a b"][..], &[directive("requirepass", &["a b"])][..]),
            // In one argument, quoted as in a file.
            (&["--requirepass 'a b'"], &[directive("requirepass", &["a b"])]),
            (&["--Port 1", "--dir x"], &[directive("port", &["1"]), directive("dir", &["x"])]),
            // A value may begin with dashes.
            (
                &["--requirepass", "--a", "--port", "1"],
                &[directive("requirepass", &["--a"]), directive("port", &["1"])],
            ),
            (&["--port", "--dir"], &[directive("port", &["--dir"])]),
            (&["--save", "--port", "1"], &[directive("save", &[]), directive("port", &["1"])]),
            (&["--port", "1", "--save"], &[directive("port", &["1"]), directive("save", &[])]),
            (&["--port"], &[directive("port", &[])]),
        ] {
            assert_eq!(parse(args).expect("valid"), expected, "{args:?}");
        }
    }

    #[test]
    fn words_behind_a_file_are_a_directive() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("node.conf");
        std::fs::write(&file, "").expect("written");
        let file = file.to_str().expect("text");
        assert_eq!(
            parse(&[file, "port", "1", "--hz", "2"]).expect("valid"),
            [directive("port", &["1"]), directive("hz", &["2"])]
        );
    }

    #[test]
    fn files_may_quote_comment_and_include() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("inner.conf");
        std::fs::write(&inner, "maxmemory 10mb\n").expect("written");
        let outer = dir.path().join("outer.conf");
        let text = format!(
            "# a comment\n\n  PORT 7000\nrequirepass \"a \\x41\"\ninclude {}\n",
            inner.display()
        );
        std::fs::write(&outer, text).expect("written");
        let outer = outer.to_str().expect("text");
        assert_eq!(
            parse(&[outer, "--port", "1"]).expect("valid"),
            [
                directive("port", &["7000"]),
                directive("requirepass", &["a A"]),
                directive("maxmemory", &["10mb"]),
                directive("port", &["1"]),
            ]
        );
    }

    #[test]
    fn a_mistake_is_reported_with_its_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("node.conf");
        for (text, reason) in [
            ("port 1\nrequirepass \"a\n", "Unbalanced quotes in configuration line"),
            ("port 1\n// no\n", "A comment begins with '#', not with '//'"),
        ] {
            std::fs::write(&file, text).expect("written");
            let error = NodeConfig::from_file(&file).expect_err("wrong").to_string();
            assert!(error.contains("*** FATAL CONFIG FILE ERROR"), "{error}");
            assert!(error.contains("at line 2\n>>> '"), "{error}");
            assert!(error.ends_with(reason), "{error}");
        }
    }

    #[test]
    fn files_that_include_each_other_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("circle.conf");
        std::fs::write(&file, format!("include {}\n", file.display())).expect("written");
        let error = NodeConfig::from_file(&file).expect_err("a circle").to_string();
        assert!(error.contains("include each other"), "{error}");
    }
}
