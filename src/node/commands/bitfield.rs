//! BITFIELD and BITFIELD_RO: integers of any width inside a string.

use super::bitmaps::bit_offset;
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::{Request, parse_i64};
use crate::value::bits;

pub(super) const HANDLERS: Handlers = &[("bitfield", bitfield), ("bitfield_ro", bitfield_ro)];

type Done = Result<(), CommandError>;

/// What becomes of a number that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// Its lowest bits remain.
    Wrap,
    /// The nearest number that fits takes its place.
    Saturate,
    /// Nothing is done, and the reply says so.
    Fail,
}

/// `u8`, `i16`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Width {
    signed: bool,
    /// 1 to 63, for signed integers to 64.
    bits: u32,
}

impl Width {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let (signed, digits) = match arg {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => (false, &[][..]),
        };
        let bits = parse_i64(digits).filter(|bits| (1..=63 + i64::from(signed)).contains(bits));
        let bits = bits.ok_or(CommandError::line(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported \
             but i64 is.",
        ))?;
        Ok(Self { signed, bits: bits as u32 })
    }

    /// The number that these bits are.
    fn number(self, raw: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed { (raw << unused) as i64 >> unused } else { raw as i64 }
    }

    /// A number to be set in a signed field. Redis looks how far it is from the highest that fits
    /// in 64 bits; one for which that overflows counts as too high, although it is far too low.
    /// Only saturation shows it: the lowest 64 bits are the same.
    fn as_redis_takes(self, number: i64) -> i128 {
        let highest = i64::MAX >> (64 - self.bits);
        let overflows = self.bits < 64 && highest.checked_sub(number).is_none();
        i128::from(number) + if overflows { 1 << 64 } else { 0 }
    }

    /// The number as it is stored; none if it does not fit and must not be made to.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = if self.signed {
            (-(1i128 << (self.bits - 1)), (1i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1i128 << self.bits) - 1)
        };
        if (min..=max).contains(&number) {
            return Some(number as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.number(number as u64 & (u64::MAX >> (64 - self.bits)))),
            Overflow::Saturate => Some(number.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    action: Action,
    width: Width,
    offset: usize,
}

/// Reads all operations before any of them runs.
fn parse(ctx: &Ctx<'_>, request: &Request<'_>) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < request.len() {
        let (word, left) = (request.arg(at), request.len() - at - 1);
        if is(word, "overflow") && left >= 1 {
            let how = request.arg(at + 1);
            overflow = match how {
                _ if is(how, "wrap") => Overflow::Wrap,
                _ if is(how, "sat") => Overflow::Saturate,
                _ if is(how, "fail") => Overflow::Fail,
                _ => return Err(CommandError::line("ERR Invalid OVERFLOW type specified")),
            };
            at += 2;
            continue;
        }
        let gets = is(word, "get") && left >= 2;
        let sets = is(word, "set") && left >= 3;
        let increments = is(word, "incrby") && left >= 3;
        if !(gets || sets || increments) {
            return Err(CommandError::Syntax);
        }
        let width = Width::parse(request.arg(at + 1))?;
        let offset = match request.arg(at + 2) {
            // Counted in integers of this width.
            [b'#', index @ ..] => {
                parse_i64(index).and_then(|index| index.checked_mul(i64::from(width.bits)))
            }
            offset => parse_i64(offset),
        };
        let offset = bit_offset(ctx, offset)?;
        let action = if gets {
            Action::Get
        } else {
            let operand = integer(request.arg(at + 3))?;
            match sets {
                true => Action::Set(operand, overflow),
                false => Action::Increment(operand, overflow),
            }
        };
        operations.push(Operation { action, width, offset });
        at += if gets { 3 } else { 4 };
    }
    Ok(operations)
}

