//! What is wrong with a configuration file: every mistake, where it is, and what was expected.
//!
//! The YAML reader stops at its first error. So a mistake is noted, its lines are blanked (which
//! keeps the numbers of all other lines), and the file is read again until nothing is left.

use super::proxy::ProxyConfig;
use std::fmt;

/// More mistakes than this are not looked for.
const PROBLEMS_MAX: usize = 50;

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator named it.
    pub file: String,
    /// Line, from 1; 0 when no line is to blame.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub why: String,
    /// A name that was perhaps meant.
    pub suggestion: Option<String>,
    /// The line itself.
    pub source: String,
}

/// As compilers do it: place, reason, line, caret.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: error: {}", self.file, self.why);
        }
        writeln!(f, "{}:{}:{}: error: {}", self.file, self.line, self.column, self.why)?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, " {number} | {}", self.source)?;
        // What is before the caret keeps its tabs, so that the caret stands where the line has it.
        let before = self.source.chars().take(self.column - 1);
        let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, " {margin} | {indent}^")?;
        if let Some(name) = &self.suggestion {
            write!(f, " did you mean `{name}`?")?;
        }
        Ok(())
    }
}

/// Reads a proxy's configuration from `text`.
///
/// # Errors
/// Every mistake in it, in the order of the file.
pub fn check_proxy(file: &str, text: &str) -> Result<ProxyConfig, Vec<Problem>> {
    let original: Vec<&str> = text.lines().collect();
    let mut lines: Vec<String> = original.iter().map(|&line| line.to_owned()).collect();
    let mut problems: Vec<Problem> = Vec::new();
    let read = loop {
        // A file without a value (empty, or comments alone) says nothing: all defaults.
        match serde_yaml::from_str::<Option<ProxyConfig>>(&lines.join("\n")) {
            Ok(config) => break Some(config.unwrap_or_default()),
            Err(error) => {
                let (line, column) = place(&error);
                problems.push(problem(file, &original, line, column, &error.to_string()));
                // A line that is already blank cannot be to blame again: stop rather than loop.
                let progress = line > 0 && blank(&mut lines, line - 1);
                if !progress || problems.len() == PROBLEMS_MAX {
                    break None;
                }
            }
        }
    };
    if let Some(config) = read {
        for conflict in config.problems() {
            let (line, column) = find_key(&original, conflict.key);
            problems.push(problem(file, &original, line, column, &conflict.to_string()));
        }
        if problems.is_empty() {
            return Ok(config);
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(problems)
}

fn place(error: &serde_yaml::Error) -> (usize, usize) {
    error.location().map_or((0, 0), |at| (at.line(), at.column().max(1)))
}

fn problem(file: &str, lines: &[&str], line: usize, column: usize, message: &str) -> Problem {
    // What is missing at the end of the file is missing behind its last line.
    let (line, column) = match lines.last() {
        Some(last) if line > lines.len() => (lines.len(), last.chars().count() + 1),
        _ => (line, column),
    };
    let source = line.checked_sub(1).and_then(|index| lines.get(index)).copied();
    Problem {
        file: file.to_owned(),
        line: if source.is_some() { line } else { 0 },
        column,
        why: without_places(message),
        suggestion: suggestion(message),
        source: source.unwrap_or_default().to_owned(),
    }
}

/// The message without its ` at line 3 column 5`: the place is told beside it.
fn without_places(message: &str) -> String {
    let mut parts = message.split(" at line ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.strip_prefix(" column ").unwrap_or(rest);
        text.push_str(rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text
}

/// Blanks a line and what is indented below it. Whether anything was there to blank.
fn blank(lines: &mut [String], index: usize) -> bool {
    let Some(line) = lines.get(index) else { return false };
    let text = line.trim_start();
    if text.is_empty() {
        return false;
    }
    let indent = line.len() - text.len();
    lines[index].clear();
    for below in &mut lines[index + 1..] {
        let text = below.trim_start();
        if !text.is_empty() && below.len() - text.len() <= indent {
            break;
        }
        below.clear();
    }
    true
}

/// Where `a.b` is written in a file of indented keys. A file in another style has no place for it.
fn find_key(lines: &[&str], key: &str) -> (usize, usize) {
    let mut at = (0, 0);
    let mut from = 0;
    let mut deeper_than = None;
    for name in key.split('.') {
        let found = lines.iter().enumerate().skip(from).find_map(|(index, line)| {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            let is_key = text.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
            (is_key && deeper_than.map_or(indent == 0, |above| indent > above))
                .then_some((index, indent))
        });
        let Some((index, indent)) = found else { return at };
        at = (index + 1, indent + 1);
        (from, deeper_than) = (index + 1, Some(indent));
    }
    at
}

/// The nearest of the names that serde lists after "unknown field", if one is near.
fn suggestion(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2);
    let nearest = known.min_by_key(|name| distance(unknown, name))?;
    let near = distance(unknown, nearest) <= (unknown.len().max(3) / 3).max(1);
    near.then(|| nearest.to_owned())
}

/// How many letters must be changed, added or removed to make one word of the other (Levenshtein).
pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
