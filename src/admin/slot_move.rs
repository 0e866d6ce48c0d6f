//! One slot's move, as a machine that can be stopped between any two commands and begun again.
//!
//! ```text
//! Open (destination imports) → Mark (source migrates) → List ⇄ Drain (keys go over)
//!     → Own (the destination is told first) → Release (the source) → Tell (the others) → Done
//! ```
//!
//! The destination takes ownership before the source lets go: the other order leaves, if
//! the tool dies in between, a slot that nobody owns while its keys are already away
//! (redis#3776). Taking ownership gives the destination a newer epoch, so gossip tells the rest
//! even if the tool cannot.
//!
//! Until then the source serves every key that it still has, and sends clients on for the others
//! (`ASK`). So of a key that both ends have (a `MIGRATE` that broke off after it was written),
//! the source's copy is the right one, and replaces the destination's.

use crate::cluster::{NodeId, Slot};
use crate::resp::Reply;
use bytes::Bytes;

/// Where keys are sent, and how: everything of `MIGRATE` but the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination's address, as the source reaches it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How long the source may wait for the destination, in milliseconds.
    pub timeout_ms: u32,
    /// `AUTH password` or `AUTH2 user password`; empty without.
    pub auth: Vec<Bytes>,
}

/// Whom a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The slot's owner.
    Source,
    /// Its next owner.
    Destination,
    /// All other primaries. Their answers don't matter: gossip tells them as well.
    Others,
}

/// One command to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// To whom.
    pub to: Party,
    /// The command.
    pub args: Vec<Bytes>,
}

/// A node refused a step that cannot be left out. The slot stays as it is; it can be gone on
/// with later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("slot {slot}: {answer}")]
pub struct Stuck {
    /// The slot.
    pub slot: Slot,
    /// What the node answered.
    pub answer: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Mark,
    List,
    Drain(Vec<Bytes>),
    Own,
    Release,
    Tell,
    Done,
}

/// The machine. Ask for its [`order`](Self::order), carry it out, hand the reply in.
#[derive(Clone, Debug)]
pub struct SlotMove {
    slot: Slot,
    from: NodeId,
    to: NodeId,
    route: Route,
    phase: Phase,
    replace: bool,
    /// How often in a row keys did not get over.
    failures: u32,
    /// How often in a row a change of the slot was not confirmed by the node's replicas.
    unconfirmed: u32,
    keys_moved: u64,
}

/// A destination that is loading, or that joined a moment ago and still says that the cluster is
/// down, takes keys a little later. The shell waits a fifth of a second in between.
const FAILURES_MAX: u32 = 50;

impl SlotMove {
    /// A move from its first step. Steps that were done before are harmless to repeat.
    pub fn new(slot: Slot, from: NodeId, to: NodeId, route: Route) -> Self {
        Self {
            slot,
            from,
            to,
            route,
            phase: Phase::Open,
            replace: false,
            failures: 0,
            unconfirmed: 0,
            keys_moved: 0,
        }
    }

    /// The slot.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Keys that have gone over.
    pub fn keys_moved(&self) -> u64 {
        self.keys_moved
    }

