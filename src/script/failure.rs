//! What calls raise: an error that a script can catch as a table, or one that nothing catches.

use super::library;
use mlua::{Error, Lua, Table, Value};
use std::fmt;
use std::sync::Arc;

/// What a function of the `redis` table raises.
#[derive(Debug)]
pub(super) enum Raised {
    /// A table with `err`: code and text. `counted` if it is the error of a command that ran.
    Table { text: Vec<u8>, counted: bool },
    /// The script is to end: SCRIPT KILL.
    Killed,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { text, .. } => f.write_str(&String::from_utf8_lossy(text)),
            Self::Killed => f.write_str(KILLED),
        }
    }
}

impl std::error::Error for Raised {}

impl From<Raised> for Error {
    fn from(raised: Raised) -> Self {
        Self::ExternalError(Arc::new(raised))
    }
}

/// What a script that was killed ends with.
pub(super) const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";

/// An error of a function's own, as a table.
pub(super) fn refusal(text: &str) -> Error {
    Raised::Table { text: format!("ERR {text}").into_bytes(), counted: false }.into()
}

/// The table that a script sees of an error.
pub(super) fn table(lua: &Lua, text: &[u8], counted: bool) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(text)?)?;
    if counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}

/// An error as whoever catches it sees it.
pub(super) enum Caught {
    Value(Value),
    Killed,
}

/// What a caught value is: an object of ours becomes the text or table that it stands for.
pub(super) fn caught(lua: &Lua, value: Value) -> mlua::Result<Caught> {
    let Value::Error(error) = &value else { return Ok(Caught::Value(value)) };
    if let Some(text) = library::raised(error) {
        return Ok(Caught::Value(Value::String(lua.create_string(text)?)));
    }
    Ok(Caught::Value(match raised(error) {
        Some(Raised::Killed) => return Ok(Caught::Killed),
        Some(Raised::Table { text, counted }) => Value::Table(table(lua, text, *counted)?),
        None => Value::String(lua.create_string(text_of(error))?),
    }))
}

fn raised(error: &Error) -> Option<&Raised> {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => raised(cause),
        Error::ExternalError(error) => error.downcast_ref(),
        _ => None,
    }
}

/// Errors of the machine itself, in Lua's words where it has some.
pub(super) fn text_of(error: &Error) -> String {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => text_of(cause),
        Error::MemoryError(_) => "not enough memory".to_owned(),
        Error::StackError => "stack overflow".to_owned(),
        error => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// The code and text of an error line, made of what may lack either: `-CODE text`, `-text`,
/// `text`. Line ends at its end are left out.
pub(super) fn with_code(line: &[u8]) -> Vec<u8> {
    let line = trim(line);
    let Some(rest) = line.strip_prefix(b"-") else { return [b"ERR ", line].concat() };
    match memchr::memchr(b' ', rest) {
        Some(space) => [&rest[..=space], trim(&rest[space + 1..])].concat(),
        None => [b"ERR ", rest].concat(),
    }
}

fn trim(text: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = text.iter().position(|byte| !is_end(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_end(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_code() {
        for (line, expected) in [
            ("-x", "ERR x"),
            ("-x y\r\n", "x y"),
            ("x y", "ERR x y"),
            ("-", "ERR "),
            ("", "ERR "),
            ("-A \r\nb", "A b"),
        ] {
            assert_eq!(with_code(line.as_bytes()), expected.as_bytes(), "{line:?}");
        }
    }
}
