//! Questions to the operator.

use super::failure::Failure;
use super::report::Report;
use std::io::{BufRead, Read, Write};

/// An answer that is longer than this was not typed.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Asks, and reads a line. The end of the input is no answer: nothing is done without one.
pub(super) fn ask(report: &mut dyn Report, question: &str) -> Result<String, Failure> {
    report.part(question);
    let mut answer = Vec::new();
    let read = std::io::stdin().lock().take(ANSWER_BYTES).read_until(b'\n', &mut answer);
    let read = read.map_err(|error| Failure::error(format!("can't read the answer: {error}")))?;
    if read == 0 {
        report.line("");
        return Err(Failure::new("*** End of input: aborted, nothing was changed."));
    }
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}

/// Asks for a password on the terminal, without showing it. The question goes to the standard
/// error, as standard output may be somebody's JSON.
pub(super) fn ask_password(question: &str) -> Result<String, Failure> {
    let stdin = rustix::stdio::stdin();
    let Ok(before) = rustix::termios::tcgetattr(stdin) else { return ask(&mut Aside, question) };
    let mut hidden = before.clone();
    hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
    let set =
        |modes| rustix::termios::tcsetattr(stdin, rustix::termios::OptionalActions::Now, modes);
    set(&hidden).map_err(|error| Failure::error(format!("can't hide the password: {error}")))?;
    let answer = ask(&mut Aside, question);
    let _ = set(&before);
    Aside.line("");
    answer
}

/// The standard error.
struct Aside;

impl Report for Aside {
    fn line(&mut self, text: &str) {
        self.part(text);
        self.part("\n");
    }

    fn part(&mut self, text: &str) {
        // A question that cannot be shown can still be answered.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
