//! Bits inside strings. Bit 0 is the highest of the first byte; beyond its end a string has zeros.

use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::{Request, parse_i64};
use crate::value::bits;

pub(super) const HANDLERS: Handlers = &[
    ("bitcount", bitcount),
    ("bitop", bitop),
    ("bitpos", bitpos),
    ("getbit", getbit),
    ("setbit", setbit),
];

type Done = Result<(), CommandError>;

const BAD_OFFSET: CommandError =
    CommandError::line("ERR bit offset is not an integer or out of range");

/// An offset in bits, below eight times `proto-max-bulk-len`.
pub(super) fn bit_offset(ctx: &Ctx<'_>, number: Option<i64>) -> Result<usize, CommandError> {
    let bytes_max = ctx.server.settings.bulk_bytes_max;
    let offset = number.and_then(|number| usize::try_from(number).ok());
    offset.filter(|offset| offset >> 3 < bytes_max).ok_or(BAD_OFFSET)
}

fn setbit(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let offset = bit_offset(ctx, parse_i64(request.arg(2)))?;
    let on = match parse_i64(request.arg(3)) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(CommandError::line("ERR bit is not an integer or out of range")),
    };
    let (was, changed) = ctx.db().edit_string(key, |bytes| {
        let grown = bits::reach(bytes, offset);
        let was = bits::get(bytes, offset);
        bits::set(bytes, offset, on);
        (was, grown || was != on)
    })?;
    if changed {
        ctx.modified(key);
        ctx.notify(Class::String, "setbit", key);
    }
    ctx.out.integer(i64::from(was));
    Ok(())
}

fn getbit(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let offset = bit_offset(ctx, parse_i64(request.arg(2)))?;
    let (mut db, out) = ctx.data();
    let mut buffer = itoa::Buffer::new();
    let text = db.text(request.arg(1))?;
    let bytes = text.as_ref().map_or(&[][..], |text| text.bytes(&mut buffer));
    out.integer(i64::from(bits::get(bytes, offset)));
    Ok(())
}

/// Which bits BITCOUNT and BITPOS look at: the ends as given, negative ones from the end.
#[derive(Clone, Copy)]
struct Range {
    start: i64,
    /// To the end, if there is none.
    end: Option<i64>,
    /// The ends are bits, else bytes.
    in_bits: bool,
}

impl Range {
    const WHOLE: Self = Self { start: 0, end: None, in_bits: false };

    /// The bits of a string of so many bytes, end exclusive.
    fn of(self, bytes: usize) -> std::ops::Range<usize> {
        let unit = if self.in_bits { 1 } else { 8 };
        let total = (bytes * 8 / unit) as i64;
        let from_end = |n: i64| if n < 0 { n.saturating_add(total).max(0) } else { n };
        let start = from_end(self.start);
        let end = from_end(self.end.unwrap_or(-1)).min(total - 1);
        if start > end { 0..0 } else { start as usize * unit..(end as usize + 1) * unit }
    }
}

/// BYTE or BIT, if there is one of them.
fn in_bits(unit: Option<&[u8]>) -> Result<bool, CommandError> {
    match unit {
        None => Ok(false),
        Some(word) if is(word, "bit") => Ok(true),
        Some(word) if is(word, "byte") => Ok(false),
        Some(_) => Err(CommandError::Syntax),
    }
}

fn bitcount(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let range = match request.len() {
        2 => Range::WHOLE,
        4 | 5 => Range {
            start: integer(request.arg(2))?,
            end: Some(integer(request.arg(3))?),
            in_bits: in_bits(request.get(4))?,
        },
        _ => return Err(CommandError::Syntax),
    };
    let (mut db, out) = ctx.data();
    let mut buffer = itoa::Buffer::new();
    let text = db.text(request.arg(1))?;
    let bytes = text.as_ref().map_or(&[][..], |text| text.bytes(&mut buffer));
    // Ends in the wrong order are an empty range, even where both lie before the string.
    let crossed = range.end.is_some_and(|end| range.start < 0 && end < 0 && range.start > end);
    let range = if crossed { 0..0 } else { range.of(bytes.len()) };
    out.integer(bits::count_ones(bytes, range) as i64);
    Ok(())
}

fn bitpos(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let wanted = match integer(request.arg(2))? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::line("ERR The bit argument must be 1 or 0.")),
    };
    let range = match request.len() {
        3 => Range::WHOLE,
        4..=6 => {
            let start = integer(request.arg(3))?;
            let in_bits = in_bits(request.get(5))?;
            Range { start, end: request.get(4).map(integer).transpose()?, in_bits }
        }
        _ => return Err(CommandError::Syntax),
    };
    let (mut db, out) = ctx.data();
    let mut buffer = itoa::Buffer::new();
    let Some(text) = db.text(request.arg(1))? else {
        // Zeros without end.
        out.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let bytes = text.bytes(&mut buffer);
    let bits = range.of(bytes.len());
    let found = if bits.is_empty() {
        None
    } else if let Some(at) = bits::find(bytes, bits, wanted) {
        Some(at)
    } else {
        // Without an end of the client's own, the zeros behind the string count.
        (!wanted && range.end.is_none()).then_some(bytes.len() * 8)
    };
    out.integer(found.map_or(-1, |at| at as i64));
    Ok(())
}

fn bitop(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (name, target) = (request.arg(1), request.arg(2));
    let combine: fn(u8, u8) -> u8 = match name {
        _ if is(name, "and") => |a, b| a & b,
        _ if is(name, "or") => |a, b| a | b,
        _ if is(name, "xor") => |a, b| a ^ b,
        _ if is(name, "not") => |a, _| !a,
        _ => return Err(CommandError::Syntax),
    };
    if is(name, "not") && request.len() != 4 {
        return Err(CommandError::line("ERR BITOP NOT must be called with a single source key."));
    }
    let mut db = ctx.db();
    let mut bytes_max = 0;
    for key in request.args_from(3) {
        bytes_max = bytes_max.max(db.text(key)?.map_or(0, |text| text.len()));
    }
    let mut result = vec![0; bytes_max];
    for (index, key) in request.args_from(3).enumerate() {
        let mut buffer = itoa::Buffer::new();
        // The look-up above has counted.
        let entry = db.peek(key);
        let text = entry.map(|entry| entry.text()).transpose()?;
        let source = text.as_ref().map_or(&[][..], |text| text.bytes(&mut buffer));
        if index == 0 {
            result[..source.len()].copy_from_slice(source);
            if is(name, "not") {
                bits::combine(&mut result, source, combine);
            }
        } else {
            bits::combine(&mut result, source, combine);
        }
    }
    let existed = db.remove(target);
    if bytes_max > 0 {
        db.edit_string(target, |bytes| *bytes = result)?;
    }
    if existed || bytes_max > 0 {
        ctx.modified(target);
        if bytes_max > 0 {
            if existed {
                ctx.keyspace.was_replaced(ctx.session.db, target);
            }
            ctx.notify(Class::String, "set", target);
        } else {
            ctx.notify(Class::Generic, "del", target);
        }
    }
    ctx.out.integer(bytes_max as i64);
    Ok(())
}
