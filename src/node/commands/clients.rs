//! CLIENT: what a client says of itself, and what it may know of and do to others.

use super::connection::printable;
use super::help;
use crate::node::args::is;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::output::Output;
use crate::node::replication::refresh_expiry;
use crate::node::serve::with_client;
use crate::node::server::Pause;
use crate::node::session::{Close, Replies, Role, Session};
use crate::resp::{Request, parse_i64};
use std::time::Duration;

pub(super) const HANDLERS: Handlers = &[
    ("client|getname", getname),
    ("client|getredir", getredir),
    ("client|help", help),
    ("client|id", id),
    ("client|info", info),
    ("client|kill", kill),
    ("client|list", list),
    ("client|no-evict", no_evict),
    ("client|no-touch", no_touch),
    ("client|pause", pause),
    ("client|reply", reply),
    ("client|setinfo", setinfo),
    ("client|setname", setname),
    ("client|unblock", unblock),
    ("client|unpause", unpause),
];

fn id(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.out.integer(ctx.session.id as i64);
    Ok(())
}

fn info(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    let line = ctx.session.describe(ctx.now) + "\n";
    ctx.out.verbatim(line);
    Ok(())
}

fn getname(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    match &*ctx.session.name {
        "" => ctx.out.null(),
        name => ctx.out.bulk(name),
    }
    Ok(())
}

/// No client tracks keys, so none has its invalidations sent elsewhere: that is `-1`.
fn getredir(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.out.integer(-1);
    Ok(())
}

fn setname(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    ctx.session.name = printable(request.arg(2), "Client names")?;
    ctx.out.ok();
    Ok(())
}

fn setinfo(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let (word, value) = (request.arg(2), request.arg(3));
    let option = String::from_utf8_lossy(word);
    if is(word, "LIB-NAME") {
        ctx.session.lib_name = printable(value, &option)?;
    } else if is(word, "LIB-VER") {
        ctx.session.lib_version = printable(value, &option)?;
    } else {
        return Err(CommandError::err(format!("Unrecognized option '{option}'")));
    }
    ctx.out.ok();
    Ok(())
}

/// The client's own line stands where its id belongs, though it is not among the others.
fn list(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let mut wanted = Filter::default();
    let mut ids = None;
    if request.len() == 4 && is(request.arg(2), "TYPE") {
        wanted.kind = Some(Kind::parse(request.arg(3))?);
    } else if request.len() > 3 && is(request.arg(2), "ID") {
        let parse = |arg: &[u8]| {
            let id = parse_i64(arg).ok_or(CommandError::line("ERR Invalid client ID"));
            // Nobody has one below zero.
            id.map(|id| u64::try_from(id).unwrap_or(u64::MAX))
        };
        ids = Some(request.args_from(3).map(parse).collect::<Result<Vec<u64>, _>>()?);
    } else if request.len() > 2 {
        return Err(CommandError::Syntax);
    }
    let matches = |session: &&Session| match &ids {
        Some(ids) => ids.contains(&session.id),
        None => wanted.matches(session, ctx.now),
    };
    let own: &Session = ctx.session;
    let (before, after): (Vec<&Session>, Vec<&Session>) =
        ctx.server.clients.iter().filter(matches).partition(|other| other.id < own.id);
    let own = Some(own).filter(matches);
    let primary = ctx.server.replication.primary_session().filter(matches);
    let lines = primary.into_iter().chain(before).chain(own).chain(after);
    let text: String = lines.map(|session| session.describe(ctx.now) + "\n").collect();
    ctx.out.verbatim(text);
    Ok(())
}

/// The kinds of clients that CLIENT LIST and KILL know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Primary,
    Replica,
    PubSub,
}

impl Kind {
    fn of(session: &Session) -> Self {
        match session.role {
            Role::Replica => Self::Replica,
            Role::Primary => Self::Primary,
            Role::Client if session.subscriptions.is_some() => Self::PubSub,
            Role::Client => Self::Normal,
        }
    }

    fn parse(name: &[u8]) -> Result<Self, CommandError> {
        let names = [
            ("normal", Self::Normal),
            ("master", Self::Primary),
            ("primary", Self::Primary),
            ("slave", Self::Replica),
            ("replica", Self::Replica),
            ("pubsub", Self::PubSub),
        ];
        let found = names.into_iter().find(|(known, _)| is(name, known));
        found.map(|(_, kind)| kind).ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            CommandError::err(format!("Unknown client type '{name}'"))
        })
    }
}

/// Which clients are meant: those that match all that is given.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<Kind>,
    peer: Option<String>,
    local: Option<String>,
    age_min: Option<Duration>,
}

impl Filter {
    fn matches(&self, session: &Session, now: crate::clock::Now) -> bool {
        let age = now.instant.saturating_duration_since(session.since);
        self.id.is_none_or(|id| session.id == id)
            && self.kind.is_none_or(|kind| kind == Kind::of(session))
            && self.peer.as_ref().is_none_or(|peer| session.addresses.peer.to_string() == *peer)
            && self.local.as_ref().is_none_or(|local| session.addresses.local.to_string() == *local)
            && self.age_min.is_none_or(|min| age >= min)
    }
}

