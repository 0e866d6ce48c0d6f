//! MEMORY: what the node's memory is used for.

use super::help;
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::resp::Request;

pub(super) const HANDLERS: Handlers = &[
    ("memory|doctor", doctor),
    ("memory|help", help),
    ("memory|malloc-stats", malloc_stats),
    ("memory|purge", purge),
    ("memory|stats", stats),
    ("memory|usage", usage),
];

type Done = Result<(), CommandError>;

/// `MEMORY USAGE key [SAMPLES count]`
fn usage(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    for at in (3..request.len()).step_by(2) {
        let samples = request.get(at + 1).filter(|_| is(request.arg(at), "samples"));
        if integer(samples.ok_or(CommandError::Syntax)?)? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    /// What a key's place in its table takes, on average.
    const PLACE: usize = 16;
    let (mut db, out) = ctx.data();
    match db.peek(request.arg(2)) {
        Some(entry) => out.integer((entry.heap_bytes() + PLACE) as i64),
        None => out.null(),
    }
    Ok(())
}

/// What Redis says where its allocator is not jemalloc.
fn malloc_stats(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    ctx.out.bulk("Stats not supported for the current allocator");
    Ok(())
}

/// The allocator gives memory back by itself: there is nothing to do, as in Redis without jemalloc.
fn purge(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    ctx.out.ok();
    Ok(())
}

/// One row of MEMORY STATS.
enum Figure {
    Count(u64),
    Ratio(f64),
}

/// Redis's names, as far as the node has what they name.
fn stats(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    use Figure::{Count, Ratio};
    let figures = ctx.server.host.figures();
    let (used, resident) = (figures.allocated_bytes, figures.resident_bytes);
    let peak = ctx.server.note_memory(used);
    let startup = ctx.server.memory_at_start.min(used);
    let clients = ctx.server.clients.iter().map(|s| s.input_bytes + s.output_bytes).sum::<usize>();
    let tables = ctx.keyspace.table_bytes() as u64;
    let keys = ctx.keyspace.len(None) as u64;
    let overhead = startup + clients as u64 + tables;
    let dataset = used.saturating_sub(overhead);
    let net = used - startup;
    let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
    let rows = [
        ("peak.allocated", Count(peak)),
        ("total.allocated", Count(used)),
        ("startup.allocated", Count(startup)),
        ("clients.normal", Count(clients as u64)),
        ("overhead.total", Count(overhead)),
        ("keys.count", Count(keys)),
        ("keys.bytes-per-key", Count(net.checked_div(keys).unwrap_or(0))),
        ("dataset.bytes", Count(dataset)),
        ("dataset.percentage", Ratio(percent(dataset, net))),
        ("peak.percentage", Ratio(percent(used, peak))),
        ("allocator.allocated", Count(used)),
        ("allocator.resident", Count(resident)),
        ("fragmentation", Ratio(resident as f64 / used.max(1) as f64)),
    ];
    ctx.out.map(rows.len());
    for (name, figure) in rows {
        ctx.out.bulk(name);
        match figure {
            Count(count) => ctx.out.integer(count as i64),
            Ratio(ratio) => ctx.out.double_text(&format!("{ratio}")),
        }
    }
    Ok(())
}

/// What stands out in the figures, in sentences.
fn doctor(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    /// Below this nothing can be said.
    const USED_MIN: u64 = 5 * 1024 * 1024;
    let figures = ctx.server.host.figures();
    let (used, resident) = (figures.allocated_bytes, figures.resident_bytes);
    let peak = ctx.server.note_memory(used);
    let max = ctx.server.settings.memory_max;
    let mut findings: Vec<&str> = Vec::new();
    if used >= USED_MIN {
        if peak > used + used / 2 {
            findings.push(
                "The peak was more than 1.5 times of what is used: memory that was freed may stay \
                 resident for a while.",
            );
        }
        if resident > used + used / 2 {
            findings.push("More than 1.5 times of what is used is resident: it is fragmented.");
        }
        if max > 0 && used > max / 10 * 9 {
            findings.push(
                "More than 90% of maxmemory is used. Nothing is evicted: writes will be refused.",
            );
        }
    }
    ctx.out.verbatim(match (used >= USED_MIN, findings.is_empty()) {
        (false, _) => "The node holds too little for its memory figures to tell anything.".into(),
        (true, true) => "Nothing stands out in the memory figures.".into(),
        (true, false) => findings.join("\n"),
    });
    Ok(())
}