    /// Whether the next order moves keys: those take long, others don't.
    pub fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Drain(_))
    }

    /// Whether the last step did not go through, and the shell does well to wait a moment.
    pub fn is_stalled(&self) -> bool {
        self.failures + self.unconfirmed > 0
    }

    /// What is to be done next; `batch` is how many keys one command may take along. `None` when
    /// the move is done.
    pub fn order(&self, batch: usize) -> Option<Order> {
        let set_slot = |to: Party, words: &[&str]| Order { to, args: set_slot(self.slot, words) };
        Some(match &self.phase {
            Phase::Open => set_slot(Party::Destination, &["IMPORTING", self.from.as_str()]),
            Phase::Mark => set_slot(Party::Source, &["MIGRATING", self.to.as_str()]),
            Phase::List => Order { to: Party::Source, args: keys_in_slot(self.slot, batch) },
            Phase::Drain(keys) => {
                Order { to: Party::Source, args: migrate(&self.route, keys, self.replace) }
            }
            Phase::Own => set_slot(Party::Destination, &["NODE", self.to.as_str()]),
            Phase::Release => set_slot(Party::Source, &["NODE", self.to.as_str()]),
            Phase::Tell => set_slot(Party::Others, &["NODE", self.to.as_str()]),
            Phase::Done => return None,
        })
    }

    /// Takes the reply to the order. The reply of [`Party::Others`] is not looked at.
    ///
    /// # Errors
    /// The node refused; the move is best begun again later.
    pub fn handle(&mut self, reply: &Reply) -> Result<(), Stuck> {
        let error = reply.as_error();
        // A replica was slow to confirm what its primary was told (Valkey 8): nothing has changed there.
        let unconfirmed = error.filter(|text| contains(text, b"NOREPLICAS"));
        if let (Some(text), false) = (unconfirmed, self.phase == Phase::Tell) {
            self.unconfirmed += 1;
            return if self.unconfirmed > FAILURES_MAX { Err(self.stuck(text)) } else { Ok(()) };
        }
        self.unconfirmed = 0;
        self.phase = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Open => {
                self.accept(error)?;
                Phase::Mark
            }
            Phase::Mark => {
                self.accept(error)?;
                Phase::List
            }
            Phase::List => {
                self.accept(error)?;
                let keys = bytes_of(reply);
                if keys.is_empty() { Phase::Own } else { Phase::Drain(keys) }
            }
            Phase::Drain(keys) => match error {
                None => {
                    self.failures = 0;
                    self.keys_moved += keys.len() as u64;
                    Phase::List
                }
                Some(text) => self.after_failed_drain(text)?,
            },
            Phase::Own => {
                self.accept(error)?;
                Phase::Release
            }
            Phase::Release => match error {
                // A key came in at the last moment. It is still ours to bring over.
                Some(text) if contains(text, b"still hold keys") => self.again(text)?,
                error => {
                    self.accept(error)?;
                    Phase::Tell
                }
            },
            Phase::Tell | Phase::Done => Phase::Done,
        };
        Ok(())
    }

    /// Some keys of the batch may be over and others not: what is left is listed again.
    fn after_failed_drain(&mut self, text: &[u8]) -> Result<Phase, Stuck> {
        if contains(text, b"BUSYKEY") && !self.replace {
            self.replace = true;
            return Ok(Phase::List);
        }
        let passes = [&b"IOERR"[..], b"LOADING", b"BUSYKEY", b"TRYAGAIN", b"CLUSTERDOWN"];
        if passes.iter().any(|word| contains(text, word)) {
            // The copy that a broken-off transfer may have left behind is the older one.
            self.replace = true;
            return self.again(text);
        }
        Err(self.stuck(text))
    }

    fn again(&mut self, text: &[u8]) -> Result<Phase, Stuck> {
        self.failures += 1;
        if self.failures > FAILURES_MAX { Err(self.stuck(text)) } else { Ok(Phase::List) }
    }

    fn accept(&self, error: Option<&[u8]>) -> Result<(), Stuck> {
        error.map_or(Ok(()), |text| Err(self.stuck(text)))
    }

    fn stuck(&self, text: &[u8]) -> Stuck {
        Stuck { slot: self.slot, answer: String::from_utf8_lossy(text).into_owned() }
    }
}

/// `CLUSTER SETSLOT slot …`
pub(super) fn set_slot(slot: Slot, words: &[&str]) -> Vec<Bytes> {
    let mut args = vec![text("CLUSTER"), text("SETSLOT"), text(&slot.to_string())];
    args.extend(words.iter().map(|word| text(word)));
    args
}

