//! PROXY SHOW: what the proxy knows, as a table for people and as maps for programs.

use crate::resp::{Encoder, Protocol};
use std::fmt::{self, Display};

/// One value of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    /// A number.
    Number(i64),
    /// Text.
    Text(String),
}

impl Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) if text.is_empty() => "-".fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Rows of the same columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table of these rows, each with a value for each column.
    pub(super) fn new(columns: &'static [&'static str], rows: Vec<Vec<Cell>>) -> Self {
        debug_assert!(rows.iter().all(|row| row.len() == columns.len()), "{columns:?}");
        Self { columns, rows }
    }

    /// In RESP3 a map per row (and one map of a table that only has names and values); text in
    /// columns in RESP2.
    pub(super) fn write(&self, reply: &mut Encoder<'_>) {
        if reply.protocol() == Protocol::Resp2 {
            return reply.verbatim(self.text());
        }
        let cell = |reply: &mut Encoder<'_>, cell: &Cell| match cell {
            Cell::Number(number) => reply.integer(*number),
            Cell::Text(text) => reply.bulk(text),
        };
        if let ["name", "value"] = self.columns {
            reply.map(self.rows.len());
            for value in self.rows.iter().flatten() {
                cell(reply, value);
            }
            return;
        }
        reply.array(self.rows.len());
        for row in &self.rows {
            reply.map(row.len());
            for (column, value) in self.columns.iter().zip(row) {
                reply.bulk(column);
                cell(reply, value);
            }
        }
    }

    /// Columns as wide as they must be, numbers to the right.
    fn text(&self) -> String {
        let shown: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::to_string).collect()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let of_rows = shown.iter().map(|row| row[at].chars().count());
                of_rows.chain([self.columns[at].len()]).max().unwrap_or(0)
            })
            .collect();
        let right: Vec<bool> = (0..self.columns.len())
            .map(|at| self.rows.iter().all(|row| matches!(row[at], Cell::Number(_))))
            .collect();
        let head: Vec<String> = self.columns.iter().map(|column| (*column).to_owned()).collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&shown) {
            let mut line = String::new();
            for (at, value) in row.iter().enumerate() {
                if right[at] && !self.rows.is_empty() {
                    line.push_str(&format!("{value:>width$}  ", width = widths[at]));
                } else {
                    line.push_str(&format!("{value:<width$}  ", width = widths[at]));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_columns_and_programs_get_maps() {
        let rows =
            vec![vec!["10.0.0.1:7000".into(), 5461_u64.into()], vec!["b".into(), 7_u64.into()]];
        let table = Table::new(&["node", "slots"], rows);
        assert_eq!(
            table.text(),
            "node           slots\n10.0.0.1:7000   5461\nb                  7\n"
        );
        let mut out = Vec::new();
        table.write(&mut Encoder::new(&mut out, Protocol::Resp3));
        let text = String::from_utf8(out).expect("text").replace("\r\n", "|");
        assert_eq!(
            text,
            "*2|%2|$4|node|$13|10.0.0.1:7000|$5|slots|:5461|%2|$4|node|$1|b|$5|slots|:7|"
        );
        let mut out = Vec::new();
        let figures = Table::new(&["name", "value"], vec![vec!["clients".into(), 3_u64.into()]]);
        figures.write(&mut Encoder::new(&mut out, Protocol::Resp3));
        assert_eq!(out, b"%1\r\n$7\r\nclients\r\n:3\r\n");
    }
}