/// `KILL addr` closes one client or fails; `KILL option value …` counts whom it closed.
fn kill(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let text = |at: usize| String::from_utf8_lossy(request.arg(at)).into_owned();
    if request.len() == 3 {
        let filter = Filter { peer: Some(text(2)), ..Filter::default() };
        if kill_matching(ctx, &filter, false) == 0 {
            return Err(CommandError::line("ERR No such client"));
        }
        ctx.out.ok();
        return Ok(());
    }
    let mut filter = Filter::default();
    let mut skip_me = true;
    for at in (2..request.len()).step_by(2) {
        let value = request.get(at + 1).ok_or(CommandError::Syntax)?;
        let option = request.arg(at);
        if is(option, "ID") {
            let id = parse_i64(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            let error = CommandError::line("ERR client-id should be greater than 0");
            filter.id = Some(id.ok_or(error)?);
        } else if is(option, "MAXAGE") {
            let seconds = parse_i64(value).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
            let error = CommandError::line("ERR maxage is not an integer or out of range");
            filter.age_min = Some(Duration::from_secs(seconds.ok_or(error)?));
        } else if is(option, "TYPE") {
            filter.kind = Some(Kind::parse(value)?);
        } else if is(option, "ADDR") {
            filter.peer = Some(text(at + 1));
        } else if is(option, "LADDR") {
            filter.local = Some(text(at + 1));
        } else if is(option, "USER") {
            if value != b"default" {
                return Err(CommandError::err(format!("No such user '{}'", text(at + 1))));
            }
        } else if is(option, "SKIPME") && (is(value, "yes") || is(value, "no")) {
            skip_me = is(value, "yes");
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let killed = kill_matching(ctx, &filter, skip_me);
    ctx.out.integer(killed);
    Ok(())
}

/// Closes clients; the caller itself when its reply is written.
fn kill_matching(ctx: &mut Ctx<'_>, filter: &Filter, skip_me: bool) -> i64 {
    let mut killed = 0;
    for session in ctx.server.clients.iter_mut() {
        if filter.matches(session, ctx.now) {
            session.close(Close::Now);
            ctx.server.outputs.push_back(Output::Wake(session.id));
            killed += 1;
        }
    }
    // The primary is one of them, as far as its stream goes: its link is cut, and made again.
    let now = ctx.now;
    if ctx.server.replication.primary_session().is_some_and(|session| filter.matches(session, now))
    {
        ctx.cut_link("killed by a client");
        killed += 1;
    }
    if !skip_me && filter.matches(ctx.session, ctx.now) {
        ctx.session.close(Close::AfterReplies);
        killed += 1;
    }
    killed
}

fn on_or_off(arg: &[u8]) -> Result<bool, CommandError> {
    match arg {
        _ if is(arg, "ON") => Ok(true),
        _ if is(arg, "OFF") => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

fn no_evict(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    ctx.session.no_evict = on_or_off(request.arg(2))?;
    ctx.out.ok();
    Ok(())
}

fn no_touch(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    ctx.session.no_touch = on_or_off(request.arg(2))?;
    ctx.out.ok();
    Ok(())
}

/// The reply of OFF and SKIP itself is withheld by what they set.
fn reply(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let mode = request.arg(2);
    if is(mode, "ON") {
        ctx.session.replies = Replies::On;
        ctx.out.ok();
    } else if is(mode, "OFF") {
        ctx.session.replies = Replies::Off;
    } else if is(mode, "SKIP") {
        if ctx.session.replies != Replies::Off {
            ctx.session.replies = Replies::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

/// A pause that is running is only made longer, and stricter.
fn pause(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let writes_only = match request.get(3) {
        None => false,
        Some(mode) if is(mode, "ALL") => false,
        Some(mode) if is(mode, "WRITE") => true,
        Some(_) => {
            return Err(CommandError::line("ERR CLIENT PAUSE mode must be WRITE or ALL"));
        }
    };
    if request.len() > 4 {
        return Err(CommandError::Syntax);
    }
    let millis = parse_i64(request.arg(2))
        .ok_or(CommandError::line("ERR timeout is not an integer or out of range"))?;
    let millis =
        u64::try_from(millis).map_err(|_| CommandError::line("ERR timeout is negative"))?;
    let until = ctx.now.instant.checked_add(Duration::from_millis(millis));
    let until = until.ok_or(CommandError::line("ERR timeout is not an integer or out of range"))?;
    let running = ctx.server.pause.filter(|pause| pause.until > ctx.now.instant);
    ctx.server.pause = Some(match running {
        Some(old) => {
            Pause { until: old.until.max(until), writes_only: old.writes_only && writes_only }
        }
        None => Pause { until, writes_only },
    });
    refresh_expiry(ctx.server, ctx.keyspace, ctx.now);
    ctx.out.ok();
    Ok(())
}

fn unpause(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.server.unpause();
    refresh_expiry(ctx.server, ctx.keyspace, ctx.now);
    ctx.out.ok();
    Ok(())
}

/// Ends another client's wait, as if its time were over or by an error.
fn unblock(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    const UNBLOCKED: CommandError =
        CommandError::line("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    if request.len() > 4 {
        return Err(CommandError::subcommand("CLIENT", request.arg(1)));
    }
    let with_error = match request.get(3) {
        None => false,
        Some(reason) if is(reason, "TIMEOUT") => false,
        Some(reason) if is(reason, "ERROR") => true,
        Some(_) => {
            return Err(CommandError::line("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let id = parse_i64(request.arg(2)).ok_or(CommandError::NotInteger)?;
    let unblocked = u64::try_from(id).ok().and_then(|id| {
        with_client(ctx.now, ctx.keyspace, ctx.server, id, |other| {
            let blocked = &other.session.blocked;
            let blocked = blocked.as_ref().is_some_and(|blocked| blocked.can_be_ended());
            if !blocked {
                return false;
            }
            if with_error {
                other.unblock_with(&UNBLOCKED);
            } else {
                other.time_out();
            }
            blocked
        })
    });
    ctx.out.integer(i64::from(unblocked == Some(true)));
    Ok(())
}
