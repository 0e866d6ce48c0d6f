//! CLUSTER and what else clients of a cluster say. Syntax and texts are Redis's; what the commands
//! do is decided in [`crate::bus`].

use crate::bus::{Applied, BUS_PORT_OFFSET, Change, FailoverMode, Member, Refusal};
use crate::cluster::describe;
use crate::cluster::{Epoch, NodeId, Slot, SlotSet};
use crate::node::args::{integer, is};
use crate::node::blocking::Subject;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::serve::Wait;
use crate::node::session::Role;
use crate::resp::{Request, parse_i64};
use std::net::IpAddr;
use std::time::Duration;

pub(super) const HANDLERS: Handlers = &[
    ("asking", asking),
    ("cluster|addslots", addslots),
    ("cluster|addslotsrange", addslotsrange),
    ("cluster|bumpepoch", bumpepoch),
    ("cluster|count-failure-reports", count_failure_reports),
    ("cluster|countkeysinslot", countkeysinslot),
    ("cluster|delslots", delslots),
    ("cluster|delslotsrange", delslotsrange),
    ("cluster|failover", failover),
    ("cluster|flushslots", flushslots),
    ("cluster|forget", forget),
    ("cluster|getkeysinslot", getkeysinslot),
    ("cluster|help", super::help),
    ("cluster|info", info),
    ("cluster|keyslot", keyslot),
    ("cluster|links", links),
    ("cluster|meet", meet),
    ("cluster|myid", myid),
    ("cluster|myshardid", myshardid),
    ("cluster|nodes", nodes),
    ("cluster|replicas", replicas),
    ("cluster|replicate", replicate),
    ("cluster|reset", reset),
    ("cluster|saveconfig", saveconfig),
    ("cluster|set-config-epoch", set_config_epoch),
    ("cluster|setslot", setslot),
    ("cluster|shards", shards),
    ("cluster|slaves", replicas),
    ("cluster|slots", slots),
    ("readonly", readonly),
    ("readwrite", readwrite),
];

type Outcome = Result<(), CommandError>;

fn text(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).into_owned()
}

/// Makes one change, and says OK.
fn change(ctx: &mut Ctx<'_>, change: Change) -> Outcome {
    ctx.server.change_cluster(ctx.now, change)?;
    ctx.out.ok();
    Ok(())
}

/// A slot as an argument.
fn slot(arg: &[u8]) -> Result<Slot, CommandError> {
    let number = parse_i64(arg).and_then(|number| u16::try_from(number).ok());
    number
        .and_then(|number| Slot::new(number).ok())
        .ok_or(CommandError::line("ERR Invalid or out of range slot"))
}

/// More arguments than a subcommand has forms for.
fn wrong_form(subcommand: &[u8]) -> CommandError {
    let name = String::from_utf8_lossy(subcommand);
    CommandError::err(format_args!(
        "unknown subcommand or wrong number of arguments for '{name}'. Try CLUSTER HELP."
    ))
}

fn meet(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    if request.len() > 5 {
        return Err(wrong_form(request.arg(1)));
    }
    let (host, port_text) = (text(request.arg(2)), text(request.arg(3)));
    let port = parse_i64(request.arg(3)).ok_or_else(|| {
        CommandError::err(format_args!("Invalid TCP base port specified: {port_text}"))
    })?;
    let bus_port = match request.get(4) {
        None => port.saturating_add(i64::from(BUS_PORT_OFFSET)),
        Some(arg) => parse_i64(arg).ok_or_else(|| {
            CommandError::err(format_args!("Invalid TCP bus port specified: {}", text(arg)))
        })?,
    };
    let valid = |port: i64| u16::try_from(port).ok().filter(|port| *port != 0);
    match (host.parse::<IpAddr>(), valid(port), valid(bus_port)) {
        (Ok(ip), Some(port), Some(bus_port)) => change(ctx, Change::Meet { ip, port, bus_port }),
        _ => Err(CommandError::err(format_args!(
            "Invalid node address specified: {host}:{port_text}"
        ))),
    }
}

fn forget(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    change(ctx, Change::Forget(text(request.arg(2))))
}

