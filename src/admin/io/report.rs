//! Where the tool's words go: a terminal, a pipe, a JSON document, or nowhere.

use std::io::{IsTerminal, Write};

/// What a terminal has that does not say how wide it is.
const COLUMNS: usize = 80;

/// Takes what the tool says as it works.
pub trait Report {
    /// A line, or several that belong together.
    fn line(&mut self, text: &str);

    /// A piece of a line that is to be seen at once: dots, prompts.
    fn part(&mut self, text: &str);

    /// How wide the terminal is, where somebody watches who is better served by one line that is
    /// rewritten; none in a log.
    fn columns(&self) -> Option<usize> {
        None
    }
}

/// Says nothing: for `keyway up`, which has its own words.
#[derive(Debug, Default)]
pub struct Silent;

impl Report for Silent {
    fn line(&mut self, _text: &str) {}
    fn part(&mut self, _text: &str) {}
}

/// Standard output; with colours by the first letters of a line, as redis-trib has them.
#[derive(Debug)]
pub struct Terminal {
    colour: bool,
    live: bool,
}

impl Terminal {
    /// Colours only where a person looks at them and has not declined (`NO_COLOR`).
    pub fn new() -> Self {
        let live = std::io::stdout().is_terminal();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: live && !dumb && !declined, live: live && !dumb }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Report for Terminal {
    fn line(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that went away (`| head`) must not stop a move midway.
        let _ = match colour_of(text) {
            Some(colour) if self.colour => writeln!(out, "\x1b[{colour}m{text}\x1b[0m"),
            _ => writeln!(out, "{text}"),
        };
    }

    fn part(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }

    fn columns(&self) -> Option<usize> {
        let size = || rustix::termios::tcgetwinsize(rustix::stdio::stdout());
        let columns = || size().ok().map(|size| usize::from(size.ws_col)).filter(|n| *n > 0);
        self.live.then(|| columns().unwrap_or(COLUMNS))
    }
}

/// redis-trib's colours: headings bold, errors and warnings red, good news green.
fn colour_of(text: &str) -> Option<&'static str> {
    Some(match text.get(..3)? {
        ">>>" => "29;1",
        "[ER" | "[WA" => "31;1",
        "[OK" => "32",
        "[FA" | "***" => "33",
        _ => return None,
    })
}

/// Keeps what was said: for `--json`, and for tests.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The lines so far; the last one may be unfinished.
    pub text: String,
}

impl Report for Recorded {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn part(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_coloured_by_how_it_starts() {
        for (text, colour) in [
            (">>> Creating cluster", Some("29;1")),
            ("[ERR] no", Some("31;1")),
            ("[WARNING] careful", Some("31;1")),
            ("[OK] fine", Some("32")),
            ("*** Aborting...", Some("33")),
            ("M: abc", None),
            ("é", None),
        ] {
            assert_eq!(colour_of(text), colour, "{text}");
        }
    }
}
