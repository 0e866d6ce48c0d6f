//! Where a request goes, by its row of the command table and its keys: nothing here knows a
//! command by its name.

use super::core::transactions::may_be_queued;
use super::cursor::{Cursor, Position};
use super::gather::{Gather, Kind};
use super::set_algebra::SetAlgebra;
use super::walks::Changes;
use crate::cluster::{Slot, Topology};
use crate::command::{
    BeginSearch, Class, FindKeys, Flags, Group, KeySpec, ResponsePolicy, Spec, for_each_key,
    may_block,
};
use crate::resp::{Request, parse_i64};

/// Where a request goes as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the owner of this slot, which all its keys are in.
    Keyed(Slot),
    /// It has no keys: to any primary.
    Anywhere,
}

/// Why a request goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Its keys are in several slots.
    #[error("CROSSSLOT Keys in request don't hash to the same slot")]
    CrossSlot,
    /// Its keys cannot be told from its arguments.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arguments(&'static str),
    /// It changes or shows what belongs to one node, which the client cannot see.
    #[error("ERR {0} is not available through the proxy")]
    NotAvailable(String),
    /// It is about users of the nodes.
    #[error(
        "ERR {0} is not available through the proxy: its users are its own, not those of the nodes"
    )]
    Users(String),
    /// It may block, and needs a connection of its own.
    #[error("ERR a blocking command")]
    Blocks,
    /// What it does concerns more than one node, or the session, and not a transaction's slot.
    #[error("ERR {0} is not available inside MULTI through the proxy")]
    NotInMulti(String),
    /// The transaction would need more memory than it may.
    #[error("ERR the transaction exceeds the proxy's transaction_bytes")]
    TooLarge,
    /// It needs a connection of its own.
    #[error("ERR {0} is not available through this proxy yet: it needs a connection of its own")]
    NotYet(String),
    /// It concerns clients of other workers.
    #[error("ERR {0} is not available through this proxy yet")]
    NotYetHere(String),
    /// A cursor that no SCAN of this proxy gave.
    #[error("ERR invalid cursor")]
    Cursor,
    /// No node is known.
    #[error("CLUSTERDOWN no node of the cluster is known yet")]
    NoShards,
}

/// The refusal of a command that its class alone refuses.
pub(super) fn refusal(spec: &Spec) -> Refusal {
    let name = spec.name.replace('|', " ").to_ascii_uppercase();
    match spec.class {
        Class::Pinned => Refusal::NotYet(name),
        _ if spec.name.starts_with("acl|") => Refusal::Users(name),
        _ => Refusal::NotAvailable(name),
    }
}

/// The slot of a request that goes to one node.
///
/// # Errors
/// [`Refusal::CrossSlot`], and [`Refusal::Blocks`] for one that would block its connection.
#[inline]
pub(super) fn slot_of(spec: &'static Spec, request: &Request<'_>) -> Result<Route, Refusal> {
    // Nearly every request: one key, the first argument.
    if let [KeySpec { begin: BeginSearch::Index(1), find: FindKeys::Range { last: 0, .. }, .. }] =
        spec.keys
    {
        return match request.get(1) {
            Some(key) => Ok(Route::Keyed(Slot::of(key))),
            None => Ok(Route::Anywhere),
        };
    }
    slot_of_several(spec, request)
}

fn slot_of_several(spec: &'static Spec, request: &Request<'_>) -> Result<Route, Refusal> {
    if may_block(spec, request) {
        return Err(Refusal::Blocks);
    }
    slot_of_keys(spec, request)
}

/// The slot of a request all of whose keys go to one node, whether it may block or not.
///
/// # Errors
/// [`Refusal::CrossSlot`].
pub(super) fn slot_of_keys(spec: &'static Spec, request: &Request<'_>) -> Result<Route, Refusal> {
    let mut slot = None;
    let mut crossed = false;
    let found = for_each_key(spec, request, |key| {
        let this = Slot::of(request.arg(key.index));
        crossed |= slot.replace(this).is_some_and(|other| other != this);
    });
    match (found, slot) {
        _ if crossed => Err(Refusal::CrossSlot),
        (Ok(()), Some(slot)) => Ok(Route::Keyed(slot)),
        // Without keys any node runs it; and any node says best what is wrong with its arguments.
        (Ok(()), None) | (Err(_), None) => Ok(Route::Anywhere),
        (Err(_), Some(slot)) => Ok(Route::Keyed(slot)),
    }
}