/// Adds a slot to those that a command names, if the command may change it.
fn name_slot(member: &Member, slots: &mut SlotSet, slot: Slot, add: bool) -> Outcome {
    let owned = member.view().owner(slot).is_some();
    match (add, owned) {
        (true, true) => return Err(CommandError::err(Refusal::Busy(slot))),
        (false, false) => return Err(CommandError::err(Refusal::Unassigned(slot))),
        (true, false) | (false, true) => {}
    }
    if slots.insert(slot) {
        Ok(())
    } else {
        Err(CommandError::err(format_args!("Slot {slot} specified multiple times")))
    }
}

fn named_slots(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    add: bool,
) -> Result<SlotSet, CommandError> {
    let member = ctx.server.member()?;
    let mut slots = SlotSet::new();
    for arg in request.args_from(2) {
        name_slot(member, &mut slots, slot(arg)?, add)?;
    }
    Ok(slots)
}

fn named_ranges(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    add: bool,
    name: &'static str,
) -> Result<SlotSet, CommandError> {
    let member = ctx.server.member()?;
    if request.len() % 2 == 1 {
        return Err(CommandError::Arity(name));
    }
    let mut slots = SlotSet::new();
    for at in (2..request.len()).step_by(2) {
        let (first, last) = (slot(request.arg(at))?, slot(request.arg(at + 1))?);
        if first > last {
            return Err(CommandError::err(format_args!(
                "start slot number {first} is greater than end slot number {last}"
            )));
        }
        for slot in Slot::all().skip(first.index()).take(last.index() - first.index() + 1) {
            name_slot(member, &mut slots, slot, add)?;
        }
    }
    Ok(slots)
}

fn addslots(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    let slots = named_slots(ctx, request, true)?;
    change(ctx, Change::AddSlots(slots))
}

fn delslots(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    let slots = named_slots(ctx, request, false)?;
    change(ctx, Change::DelSlots(slots))
}

fn addslotsrange(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    let slots = named_ranges(ctx, request, true, "cluster|addslotsrange")?;
    change(ctx, Change::AddSlots(slots))
}

fn delslotsrange(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    let slots = named_ranges(ctx, request, false, "cluster|delslotsrange")?;
    change(ctx, Change::DelSlots(slots))
}

fn flushslots(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    let has_keys = !ctx.keyspace.is_empty();
    change(ctx, Change::FlushSlots { has_keys })
}

/// How long replicas may take to confirm SETSLOT, unless it says so itself. Valkey waits for two seconds; but
/// `redis-cli --cluster reshard` gives up at the first refusal and leaves its slot open, and a replica writes
/// its nodes.conf before it confirms, which a busy disk may hold up for longer.
const SETSLOT_WITHIN: Duration = Duration::from_secs(10);

/// The change that SETSLOT asks for, and how long its replication may take.
fn slot_change(ctx: &Ctx<'_>, request: &Request<'_>) -> Result<(Change, Duration), CommandError> {
    let slot = slot(request.arg(2))?;
    let action = request.arg(3);
    let mut len = request.len();
    let mut within = SETSLOT_WITHIN;
    let option = if is(action, "stable") { 4 } else { 5 };
    if request.get(option).is_some_and(|word| is(word, "timeout")) {
        let Some(millis) = request.get(option + 1) else {
            return Err(CommandError::line("ERR Missing timeout value"));
        };
        let millis = parse_i64(millis)
            .ok_or(CommandError::line("ERR timeout is not an integer or out of range"))?;
        let millis =
            u64::try_from(millis).map_err(|_| CommandError::line("ERR timeout is negative"))?;
        within = Duration::from_millis(millis);
        len = len.saturating_sub(2).max(option);
    }
    let asked = match (len, request.get(4)) {
        (5, Some(node)) if is(action, "migrating") => Change::Migrating(slot, text(node)),
        (5, Some(node)) if is(action, "importing") => Change::Importing(slot, text(node)),
        (5, Some(node)) if is(action, "node") => {
            let has_keys = ctx.keyspace.count_in_slot(slot) > 0;
            Change::Assign { slot, node: text(node), has_keys }
        }
        (4, _) if is(action, "stable") => Change::Stable(slot),
        _ => {
            return Err(CommandError::line(
                "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
            ));
        }
    };
    Ok((asked, within))
}

