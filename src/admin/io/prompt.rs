//! Questions to the operator.

use super::failure::Failure;
use super::report::Report;
use std::io::{BufRead, Read};

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

/// Asks for a password on the terminal, without showing it.
pub(super) fn ask_password(report: &mut dyn Report, question: &str) -> Result<String, Failure> {
    let stdin = rustix::stdio::stdin();
    let Ok(before) = rustix::termios::tcgetattr(stdin) else { return ask(report, question) };
    let mut hidden = before.clone();
    hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
    let set =
        |modes| rustix::termios::tcsetattr(stdin, rustix::termios::OptionalActions::Now, modes);
    set(&hidden).map_err(|error| Failure::error(format!("can't hide the password: {error}")))?;
    let answer = ask(report, question);
    let _ = set(&before);
    report.line("");
    answer
}
