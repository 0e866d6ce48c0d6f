//! HyperLogLogs: strings of a form of their own, so that GET, SET and DUMP work on them.

use crate::node::args::is;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::resp::Request;
use crate::store::{Entry, Text};
use crate::value::hyperloglog::{self, Corrupted, Encoding, REGISTERS, Registers};

pub(super) const HANDLERS: Handlers = &[
    ("pfadd", pfadd),
    ("pfcount", pfcount),
    ("pfdebug", pfdebug),
    ("pfmerge", pfmerge),
    ("pfselftest", pfselftest),
];

type Done = Result<(), CommandError>;

const NOT_ONE: CommandError =
    CommandError::line("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupted> for CommandError {
    fn from(error: Corrupted) -> Self {
        Self::Other(error.to_string().into())
    }
}

/// The bytes of a HyperLogLog, if the key is there.
fn bytes_of(entry: Option<&Entry>) -> Result<Option<&[u8]>, CommandError> {
    match entry.map(Entry::text).transpose()? {
        None => Ok(None),
        Some(Text::Bytes(bytes)) if hyperloglog::encoding(bytes).is_some() => Ok(Some(bytes)),
        Some(_) => Err(NOT_ONE),
    }
}

fn pfadd(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let sparse_max = ctx.server.settings.hyperloglog_sparse_max;
    let mut db = ctx.db();
    let is_new = bytes_of(db.write(key).map(|entry| &*entry))?.is_none();
    let changed = db.edit_string(key, |bytes| {
        if is_new {
            *bytes = hyperloglog::empty();
        }
        let mut changed = is_new;
        for element in request.args_from(2) {
            changed |= hyperloglog::add(bytes, element, sparse_max)?;
        }
        if changed {
            hyperloglog::mark_stale(bytes);
        }
        Ok::<bool, Corrupted>(changed)
    })??;
    if changed {
        ctx.modified(key);
        ctx.notify(Class::String, "pfadd", key);
    }
    ctx.out.integer(i64::from(changed));
    Ok(())
}

/// What the keys are together, and whether one of them is dense.
fn merged<'k>(
    ctx: &mut Ctx<'_>,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<(Registers, bool), CommandError> {
    let mut db = ctx.db();
    let (mut registers, mut dense) = (Registers::default(), false);
    for key in keys {
        if let Some(bytes) = bytes_of(db.read(key))? {
            registers.merge(bytes)?;
            dense |= hyperloglog::encoding(bytes) == Some(Encoding::Dense);
        }
    }
    Ok((registers, dense))
}

fn pfcount(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    if request.len() > 2 {
        let (registers, _) = merged(ctx, request.args_from(1))?;
        ctx.out.integer(registers.count() as i64);
        return Ok(());
    }
    let key = request.arg(1);
    let (mut db, out) = ctx.data();
    let Some(bytes) = bytes_of(db.read(key))? else {
        out.integer(0);
        return Ok(());
    };
    if let Some(count) = hyperloglog::cached_count(bytes) {
        out.integer(count as i64);
        return Ok(());
    }
    let count = hyperloglog::count(bytes)?;
    // The estimate is part of the value: a read that changes it.
    db.edit_string(key, |bytes| hyperloglog::cache_count(bytes, count))?;
    out.integer(count as i64);
    ctx.modified(key);
    Ok(())
}

fn pfmerge(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let key = request.arg(1);
    let sparse_max = ctx.server.settings.hyperloglog_sparse_max;
    let (registers, dense) = merged(ctx, request.args_from(1))?;
    let mut db = ctx.db();
    let is_new = !db.contains(key);
    db.edit_string(key, |bytes| {
        if is_new {
            *bytes = hyperloglog::empty();
        }
        if dense {
            hyperloglog::to_dense(bytes)?;
        }
        registers.raise(bytes, sparse_max)
    })??;
    ctx.modified(key);
    // It is PFADD of all that the others have seen.
    ctx.notify(Class::String, "pfadd", key);
    ctx.out.ok();
    Ok(())
}

fn pfdebug(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (what, key) = (request.arg(1), request.arg(2));
    let (mut db, out) = ctx.data();
    let entry = db.write(key).map(|entry| &*entry);
    let bytes =
        bytes_of(entry)?.ok_or(CommandError::line("ERR The specified key does not exist"))?;
    let known = ["getreg", "decode", "encoding", "todense"].iter().any(|word| is(what, word));
    if !known {
        let what = String::from_utf8_lossy(what);
        return Err(CommandError::err(format_args!("Unknown PFDEBUG subcommand '{what}'")));
    }
    if is(what, "encoding") {
        out.simple(match hyperloglog::encoding(bytes) {
            Some(Encoding::Dense) => "dense",
            _ => "sparse",
        });
        return Ok(());
    }
    if is(what, "decode") {
        let runs = hyperloglog::describe(bytes);
        out.bulk(runs.ok_or(CommandError::line("ERR HLL encoding is not sparse"))?);
        return Ok(());
    }
    let registers = Registers::of(bytes)?;
    let changed = db.edit_string(key, hyperloglog::to_dense)??;
    if is(what, "todense") {
        out.integer(i64::from(changed));
    } else {
        out.array(REGISTERS);
        registers.values().iter().for_each(|&value| out.integer(i64::from(value)));
    }
    if changed {
        ctx.modified(key);
    }
    Ok(())
}

/// Whether both encodings hold what was put into them, and estimates are as good as they must be.
fn pfselftest(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    const ELEMENTS: u64 = 20_000;
    /// Five times the standard error of 16,384 registers.
    const OFF_BY_MAX: f64 = 5.0 * 1.04 / 128.0;
    let failed = |what: &str| CommandError::Other(format!("TESTFAILED {what}").into());
    let mut dense = hyperloglog::empty();
    hyperloglog::to_dense(&mut dense)?;
    let mut sparse = hyperloglog::empty();
    for element in 1..=ELEMENTS {
        // Redis's default for hll-sparse-max-bytes: on the way the sparse one becomes dense.
        hyperloglog::add(&mut sparse, &element.to_le_bytes(), 3000)?;
        hyperloglog::add(&mut dense, &element.to_le_bytes(), 0)?;
        if element.is_power_of_two() || element == ELEMENTS {
            let registers = Registers::of(&dense)?;
            if Registers::of(&sparse)?.values() != registers.values() {
                return Err(failed(&format!("the encodings differ after {element} elements")));
            }
            let (wanted, count) = (element as f64, registers.count() as f64);
            if (count - wanted).abs() > (wanted * OFF_BY_MAX).max(1.0) {
                return Err(failed(&format!("{element} elements were counted as {count}")));
            }
        }
    }
    ctx.out.ok();
    Ok(())
}