/// A primary tells its replicas first, and is confirmed by all of them, so that whoever takes over
/// from it knows which slots are on their way (Valkey 8). Replicas that do not know this form are
/// not told, and then nobody is.
fn setslot(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    if ctx.session.role == Role::Primary {
        let (asked, _) = slot_change(ctx, request)?;
        ctx.server.follow_slot_change(ctx.now, asked)?;
        ctx.out.ok();
        return Ok(());
    }
    if !ctx.server.member()?.view().myself().is_primary() {
        return Err(CommandError::err(Refusal::NotAPrimary));
    }
    let (asked, within) = slot_change(ctx, request)?;
    let mut told = ctx.runs_again;
    if !told {
        ctx.server.member()?.check_slot_change(&asked).map_err(CommandError::err)?;
        let words: Vec<&[u8]> = request.args_from(0).collect();
        told = ctx.server.tell_replicas_of_slot(&words);
        if told {
            ctx.session.write_offset = ctx.server.replication.history().offset();
            ctx.server.ask_replicas_for_acks();
        }
    }
    if told && ctx.may_block() && !ctx.server.replicas_have(ctx.session.write_offset) {
        fn timed_out(ctx: &mut Ctx<'_>) {
            ctx.out.error("NOREPLICAS Not enough good replicas to write.");
        }
        let until = Some(ctx.now.instant + within);
        ctx.block_on(
            Subject::Acknowledgements,
            Wait { request: request.to_owned(), until, timed_out },
        );
        return Ok(());
    }
    change(ctx, asked)?;
    if ctx.runs_again && ctx.server.has_copied_since(ctx.session.write_offset) {
        // Whoever joined while others confirmed it has a copy that does not say it, from behind where
        // the stream did. To say it twice changes nothing.
        let words: Vec<&[u8]> = request.args_from(0).collect();
        ctx.server.tell_replicas_of_slot(&words);
    }
    Ok(())
}

fn set_config_epoch(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    let number = integer(request.arg(2))?;
    let epoch = u64::try_from(number)
        .map_err(|_| CommandError::err(format_args!("Invalid config epoch specified: {number}")))?;
    change(ctx, Change::SetConfigEpoch(Epoch(epoch)))
}

fn bumpepoch(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    match ctx.server.change_cluster(ctx.now, Change::BumpEpoch)? {
        Applied::Bumped(epoch) => ctx.out.simple(&format!("BUMPED {epoch}")),
        Applied::Still(epoch) => ctx.out.simple(&format!("STILL {epoch}")),
        Applied::Done => ctx.out.ok(),
    }
    Ok(())
}