/// Where a command of a transaction runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the owner of this slot.
    Keyed(Slot),
    /// Wherever the transaction does.
    Keyless,
    /// In the proxy, when the transaction has run.
    Local,
}

/// Where a command that is queued in a transaction runs.
///
/// # Errors
/// What a transaction of one slot cannot hold.
pub(super) fn in_transaction(spec: &'static Spec, request: &Request<'_>) -> Result<Place, Refusal> {
    let name = || spec.name.replace('|', " ").to_ascii_uppercase();
    match spec.class {
        Class::OneSlot | Class::AllOrNothing | Class::Split | Class::Publish => {}
        // They do not block there.
        Class::Pinned if spec.flags.contains(Flags::BLOCKING) && !spec.keys.is_empty() => {}
        Class::Pinned if spec.name == "unwatch" => {}
        Class::Local if may_be_queued(spec) => return Ok(Place::Local),
        Class::Refused => return Err(refusal(spec)),
        Class::Local | Class::Pinned | Class::FanOut | Class::Cursor | Class::Subscription => {
            return Err(Refusal::NotInMulti(name()));
        }
    }
    Ok(match slot_of_keys(spec, request)? {
        Route::Keyed(slot) => Place::Keyed(slot),
        Route::Anywhere => Place::Keyless,
    })
}

/// A command over several slots that no node runs and that is put together here, or what is wrong
/// with it.
pub(super) fn gathered(
    spec: &'static Spec,
    request: &Request<'_>,
    bytes_max: usize,
) -> Option<Result<Gather, &'static str>> {
    let mut keys = Vec::new();
    for_each_key(spec, request, |key| keys.push(key.index as u32)).ok()?;
    if let Some(streams) = Gather::of_streams(spec, request, &keys, bytes_max) {
        return Some(Ok(streams));
    }
    let sets = SetAlgebra::new(spec, request, keys)?;
    Some(sets.map(|sets| Gather::of_sets(sets, request, bytes_max)))
}

/// The slot of some shard: the same for the same client as long as the map stays, so that its
/// requests without keys run in the order in which it sent them.
pub(super) fn any_shard(topology: &Topology, client: u64) -> Option<Slot> {
    // Spread by an odd multiplier: clients with neighbouring numbers get distant slots.
    let start = (client.wrapping_mul(0x9e37_79b9) >> 7) as usize % Slot::COUNT;
    (0..Slot::COUNT)
        .map(|offset| Slot::new(((start + offset) % Slot::COUNT) as u16).expect("in range"))
        .find(|&slot| topology.owner(slot).is_some())
}

/// The slot of the shard at which everything is published: one for all clients, of all proxies. So
/// messages come to everyone in the order in which they were published, whoever published them.
pub(super) fn publishing_shard(topology: &Topology) -> Option<Slot> {
    any_shard(topology, 0)
}

/// The parts of a split request: one per slot.
///
/// # Errors
/// [`Refusal::Arguments`] when its keys cannot be told.
pub(super) fn split(
    spec: &'static Spec,
    request: &Request<'_>,
    write: bool,
    bytes_max: usize,
    keys: &mut Vec<(Slot, u32)>,
) -> Result<Gather, Refusal> {
    keys.clear();
    let found = for_each_key(spec, request, |key| {
        keys.push((Slot::of(request.arg(key.index)), key.index as u32));
    });
    if found.is_err() || keys.is_empty() {
        return Err(Refusal::Arguments(spec.name));
    }
    let kind = match spec.response {
        ResponsePolicy::AggSum => Kind::SumOfKeys,
        ResponsePolicy::AllSucceeded => Kind::Pairs,
        _ => Kind::Values,
    };
    if kind == Kind::Pairs && request.len() != 1 + 2 * keys.len() {
        return Err(Refusal::Arguments(spec.name));
    }
    let mut gather = Gather::new(kind, write, bytes_max);
    gather.split(keys, request.len());
    Ok(gather)
}

