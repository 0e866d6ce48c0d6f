//! SCAN, HSCAN, SSCAN and ZSCAN.

use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::resp::{Encoder, Request};
use crate::store::Keyed;
use crate::value::{Case, DoubleText, glob_match};

pub(super) const HANDLERS: Handlers =
    &[("hscan", hscan), ("scan", scan), ("sscan", sscan), ("zscan", zscan)];

/// Elements that a call returns, about, unless COUNT says otherwise.
const COUNT: usize = 10;

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    type_name: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(request: &Request<'a>, from: usize, of_keys: bool) -> Result<Self, CommandError> {
        let mut options = Self { pattern: None, count: COUNT, type_name: None };
        let mut at = from;
        while let Some(word) = request.get(at) {
            let value = request.get(at + 1).ok_or(CommandError::Syntax)?;
            if is(word, "count") {
                let count = integer(value)?;
                options.count = usize::try_from(count).unwrap_or(0);
                if options.count < 1 {
                    return Err(CommandError::Syntax);
                }
            } else if is(word, "match") {
                options.pattern = (value != b"*").then_some(value);
            } else if of_keys && is(word, "type") {
                options.type_name = Some(value);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }

    fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob_match(pattern, name, Case::Sensitive))
    }
}

/// A cursor as C's `strtoul` reads it: it may have a sign, and a negative one wraps around.
fn cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let (negative, digits) = match arg {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    // An empty argument is zero, as `strtoul` has nothing to object to.
    if arg.is_empty() {
        return Ok(0);
    }
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().filter(|_| all_digits);
    let number = number.and_then(|digits| digits.parse::<u64>().ok());
    let number = number.ok_or(CommandError::InvalidCursor)?;
    Ok(if negative { number.wrapping_neg() } else { number })
}

fn write_cursor(out: &mut Encoder<'_>, cursor: u64) {
    out.array(2);
    out.bulk(itoa::Buffer::new().format(cursor));
}

fn scan(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let cursor = cursor(request.arg(1))?;
    let options = Options::parse(request, 2, true)?;
    ctx.propagate_apart();
    let (mut db, out) = ctx.data();
    let mut found: Vec<Box<[u8]>> = Vec::new();
    let next = db.scan(cursor, options.count, |entry| {
        let type_name = entry.type_of().name().as_bytes();
        if options.type_name.is_none_or(|wanted| wanted.eq_ignore_ascii_case(type_name))
            && options.wants(entry.key())
        {
            found.push(entry.key().into());
        }
    });
    write_cursor(out, next);
    out.array(found.len());
    found.iter().for_each(|key| out.bulk(key));
    Ok(())
}

fn hscan(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let cursor = cursor(request.arg(2))?;
    let (mut db, out) = ctx.data();
    let Some(hash) = db.hash(request.arg(1))? else {
        write_cursor(out, 0);
        out.array(0);
        return Ok(());
    };
    let options = Options::parse(request, 3, false)?;
    let mut found: Vec<Box<[u8]>> = Vec::new();
    let mut buffer = itoa::Buffer::new();
    let next = hash.scan(cursor, options.count, |field, value| {
        if options.wants(field.bytes(&mut buffer)) {
            found.push(field.bytes(&mut buffer).into());
            found.push(value.bytes(&mut buffer).into());
        }
    });
    write_cursor(out, next);
    out.array(found.len());
    found.iter().for_each(|element| out.bulk(element));
    Ok(())
}

fn sscan(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let cursor = cursor(request.arg(2))?;
    let (mut db, out) = ctx.data();
    let Some(set) = db.set(request.arg(1))? else {
        write_cursor(out, 0);
        out.array(0);
        return Ok(());
    };
    let options = Options::parse(request, 3, false)?;
    let mut found: Vec<Box<[u8]>> = Vec::new();
    let mut buffer = itoa::Buffer::new();
    let next = set.scan(cursor, options.count, |member| {
        let member = member.bytes(&mut buffer);
        if options.wants(member) {
            found.push(member.into());
        }
    });
    write_cursor(out, next);
    out.array(found.len());
    found.iter().for_each(|member| out.bulk(member));
    Ok(())
}

fn zscan(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let cursor = cursor(request.arg(2))?;
    let (mut db, out) = ctx.data();
    let Some(set) = db.sorted_set(request.arg(1))? else {
        write_cursor(out, 0);
        out.array(0);
        return Ok(());
    };
    let options = Options::parse(request, 3, false)?;
    // Redis shows a listpack's scores as they are stored, and those of a skip list by `%.17g`.
    let text = match set.as_listpack() {
        Some(_) => DoubleText::stored,
        None => DoubleText::seventeen_digits,
    };
    let mut found: Vec<(Box<[u8]>, DoubleText)> = Vec::new();
    let mut buffer = itoa::Buffer::new();
    let next = set.scan(cursor, options.count, |member, score| {
        let member = member.bytes(&mut buffer);
        if options.wants(member) {
            found.push((member.into(), text(score)));
        }
    });
    write_cursor(out, next);
    out.array(found.len() * 2);
    for (member, score) in &found {
        out.bulk(member);
        out.bulk(score.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        for (arg, expected) in [
            ("0", Some(0)),
            ("+5", Some(5)),
            ("-1", Some(u64::MAX)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("x", None),
            ("5x", None),
            (" 5", None),
            ("-", None),
        ] {
            assert_eq!(cursor(arg.as_bytes()).ok(), expected, "{arg:?}");
        }
    }
}