/// `CLUSTER GETKEYSINSLOT slot count`
pub(super) fn keys_in_slot(slot: Slot, count: usize) -> Vec<Bytes> {
    let words = ["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &count.to_string()];
    words.iter().map(|word| text(word)).collect()
}

/// `MIGRATE host port "" 0 timeout [REPLACE] [AUTH …] KEYS …`
pub(super) fn migrate(route: &Route, keys: &[Bytes], replace: bool) -> Vec<Bytes> {
    let Route { host, port, timeout_ms, auth } = route;
    let words = ["MIGRATE", host, &port.to_string(), "", "0", &timeout_ms.to_string()];
    let mut args: Vec<Bytes> = words.iter().map(|word| text(word)).collect();
    if replace {
        args.push(text("REPLACE"));
    }
    args.extend(auth.iter().cloned());
    args.push(text("KEYS"));
    args.extend(keys.iter().cloned());
    args
}

/// The strings of an array.
pub(super) fn bytes_of(reply: &Reply) -> Vec<Bytes> {
    let items = reply.as_array().unwrap_or_default();
    items.iter().filter_map(|item| item.as_bytes().map(Bytes::copy_from_slice)).collect()
}

fn text(word: &str) -> Bytes {
    Bytes::copy_from_slice(word.as_bytes())
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::id;
    use super::*;

    fn a_move() -> SlotMove {
        let route =
            Route { host: "10.0.0.2".into(), port: 7002, timeout_ms: 60_000, auth: Vec::new() };
        SlotMove::new(Slot::new(7).expect("in range"), id(1), id(2), route)
    }

    fn shown(order: &Order) -> String {
        let words: Vec<String> =
            order.args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let short = words.join(" ").replace(id(1).as_str(), "A").replace(id(2).as_str(), "B");
        format!("{:?}: {short}", order.to)
    }

    /// Feeds replies, and returns the orders in between.
    fn run(machine: &mut SlotMove, replies: &[Reply]) -> Vec<String> {
        let mut orders = Vec::new();
        for reply in replies {
            orders.push(shown(&machine.order(10).expect("not done yet")));
            machine.handle(reply).expect("no refusal");
        }
        orders
    }

    fn ok() -> Reply {
        Reply::simple("OK")
    }

    fn keys(keys: &[&str]) -> Reply {
        Reply::Array(keys.iter().map(Reply::bulk).collect())
    }

    #[test]
    fn the_destination_owns_the_slot_before_the_source_lets_go() {
        let mut machine = a_move();
        let replies = [ok(), ok(), keys(&["x", "y"]), ok(), keys(&[]), ok(), ok(), ok()];
        assert_eq!(
            run(&mut machine, &replies),
            [
                "Destination: CLUSTER SETSLOT 7 IMPORTING A",
                "Source: CLUSTER SETSLOT 7 MIGRATING B",
                "Source: CLUSTER GETKEYSINSLOT 7 10",
                "Source: MIGRATE 10.0.0.2 7002  0 60000 KEYS x y",
                "Source: CLUSTER GETKEYSINSLOT 7 10",
                "Destination: CLUSTER SETSLOT 7 NODE B",
                "Source: CLUSTER SETSLOT 7 NODE B",
                "Others: CLUSTER SETSLOT 7 NODE B",
            ]
        );
        assert_eq!(machine.order(10), None);
        assert_eq!(machine.keys_moved(), 2);
    }

    #[test]
    fn a_copy_that_a_broken_transfer_left_behind_is_replaced() {
        for answer in [
            "IOERR error or timeout reading to target instance",
            "ERR Target instance replied with error: BUSYKEY Target key name already exists.",
        ] {
            let mut machine = a_move();
            run(&mut machine, &[ok(), ok(), keys(&["x"]), Reply::error(answer), keys(&["x"])]);
            let order = shown(&machine.order(10).expect("not done yet"));
            assert_eq!(order, "Source: MIGRATE 10.0.0.2 7002  0 60000 REPLACE KEYS x");
        }
    }

    #[test]
    fn a_key_that_came_in_late_is_brought_over_before_the_source_lets_go() {
        let mut machine = a_move();
        let late = "ERR Can't assign hashslot 7 to a different node while I still hold keys for \
                    this hash slot.";
        let orders = run(
            &mut machine,
            &[ok(), ok(), keys(&[]), ok(), Reply::error(late), keys(&["z"]), ok(), keys(&[]), ok()],
        );
        assert_eq!(orders[6], "Source: MIGRATE 10.0.0.2 7002  0 60000 KEYS z");
        assert_eq!(orders[8], "Destination: CLUSTER SETSLOT 7 NODE B");
    }

    #[test]
    fn a_destination_that_never_takes_keys_ends_the_move_and_not_the_cluster() {
        let mut machine = a_move();
        let io_error = Reply::error("IOERR error or timeout connecting to the client");
        run(&mut machine, &[ok(), ok()]);
        let mut tries = 0;
        let stuck = loop {
            machine.handle(&keys(&["x"])).expect("a list");
            tries += 1;
            if let Err(stuck) = machine.handle(&io_error) {
                break stuck;
            }
            assert!(tries < 100, "it gives up");
        };
        assert!(stuck.to_string().starts_with("slot 7: IOERR"), "{stuck}");
    }

    #[test]
    fn a_step_that_replicas_did_not_confirm_in_time_is_taken_again() {
        let late = || Reply::error("NOREPLICAS Not enough good replicas to write.");
        let mut machine = a_move();
        let orders = run(
            &mut machine,
            &[late(), ok(), late(), late(), ok(), keys(&[]), late(), ok(), late(), ok(), ok()],
        );
        let nodes: Vec<&str> =
            orders.iter().map(|order| order.rsplit(": ").next().expect("it")).collect();
        assert_eq!(nodes[0], nodes[1]);
        assert_eq!((nodes[2], nodes[3]), (nodes[4], nodes[4]));
        assert_eq!(orders[6], "Destination: CLUSTER SETSLOT 7 NODE B");
        assert_eq!(orders[6], orders[7]);
        assert_eq!(orders[8], "Source: CLUSTER SETSLOT 7 NODE B");
        assert_eq!(machine.order(10), None);

        let mut machine = a_move();
        let refusals = (0..100).find_map(|_| machine.handle(&late()).err());
        assert!(
            refusals.is_some_and(|stuck| stuck.answer.starts_with("NOREPLICAS")),
            "it gives up"
        );
    }

    #[test]
    fn a_refusal_of_the_first_steps_is_not_gone_past() {
        let mut machine = a_move();
        let stuck = machine.handle(&Reply::error("ERR I'm already the owner of hash slot 7"));
        assert_eq!(stuck.expect_err("refused").slot.number(), 7);
    }
}
