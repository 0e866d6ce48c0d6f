//! SAVE, BGSAVE, LASTSAVE, and what SHUTDOWN and DEBUG RELOAD have to do with files.

use crate::clock::Now;
use crate::node::args::is;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::loading::Loader;
use crate::node::output::Output;
use crate::node::server::Server;
use crate::node::session::Close;
use crate::node::snapshots::SnapshotFor;
use crate::resp::Request;
use crate::store::rdb::RdbWriter;
use crate::store::{Expired, Keyspace};
use std::path::Path;
use std::time::Duration;

pub(super) const HANDLERS: Handlers = &[
    ("bgrewriteaof", bgrewriteaof),
    ("bgsave", bgsave),
    ("lastsave", lastsave),
    ("save", save),
    ("shutdown", shutdown),
];

type Done = Result<(), CommandError>;

const SAVING: CommandError = CommandError::line("ERR Background save already in progress");

fn lastsave(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    ctx.out.integer(ctx.server.persistence.last_save as i64);
    Ok(())
}

/// `BGSAVE [SCHEDULE]`
fn bgsave(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let schedule = match request.get(1) {
        None => false,
        Some(word) if request.len() == 2 && is(word, "schedule") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    if ctx.server.persistence.is_saving() {
        return Err(SAVING);
    }
    let busy = ctx.server.persistence.running.is_some();
    if busy && !schedule {
        return Err(CommandError::line(
            "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
             SCHEDULE in order to schedule a BGSAVE whenever possible.",
        ));
    }
    ctx.server.save_in_background(ctx.keyspace, ctx.now);
    ctx.out.simple(if busy { "Background saving scheduled" } else { "Background saving started" });
    Ok(())
}

fn bgrewriteaof(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    let running = ctx.server.persistence.running;
    if running.is_some_and(|running| running.purpose == SnapshotFor::Rewrite) {
        return Err(CommandError::line(
            "ERR Background append only file rewriting already in progress",
        ));
    }
    ctx.server.rewrite_log();
    ctx.out.simple(match running {
        Some(_) => "Background append only file rewriting scheduled",
        None => "Background append only file rewriting started",
    });
    Ok(())
}

fn save(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    if ctx.server.persistence.is_saving() {
        return Err(SAVING);
    }
    save_now(ctx.server, ctx.keyspace, ctx.now)
        .map_err(|error| CommandError::err(format_args!("{error}")))?;
    ctx.out.ok();
    Ok(())
}

/// Saves all data while everybody waits.
///
/// # Errors
/// The file before is still there.
pub(in crate::node) fn save_now(
    server: &mut Server,
    keyspace: &mut Keyspace,
    now: Now,
) -> std::io::Result<()> {
    /// Keys between two writes.
    const AT_ONCE: usize = 256;
    let settings = &server.settings;
    let mut writer = RdbWriter::new(settings.rdb_compression, settings.rdb_checksum);
    let with_use = settings.rdb_with_use;
    let facts = server.snapshot_facts(now, SnapshotFor::File);
    let policy = keyspace.usage_policy();
    let sizes: Vec<(usize, usize, usize)> = (0..keyspace.databases())
        .map(|number| (number, keyspace.len(Some(number)), keyspace.expiring(number)))
        .filter(|&(_, keys, _)| keys > 0)
        .collect();
    let mut entries = sizes.iter().flat_map(|&(number, keys, expiring)| {
        let mut head = Some((number, keys, expiring));
        keyspace.entries(number).map(move |entry| (head.take(), entry))
    });
    let mut begun = false;
    let mut next = |out: &mut Vec<u8>| {
        if !std::mem::replace(&mut begun, true) {
            writer.begin(out);
            for (name, value) in &facts {
                writer.aux(out, name, value);
            }
        }
        for _ in 0..AT_ONCE {
            let Some((head, entry)) = entries.next() else {
                writer.end(out);
                return true;
            };
            if let Some((number, keys, expiring)) = head {
                writer.database(out, number as u64, keys as u64, expiring as u64);
            }
            let used = with_use.then(|| policy.saved(entry.usage(), now.unix_ms));
            writer.key(out, entry, used);
        }
        false
    };
    let path = server.settings.rdb_file.clone();
    let outcome = server.host.replace_file(Path::new(&path), &mut next);
    drop(entries);
    match &outcome {
        Ok(()) => {
            tracing::info!("DB saved on disk");
            let dirty = server.stats.dirty;
            server.persistence.saved(now, dirty);
        }
        Err(error) => tracing::error!("Failed saving the DB to {path}: {error}"),
    }
    outcome
}

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`. There is no reply: the connection ends.
fn shutdown(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut save, mut nosave, mut now, mut force, mut abort) = (false, false, false, false, false);
    for arg in request.args_from(1) {
        match arg {
            _ if is(arg, "NOSAVE") => nosave = true,
            _ if is(arg, "SAVE") => save = true,
            _ if is(arg, "NOW") => now = true,
            _ if is(arg, "FORCE") => force = true,
            _ if is(arg, "ABORT") => abort = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    if save && nosave || abort && (save || nosave || now || force) {
        return Err(CommandError::Syntax);
    }
    if abort {
        return Err(CommandError::line("ERR No shutdown in progress."));
    }
    let wanted = if save || nosave { Some(save) } else { None };
    // With NOSAVE, as nothing else is let in beside a script.
    ctx.server.abandon_script();
    if prepare_end(ctx.server, ctx.keyspace, ctx.now, wanted).is_err() {
        if !force {
            return Err(CommandError::line("ERR Errors trying to SHUTDOWN. Check logs."));
        }
        end_writes(ctx.server, ctx.keyspace, ctx.now);
    }
    ctx.server.outputs.push_back(Output::Shutdown { at_once: now });
    ctx.session.close(Close::Now);
    Ok(())
}

/// Saves what the end of the process would lose: if it is `wanted`, or, where nobody says, if the
/// node saves by itself; and runs no write any more.
///
/// # Errors
/// It could not be saved.
pub(in crate::node) fn prepare_end(
    server: &mut Server,
    keyspace: &mut Keyspace,
    now: Now,
    wanted: Option<bool>,
) -> std::io::Result<()> {
    if server.persistence.ready_to_end {
        return Ok(());
    }
    tracing::info!("User requested shutdown...");
    server.give_up_snapshot(keyspace, SnapshotFor::File);
    server.give_up_snapshot(keyspace, SnapshotFor::Rewrite);
    let loading = server.persistence.loading.is_some();
    if wanted.unwrap_or(!server.settings.save_rules.is_empty()) && !loading {
        tracing::info!("Saving the final RDB snapshot before exiting.");
        save_now(server, keyspace, now).inspect_err(|_| {
            tracing::error!("Error trying to save the DB, can't exit.");
        })?;
    }
    end_writes(server, keyspace, now);
    Ok(())
}

/// From here to the end of the process clients wait for the replies to their writes, in vain: they see the
/// connection end, and know no more than that.
fn end_writes(server: &mut Server, keyspace: &mut Keyspace, now: Now) {
    /// Longer than anybody waits.
    const FOR_GOOD: Duration = Duration::from_secs(24 * 60 * 60);
    server.persistence.ready_to_end = true;
    server.failover_pause = Some(now.instant + FOR_GOOD);
    keyspace.set_on_expired(Expired::Hide);
}

/// `DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE]`
pub(super) fn reload(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut save, mut flush) = (true, true);
    for word in request.args_from(2) {
        match word {
            _ if is(word, "nosave") => save = false,
            _ if is(word, "noflush") => flush = false,
            _ if is(word, "merge") => {}
            _ => {
                return Err(CommandError::line(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    const FAILED: CommandError =
        CommandError::line("ERR Error trying to load the RDB dump, check server logs.");
    if save {
        save_now(ctx.server, ctx.keyspace, ctx.now)
            .map_err(|error| CommandError::err(format_args!("{error}")))?;
    }
    if flush {
        (0..ctx.keyspace.databases()).for_each(|db| drop(ctx.keyspace.flush(db).to_string()));
    }
    let mut loader = Loader::new(ctx.keyspace, true);
    let mut outcome = Ok(());
    let now_ms = ctx.now.unix_ms;
    let keyspace = &mut *ctx.keyspace;
    let path = Path::new(&ctx.server.settings.rdb_file);
    let read = ctx.server.host.read_file(path, &mut |bytes| {
        outcome = loader.feed(keyspace, now_ms, bytes);
        outcome.is_ok()
    });
    let delay = ctx.server.settings.key_load_delay;
    ctx.server.persistence.load_pace.loaded(loader.keys());
    while let Some(pause) = ctx.server.persistence.load_pace.next(delay) {
        ctx.server.host.sleep(pause);
    }
    let loaded = read
        .map_err(|error| error.to_string())
        .and_then(|()| outcome.and_then(|()| loader.finish()).map_err(|error| error.to_string()));
    match loaded {
        Ok(figures) => {
            ctx.server.persistence.loaded = figures;
            tracing::warn!("DB reloaded by DEBUG RELOAD");
            ctx.out.ok();
            Ok(())
        }
        Err(error) => {
            tracing::error!("DEBUG RELOAD: {error}");
            Err(FAILED)
        }
    }
}
