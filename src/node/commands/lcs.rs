//! LCS: the longest common subsequence of two strings.

use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::resp::Request;

pub(super) const HANDLERS: Handlers = &[("lcs", lcs)];

/// Bytes of the table of lengths: strings of 11,000 bytes each. Redis takes what it can get.
const TABLE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A stretch that both strings share: first and last byte in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: (usize, usize),
    b: (usize, usize),
}

impl Match {
    fn len(&self) -> usize {
        self.a.1 - self.a.0 + 1
    }
}

#[derive(Default)]
struct Options {
    idx: bool,
    len: bool,
    with_match_len: bool,
    min_match_len: i64,
}

fn lcs(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    const NOT_STRINGS: CommandError =
        CommandError::line("ERR The specified keys must contain string values");
    let mut db = ctx.db();
    let mut read = |key| -> Result<Vec<u8>, CommandError> {
        let text = db.text(key).map_err(|_| NOT_STRINGS)?;
        Ok(text.map_or(Vec::new(), |text| text.bytes(&mut itoa::Buffer::new()).to_vec()))
    };
    let (a, b) = (read(request.arg(1)), read(request.arg(2)));
    let (a, b) = (a?, b?);
    let options = parse(request)?;
    let cells = (a.len() + 1).checked_mul(b.len() + 1);
    if cells.is_none_or(|cells| cells > TABLE_BYTES_MAX / size_of::<u32>()) {
        return Err(CommandError::line(
            "ERR Insufficient memory, failed allocating transient memory for LCS",
        ));
    }
    let table = Table::new(&a, &b);
    let out = &mut ctx.out;
    if options.len {
        out.integer(i64::from(table.at(a.len(), b.len())));
    } else if options.idx {
        let mut matches = table.walk(&a, &b).1;
        matches.retain(|found| found.len() as i64 >= options.min_match_len);
        out.map(2);
        out.bulk("matches");
        out.array(matches.len());
        for found in &matches {
            out.array(if options.with_match_len { 3 } else { 2 });
            for (first, last) in [found.a, found.b] {
                out.array(2);
                out.integer(first as i64);
                out.integer(last as i64);
            }
            if options.with_match_len {
                out.integer(found.len() as i64);
            }
        }
        out.bulk("len");
        out.integer(i64::from(table.at(a.len(), b.len())));
    } else {
        out.bulk(table.walk(&a, &b).0);
    }
    Ok(())
}

fn parse(request: &Request<'_>) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut at = 3;
    while let Some(word) = request.get(at) {
        at += 1;
        if is(word, "idx") {
            options.idx = true;
        } else if is(word, "len") {
            options.len = true;
        } else if is(word, "withmatchlen") {
            options.with_match_len = true;
        } else if is(word, "minmatchlen") && at < request.len() {
            options.min_match_len = integer(request.arg(at))?.max(0);
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if options.idx && options.len {
        return Err(CommandError::line(
            "ERR If you want both the length and indexes, please just use IDX.",
        ));
    }
    Ok(options)
}

/// The length of the longest common subsequence of each pair of prefixes.
struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    fn new(a: &[u8], b: &[u8]) -> Self {
        let width = b.len() + 1;
        let mut cells = vec![0u32; (a.len() + 1) * width];
        for (i, x) in a.iter().enumerate() {
            let (above, row) = cells[i * width..(i + 2) * width].split_at_mut(width);
            for (j, y) in b.iter().enumerate() {
                row[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Self { cells, width }
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// The subsequence, and the stretches that it consists of, the last one first.
    fn walk(&self, a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
        let (mut i, mut j) = (a.len(), b.len());
        let mut text = Vec::new();
        let mut matches: Vec<Match> = Vec::new();
        let mut open = false;
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                text.push(a[i]);
                match matches.last_mut().filter(|_| open) {
                    Some(found) => (found.a.0, found.b.0) = (i, j),
                    None => matches.push(Match { a: (i, i), b: (j, j) }),
                }
                open = true;
            } else {
                open = false;
                if self.at(i - 1, j) > self.at(i, j - 1) { i -= 1 } else { j -= 1 }
            }
        }
        text.reverse();
        (text, matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Redis's documentation.
    #[test]
    fn it_finds_the_text_and_its_stretches() {
        let (a, b) = (b"ohmytext", b"mynewtext");
        let (text, matches) = Table::new(a, b).walk(a, b);
        assert_eq!(text, b"mytext");
        let expected = [Match { a: (4, 7), b: (5, 8) }, Match { a: (2, 3), b: (0, 1) }];
        assert_eq!(matches, expected);
        assert_eq!(Table::new(b"", b).walk(b"", b), (Vec::new(), Vec::new()));
    }
}