fn bitfield(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let operations = parse(ctx, request)?;
    if operations.iter().all(|operation| matches!(operation.action, Action::Get)) {
        return read_all(ctx, request.arg(1), &operations);
    }
    let writes = operations.iter().filter(|operation| !matches!(operation.action, Action::Get));
    let last = writes.map(|write| write.offset + write.width.bits as usize - 1).max();
    let last = last.expect("one of them writes");
    let key = request.arg(1);
    let (mut db, out) = ctx.data();
    // The type is looked at before anything is written, to the key and to the client.
    db.write(key).map(|entry| entry.text().map(drop)).transpose()?;
    out.array(operations.len());
    let changed = db.edit_string(key, |bytes| {
        let grown = bits::reach(bytes, last);
        let mut changed = false;
        for &operation in &operations {
            match operation.run(bytes) {
                Some((reply, has_changed)) => {
                    out.integer(reply);
                    // As in Redis: a string that only grew, as all writes failed, has not changed.
                    changed |= has_changed || grown && !matches!(operation.action, Action::Get);
                }
                None => out.null(),
            }
        }
        changed
    })?;
    if changed {
        ctx.modified(key);
        ctx.notify(Class::String, "setbit", key);
    }
    Ok(())
}

fn bitfield_ro(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let operations = parse(ctx, request)?;
    if operations.iter().any(|operation| !matches!(operation.action, Action::Get)) {
        return Err(CommandError::line("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read_all(ctx, request.arg(1), &operations)
}

fn read_all(ctx: &mut Ctx<'_>, key: &[u8], operations: &[Operation]) -> Done {
    let (mut db, out) = ctx.data();
    let mut buffer = itoa::Buffer::new();
    let text = db.text(key)?;
    let bytes = text.as_ref().map_or(&[][..], |text| text.bytes(&mut buffer));
    out.array(operations.len());
    for operation in operations {
        out.integer(operation.read(bytes));
    }
    Ok(())
}

impl Operation {
    fn read(&self, bytes: &[u8]) -> i64 {
        self.width.number(bits::read(bytes, self.offset, self.width.bits))
    }

    /// What is replied, and whether the string has changed; none if an overflow forbids it.
    fn run(&self, bytes: &mut [u8]) -> Option<(i64, bool)> {
        let old = self.read(bytes);
        let (new, reply) = match self.action {
            Action::Get => return Some((old, false)),
            Action::Set(value, overflow) => {
                // An unsigned field takes the operand for what its 64 bits are without a sign.
                let value = match self.width.signed {
                    true => self.width.as_redis_takes(value),
                    false => i128::from(value as u64),
                };
                (self.width.fit(value, overflow)?, old)
            }
            Action::Increment(by, overflow) => {
                let new = self.width.fit(i128::from(old) + i128::from(by), overflow)?;
                (new, new)
            }
        };
        bits::write(bytes, self.offset, self.width.bits, new as u64);
        Some((reply, new != old))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Redis 7.0.15 and Valkey 9.1.2 answer `BITFIELD k OVERFLOW SAT SET i8 0 <number>`.
    #[test]
    fn what_is_set_far_below_saturates_above() {
        let width = Width { signed: true, bits: 8 };
        for (number, expected) in [(i64::MIN, 127), (i64::MIN + 8, 127), (i64::MIN + 208, -128)] {
            let taken = width.as_redis_takes(number);
            assert_eq!(width.fit(taken, Overflow::Saturate), Some(expected), "{number}");
            assert_eq!(width.fit(taken, Overflow::Wrap), width.fit(number.into(), Overflow::Wrap));
        }
    }

    #[test]
    fn what_does_not_fit_wraps_saturates_or_fails() {
        let width = |text: &str| Width::parse(text.as_bytes()).expect("a width");
        for (text, number, wrapped, saturated) in [
            ("u8", 256, 0, 255),
            ("u8", -1, 255, 0),
            ("i8", 128, -128, 127),
            ("i8", -129, 127, -128),
            ("i64", i128::from(i64::MAX) + 1, i64::MIN, i64::MAX),
            ("u63", -1, i64::MAX, 0),
            ("i1", 1, -1, 0),
        ] {
            assert_eq!(width(text).fit(number, Overflow::Wrap), Some(wrapped), "{text} {number}");
            assert_eq!(width(text).fit(number, Overflow::Saturate), Some(saturated));
            assert_eq!(width(text).fit(number, Overflow::Fail), None);
        }
        for text in ["", "u", "u64", "i65", "i0", "x8", "8", "i08", "u-1"] {
            assert!(Width::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
