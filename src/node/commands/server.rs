//! What is asked of the node as a whole: INFO, TIME, SHUTDOWN and the like.

use super::help;
use crate::node::args;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::info;
use crate::resp::{Request, parse_i64};

pub(super) const HANDLERS: Handlers = &[
    ("monitor", |ctx, _| ctx.monitor()),
    ("info", info),
    ("latency|help", help),
    ("latency|histogram", latency_histogram),
    ("latency|history", latency_history),
    ("latency|latest", latency_latest),
    ("latency|reset", latency_reset),
    ("lolwut", lolwut),
    ("slowlog|get", slowlog_get),
    ("slowlog|help", help),
    ("slowlog|len", slowlog_len),
    ("slowlog|reset", slowlog_reset),
    ("time", time),
];

/// `INFO [section …]`
fn info(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let sections: Vec<String> =
        request.args_from(1).map(|arg| String::from_utf8_lossy(arg).to_ascii_lowercase()).collect();
    let text = info::text(ctx, &sections);
    ctx.out.verbatim(text);
    Ok(())
}

/// Seconds, and the microseconds of the second.
fn time(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    let micros = ctx.now.unix_us() as i64;
    ctx.out.array(2);
    ctx.out.bulk_integer(micros / 1_000_000);
    ctx.out.bulk_integer(micros % 1_000_000);
    Ok(())
}

fn lolwut(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    if let (Some(word), Some(version)) = (request.get(1), request.get(2))
        && args::is(word, "VERSION")
    {
        // Whichever it is, there is one.
        args::integer(version)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    ctx.out.verbatim(format!("Sixteen thousand slots, and one way in.\nKeyway ver. {version}\n"));
    Ok(())
}

/// `SLOWLOG GET [count]`: ten unless told; all for -1.
fn slowlog_get(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    if request.len() > 3 {
        return Err(CommandError::subcommand("SLOWLOG", request.arg(1)));
    }
    let entries = ctx.server.slowlog.entries();
    let count = match request.get(2).map(parse_i64) {
        None => 10,
        Some(Some(-1)) => entries.len(),
        Some(Some(count @ 0..)) => usize::try_from(count).unwrap_or(usize::MAX),
        Some(_) => {
            return Err(CommandError::line("ERR count should be greater than or equal to -1"));
        }
    };
    ctx.out.array(count.min(entries.len()));
    for entry in entries.take(count) {
        ctx.out.array(6);
        ctx.out.integer(entry.id as i64);
        ctx.out.integer(entry.unix_seconds as i64);
        ctx.out.integer(entry.duration.as_micros() as i64);
        ctx.out.array(entry.args.len());
        for arg in &entry.args {
            ctx.out.bulk(arg);
        }
        ctx.out.bulk(&entry.peer);
        ctx.out.bulk(&*entry.name);
    }
    Ok(())
}

fn slowlog_len(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.out.integer(ctx.server.slowlog.entries().len() as i64);
    Ok(())
}

fn slowlog_reset(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.server.slowlog.clear();
    ctx.out.ok();
    Ok(())
}

/// Per event: its name, when it last happened, how long it took then, and at most.
fn latency_latest(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    let events = &ctx.server.latency_events;
    ctx.out.array(events.iter().count());
    for (name, event) in events.iter() {
        let (when, millis) = event.latest();
        ctx.out.array(4);
        ctx.out.bulk(name);
        ctx.out.integer(when as i64);
        ctx.out.integer(millis as i64);
        ctx.out.integer(event.longest() as i64);
    }
    Ok(())
}

fn latency_history(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let name = String::from_utf8_lossy(request.arg(2));
    let samples = ctx.server.latency_events.samples(&name);
    ctx.out.array(samples.len());
    for (when, millis) in samples {
        ctx.out.array(2);
        ctx.out.integer(when as i64);
        ctx.out.integer(millis as i64);
    }
    Ok(())
}

fn latency_reset(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let names: Vec<_> = request.args_from(2).map(String::from_utf8_lossy).collect();
    let forgotten = ctx.server.latency_events.forget(|name| {
        names.is_empty() || names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    });
    ctx.out.integer(forgotten as i64);
    Ok(())
}

/// `LATENCY HISTOGRAM [command …]`: a container stands for its subcommands.
fn latency_histogram(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let wanted: Vec<&[u8]> = request.args_from(2).collect();
    let rows: Vec<_> = crate::command::all()
        .iter()
        .filter(|spec| {
            wanted.is_empty()
                || wanted
                    .iter()
                    .any(|name| args::is(name, spec.name) || args::is(name, spec.container_name()))
        })
        .filter_map(|spec| {
            let histogram = ctx.server.calls[spec.id()].latency.as_ref()?;
            Some((spec.name, histogram.total(), histogram.doublings()))
        })
        .collect();
    ctx.out.map(rows.len());
    for (name, total, doublings) in rows {
        ctx.out.bulk(name);
        ctx.out.map(2);
        ctx.out.bulk("calls");
        ctx.out.integer(total as i64);
        ctx.out.bulk("histogram_usec");
        ctx.out.map(doublings.len());
        for (micros, count) in doublings {
            ctx.out.integer(micros as i64);
            ctx.out.integer(count as i64);
        }
    }
    Ok(())
}
