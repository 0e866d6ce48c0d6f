//! PROXY EXPLAIN: what the proxy would do with a command, and why, without doing it.

use super::route::{self, Route};
use super::show::{Cell, Table};
use crate::cluster::{Slot, Topology};
use crate::command::{Class, Flags, Spec, for_each_key, lookup_request};
use crate::resp::{Request, Span};

/// Explains the command that follows PROXY EXPLAIN in a request.
///
/// # Errors
/// The command is not known, or its arguments are wrong: what a client would be told.
pub(super) fn explain(request: &Request<'_>, topology: &Topology) -> Result<Table, Vec<u8>> {
    let spans: &[Span] = request.spans().get(2..).unwrap_or_default();
    if spans.is_empty() {
        return Err(b"ERR wrong number of arguments for 'proxy|explain' command".to_vec());
    }
    let asked = Request::new(request.frame(), spans);
    let spec = lookup_request(&asked).map_err(|unknown| {
        let mut line = Vec::new();
        unknown.write(&mut line);
        line
    })?;
    let slots = slots(spec, &asked);
    let nodes = nodes(spec, &asked, &slots, topology);
    let rows = [
        ("command", spec.name.replace('|', " ").to_ascii_uppercase()),
        ("class", spec.class.name().to_owned()),
        ("slots", list(slots.iter().map(|slot| slot.number().to_string()))),
        ("nodes", nodes),
        ("after a lost connection", retry_rule(spec).to_owned()),
        ("flags", list(spec.flags.names().map(str::to_owned))),
    ];
    let rows = rows.map(|(name, value)| vec![Cell::from(name), Cell::from(value)]);
    Ok(Table::new(&["name", "value"], rows.to_vec()))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(" ")
}

/// The slots of its keys, each once.
fn slots(spec: &'static Spec, asked: &Request<'_>) -> Vec<Slot> {
    let mut slots = Vec::new();
    // What cannot be told is not shown; the node that gets it says what is wrong.
    let _ = for_each_key(spec, asked, |key| slots.push(Slot::of(asked.arg(key.index))));
    slots.sort_unstable();
    slots.dedup();
    slots
}

fn nodes(spec: &'static Spec, asked: &Request<'_>, slots: &[Slot], topology: &Topology) -> String {
    let owner = |slot: &Slot| match topology.owner(*slot) {
        Some(node) => topology.node(node).endpoint.to_string(),
        None => format!("nobody (slot {} has no owner)", slot.number()),
    };
    match spec.class {
        Class::OneSlot | Class::AllOrNothing | Class::Publish => {
            match route::slot_of(spec, asked) {
                Ok(Route::Keyed(slot)) => owner(&slot),
                Ok(Route::Anywhere) => "any primary: it has no keys".to_owned(),
                Err(refusal) => refusal.to_string(),
            }
        }
        Class::Split | Class::Pinned | Class::Subscription if !slots.is_empty() => {
            let mut nodes: Vec<String> = slots.iter().map(owner).collect();
            nodes.sort();
            nodes.dedup();
            nodes.join(" ")
        }
        Class::FanOut => {
            let shards = topology.shards();
            list(shards.iter().map(|(_, node)| topology.node(*node).endpoint.to_string()))
        }
        Class::Cursor => "one primary after the other".to_owned(),
        Class::Local => "none: the proxy answers itself".to_owned(),
        Class::Refused => "none: it is not available through the proxy".to_owned(),
        Class::Split | Class::Pinned | Class::Subscription => "a primary".to_owned(),
    }
}

/// What becomes of it when the connection is lost before its answer (contract: what a loss means).
fn retry_rule(spec: &Spec) -> &'static str {
    match spec.class {
        Class::Local | Class::Refused => "nothing: no node is asked",
        Class::Subscription => "subscribed again, and the client is not told",
        _ if spec.flags.contains(Flags::READONLY) => "sent again: it only reads",
        _ if spec.is_repeatable() => "sent again: running it twice is harmless",
        _ => "sent again only if no byte of it had left, else INDOUBT: it may have run",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Endpoint, Epoch, TopologyNode};
    use crate::resp::{Encoder, OwnedRequest, Protocol};

    fn told(line: &str) -> String {
        let node = |port| TopologyNode {
            endpoint: Endpoint::new("n", port),
            id: None,
            primary: true,
            config_epoch: Epoch::ZERO,
        };
        let topology = Topology::new(vec![node(1), node(2)], 0);
        for slot in Slot::all() {
            let owner = Endpoint::new("n", if slot.number() < 8192 { 1 } else { 2 });
            topology.set_owner(slot, topology.find(&owner));
        }
        let args: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_args(&args);
        match explain(&request.as_request(), &topology) {
            Ok(table) => {
                let mut out = Vec::new();
                table.write(&mut Encoder::new(&mut out, Protocol::Resp2));
                String::from_utf8(out).expect("text")
            }
            Err(line) => String::from_utf8(line).expect("text"),
        }
    }

    #[test]
    fn a_command_is_explained_without_being_run() {
        for (line, expected) in [
            ("PROXY EXPLAIN GET a", &["one_slot", "15495", "n:2", "it only reads"][..]),
            ("PROXY EXPLAIN SET b 1", &["3300", "n:1", "INDOUBT"]),
            ("PROXY EXPLAIN MGET a b", &["split", "3300 15495", "n:1 n:2"]),
            ("PROXY EXPLAIN RENAME a b", &["all_or_nothing", "CROSSSLOT"]),
            ("PROXY EXPLAIN DBSIZE", &["fan_out", "n:1 n:2"]),
            ("PROXY EXPLAIN PING", &["local", "answers itself"]),
            ("PROXY EXPLAIN SHUTDOWN", &["refused", "not available"]),
            ("PROXY EXPLAIN NOSUCH x", &["ERR unknown command 'NOSUCH'"]),
            ("PROXY EXPLAIN", &["ERR wrong number of arguments"]),
        ] {
            let told = told(line);
            for part in expected {
                assert!(told.contains(part), "{line}: {part} is not in\n{told}");
            }
        }
    }
}