/// The parts of a fan-out: one per shard.
///
/// # Errors
/// [`Refusal::NoShards`].
pub(super) fn fan_out(
    spec: &'static Spec,
    topology: &Topology,
    client: u64,
    bytes_max: usize,
) -> Result<Gather, Refusal> {
    let kind = match (spec.response, spec.group) {
        (ResponsePolicy::None, _) => Kind::Concat,
        (ResponsePolicy::AggSum, _) => Kind::Sum,
        (ResponsePolicy::AggLogicalAnd, _) => Kind::LogicalAnd,
        (ResponsePolicy::AggMin, _) => Kind::Min,
        (ResponsePolicy::AggMax | ResponsePolicy::AggLogicalOr, _) => Kind::Max,
        (ResponsePolicy::OneSucceeded, _) => Kind::OneSucceeded,
        (ResponsePolicy::Special, Group::Generic) => Kind::OneOf { choice: client as usize },
        (ResponsePolicy::AllSucceeded | ResponsePolicy::Special, _) => Kind::AllSucceeded,
    };
    to_every_shard(kind, spec.is_write(), topology, bytes_max)
}

/// A request to every shard.
///
/// # Errors
/// [`Refusal::NoShards`].
pub(super) fn to_every_shard(
    kind: Kind,
    write: bool,
    topology: &Topology,
    bytes_max: usize,
) -> Result<Gather, Refusal> {
    let shards = topology.shards();
    if shards.is_empty() {
        return Err(Refusal::NoShards);
    }
    let mut gather = Gather::new(kind, write, bytes_max);
    for (slot, _) in shards {
        gather.add_shard(slot);
    }
    Ok(gather)
}

/// One page of a walk over all nodes that own slots. `unit` is the time, as [`super::walks::unit`] has it.
///
/// # Errors
/// [`Refusal::Cursor`], [`Refusal::NoShards`].
pub(super) fn scan(
    request: &Request<'_>,
    topology: &Topology,
    changes: &mut Changes,
    unit: u64,
    bytes_max: usize,
) -> Result<Gather, Refusal> {
    let cursor = Cursor::parse(request.arg(1)).ok_or(Refusal::Cursor)?;
    changes.tick(unit);
    let began = match &cursor {
        Some(cursor) => changes.began(cursor.began, cursor.again),
        None => changes.begin(unit),
    };
    let position = Position::new(began, &changes.stops(topology, began), cursor.as_ref());
    let position = position.with_count(count_of(request));
    let page = position.slot();
    let mut gather = Gather::new(Kind::Scan(Box::new(position)), false, bytes_max);
    match page {
        Some(slot) => gather.add_shard(slot),
        None => add_survey(&mut gather, topology),
    }
    if gather.parts.is_empty() {
        return Err(Refusal::NoShards);
    }
    Ok(gather)
}

/// What a SCAN says behind COUNT.
fn count_of(request: &Request<'_>) -> Option<u64> {
    let named = (2..request.len()).find(|&at| request.arg(at).eq_ignore_ascii_case(b"count"))?;
    parse_i64(request.get(named + 1)?).and_then(|count| count.try_into().ok())
}