fn reset(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    let hard = match request.get(2) {
        _ if request.len() > 3 => return Err(wrong_form(request.arg(1))),
        None => false,
        Some(arg) if is(arg, "soft") => false,
        Some(arg) if is(arg, "hard") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    let has_keys = !ctx.keyspace.is_empty();
    let was_replica = ctx.server.member()?.view().myself().is_replica();
    ctx.server.change_cluster(ctx.now, Change::Reset { hard, has_keys })?;
    if was_replica {
        // What it holds is its former primary's.
        ctx.keyspace.flush(0);
    }
    ctx.out.ok();
    Ok(())
}

fn saveconfig(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    change(ctx, Change::SaveConfig)
}

fn replicate(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    let has_keys = !ctx.keyspace.is_empty();
    change(ctx, Change::Replicate { node: text(request.arg(2)), has_keys })
}

fn failover(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    let mode = match request.get(2) {
        _ if request.len() > 3 => return Err(wrong_form(request.arg(1))),
        None => FailoverMode::Agreed,
        Some(arg) if is(arg, "force") => FailoverMode::Force,
        Some(arg) if is(arg, "takeover") => FailoverMode::Takeover,
        Some(_) => return Err(CommandError::Syntax),
    };
    change(ctx, Change::Failover(mode))
}

fn info(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    let text = ctx.server.member()?.info();
    ctx.out.verbatim(text);
    Ok(())
}

fn nodes(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    let records = ctx.server.member()?.view().records();
    ctx.out.verbatim(describe::nodes(&records));
    Ok(())
}

fn slots(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    let member = ctx.server.member()?;
    let reply = describe::slots(&member.view().records(), member.options().preferred_endpoint);
    ctx.out.reply(&reply);
    Ok(())
}

fn shards(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    let member = ctx.server.member()?;
    let reply = describe::shards(&member.view().records(), member.options().preferred_endpoint);
    ctx.out.reply(&reply);
    Ok(())
}

fn links(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    let links = ctx.server.member()?.links();
    ctx.out.array(links.len());
    for link in links {
        let used = link.send_buffer_used;
        ctx.out.map(6);
        ctx.out.bulk("direction");
        ctx.out.bulk(if link.outbound { "to" } else { "from" });
        ctx.out.bulk("node");
        ctx.out.bulk(link.node.as_str());
        ctx.out.bulk("create-time");
        ctx.out.integer(link.created_ms as i64);
        ctx.out.bulk("events");
        ctx.out.bulk(if used > 0 { "rw" } else { "r" });
        ctx.out.bulk("send-buffer-allocated");
        ctx.out.integer(link.send_buffer_allocated as i64);
        ctx.out.bulk("send-buffer-used");
        ctx.out.integer(used as i64);
    }
    Ok(())
}

fn myid(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    let id = ctx.server.member()?.view().myself().id;
    ctx.out.bulk(id.as_str());
    Ok(())
}

fn myshardid(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    let id = ctx.server.member()?.shard_id();
    ctx.out.bulk(id.as_str());
    Ok(())
}

fn keyslot(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    ctx.out.integer(i64::from(Slot::of(request.arg(2)).number()));
    Ok(())
}

fn countkeysinslot(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    let number = integer(request.arg(2))?;
    let slot = u16::try_from(number).ok().and_then(|number| Slot::new(number).ok());
    let slot = slot.ok_or(CommandError::line("ERR Invalid slot"))?;
    ctx.out.integer(ctx.keyspace.count_in_slot(slot) as i64);
    Ok(())
}

fn getkeysinslot(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    let (number, max) = (integer(request.arg(2))?, integer(request.arg(3))?);
    let slot = u16::try_from(number).ok().and_then(|number| Slot::new(number).ok());
    let (Some(slot), Ok(max)) = (slot, usize::try_from(max)) else {
        return Err(CommandError::line("ERR Invalid slot or number of keys"));
    };
    let keys: Vec<&[u8]> = ctx.keyspace.keys_in_slot(slot, max).collect();
    ctx.out.array(keys.len());
    for key in keys {
        ctx.out.bulk(key);
    }
    Ok(())
}

/// The node that an argument names.
fn named<'m>(
    member: &'m Member,
    arg: &[u8],
) -> Result<(crate::bus::NodeKey, &'m crate::bus::Node), CommandError> {
    let view = member.view();
    let key = NodeId::parse(arg).ok().and_then(|id| view.key(&id));
    let key = key.ok_or_else(|| CommandError::err(Refusal::UnknownNode(text(arg))))?;
    Ok((key, view.node(key)))
}

fn replicas(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    let member = ctx.server.member()?;
    let (primary, node) = named(member, request.arg(2))?;
    if !node.is_primary() {
        return Err(CommandError::line("ERR The specified node is not a master"));
    }
    let view = member.view();
    let lines: Vec<String> =
        view.replicas_of(primary).map(|(key, _)| view.record(key).to_string()).collect();
    ctx.out.array(lines.len());
    for line in lines {
        ctx.out.bulk(line);
    }
    Ok(())
}

fn count_failure_reports(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Outcome {
    let now = ctx.now;
    let member = ctx.server.member()?;
    let (_, node) = named(member, request.arg(2))?;
    let count = member.failure_reports(now, node);
    ctx.out.integer(count as i64);
    Ok(())
}

fn asking(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    ctx.session.asking = true;
    ctx.out.ok();
    Ok(())
}

fn readonly(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    ctx.server.member()?;
    ctx.session.readonly = true;
    ctx.out.ok();
    Ok(())
}

fn readwrite(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Outcome {
    ctx.session.readonly = false;
    ctx.server.member()?;
    ctx.out.ok();
    Ok(())
}