/// Asks every owner of slots what it knows, at the end of a walk's round.
pub(super) fn add_survey(gather: &mut Gather, topology: &Topology) {
    for (slot, _) in topology.shards() {
        gather.add_shard(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Endpoint, Epoch, TopologyNode};
    use crate::command::lookup_request;
    use crate::resp::OwnedRequest;

    fn route(line: &str) -> Result<Route, Refusal> {
        let args: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_args(&args);
        let request = request.as_request();
        slot_of(lookup_request(&request).expect("in the table"), &request)
    }

    #[test]
    fn a_request_goes_where_its_keys_are() {
        let slot = |key: &str| Ok(Route::Keyed(Slot::of(key.as_bytes())));
        for (line, expected) in [
            ("GET a", slot("a")),
            ("SET {x}a 1", slot("x")),
            ("OBJECT ENCODING a", slot("a")),
            ("RENAME {x}a {x}b", slot("x")),
            ("RENAME a b", Err(Refusal::CrossSlot)),
            ("EVAL return 2 {x}a {x}b c", slot("x")),
            ("EVAL return 2 a b", Err(Refusal::CrossSlot)),
            ("EVAL return 0", Ok(Route::Anywhere)),
            ("PUBLISH channel hello", Ok(Route::Anywhere)),
            ("SPUBLISH channel hello", slot("channel")),
            ("XREAD COUNT 1 STREAMS {x}a {x}b 0 0", slot("x")),
            ("SINTERCARD 2 {x}a {x}b", slot("x")),
            ("BITOP AND {x}d {x}a {x}b", slot("x")),
            ("ZUNIONSTORE {x}d 2 {x}a {x}b", slot("x")),
        ] {
            assert_eq!(route(line), expected, "{line}");
        }
        assert_eq!(route("XREAD BLOCK 0 STREAMS a 0"), Err(Refusal::Blocks));
    }

    fn topology(owners: &[(u16, u16)]) -> Topology {
        let node = |port| TopologyNode {
            endpoint: Endpoint::new("127.0.0.1", port),
            id: None,
            primary: true,
            config_epoch: Epoch::ZERO,
        };
        let mut ports: Vec<u16> = owners.iter().map(|(_, port)| *port).collect();
        ports.dedup();
        let topology = Topology::new(ports.into_iter().map(node).collect(), 0);
        for (slot, port) in owners {
            let owner = topology.find(&Endpoint::new("127.0.0.1", *port));
            topology.set_owner(Slot::new(*slot).expect("in range"), owner);
        }
        topology
    }

    const NOW: u64 = 50_000_000;

    fn scan_from(cursor: &str, topology: &Topology, changes: &mut Changes) -> (u16, u64, Gather) {
        let request = OwnedRequest::from_args(&["SCAN", cursor]);
        let scanned = scan(&request.as_request(), topology, changes, NOW, 1000);
        let mut gather = scanned.expect("valid");
        let position = gather.scan_position().expect("a scan").clone();
        (position.slot().expect("a page").number(), position.node_cursor(), gather)
    }

    fn page(mut gather: Gather, reply: &str) -> String {
        gather.answered(0, reply.as_bytes()).expect("valid");
        gather.scan_position().expect("a scan").client_cursor().to_string()
    }

    #[test]
    fn a_walk_leaves_a_node_that_another_has_taken_over() {
        let map = topology(&[(0, 1), (100, 2)]);
        let changes = &mut Changes::default();
        changes.tick(NOW);
        let (slot, cursor, gather) = scan_from("0", &map, changes);
        assert_eq!((slot, cursor), (100, 0));
        let text = page(gather, "*2\r\n$1\r\n5\r\n*0\r\n");
        assert_eq!(scan_from(&text, &map, changes).1, 5, "the same node goes on");

        changes.changed(Slot::new(100).expect("in range"));
        let (slot, cursor, mut gather) = scan_from(&text, &map, changes);
        assert_eq!((slot, cursor), (0, 0), "and its keys are left for another round");
        assert!(!gather.wants_survey());
        gather.answered(0, b"*2\r\n$1\r\n0\r\n*0\r\n").expect("valid");
        assert!(gather.wants_survey());
        add_survey(&mut gather, &map);
        assert!(!gather.wants_survey(), "they are asked once");
        let mut frame = Vec::new();
        gather.write_part(1, &OwnedRequest::from_args(&["SCAN", &text]).as_request(), &mut frame);
        assert_eq!(frame, b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n");
    }

    #[test]
    fn a_walk_without_nodes_is_refused() {
        let request = OwnedRequest::from_args(&["SCAN", "0"]);
        let nobody = topology(&[]);
        let scanned = scan(&request.as_request(), &nobody, &mut Changes::default(), NOW, 1000);
        assert_eq!(scanned.map(|gather| gather.pending), Err(Refusal::NoShards));
    }

    #[test]
    fn a_client_without_keys_keeps_its_shard() {
        let map = topology(&[(7, 1), (100, 2)]);
        let first = any_shard(&map, 5);
        assert!(first.is_some());
        assert_eq!(any_shard(&map, 5), first);
        assert_eq!(any_shard(&topology(&[]), 5), None);
    }
}
