//! May this node serve the keys of a command? Redis's checks, in Redis's order:
//!
//! ```text
//!   nobody owns the slot of the first key ▶ CLUSTERDOWN Hash slot not served
//!   keys in several slots ▶ CROSSSLOT
//!   the cluster is down   ▶ CLUSTERDOWN The cluster is down…   (reads may go on)
//!   ours, migrating       ▶ all keys here: serve; none: ASK; some: TRYAGAIN
//!   not ours, importing   ▶ after ASKING: serve, or TRYAGAIN when several different keys and one missing
//!   our primary's         ▶ after READONLY: serve what only reads
//!   not ours              ▶ MOVED
//! ```
//! A request whose slot is ours and stays so costs one look-up in the table of owners.

use super::error::CommandError;
use crate::bus::{Member, NodeKey};
use crate::cluster::{Endpoint, NodeRecord, Slot};

/// What a command is allowed and wants.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Access {
    /// It may change keys.
    pub(super) writes: bool,
    /// READONLY: a replica's answer is good enough.
    pub(super) readonly: bool,
    /// ASKING came before it, or it is RESTORE-ASKING.
    pub(super) asking: bool,
    /// It brings keys to another node: MIGRATE.
    pub(super) moves: bool,
    /// Its keys are shard channels, which belong to a slot but do not move with its keys; and
    /// whether those are served while the cluster is down.
    pub(super) channels: Option<bool>,
}

/// Finds out whether this node serves a command with these keys. `exists` is asked only while
/// the slot moves.
///
/// # Errors
/// The redirect or the refusal that the client gets.
#[inline]
pub(super) fn check<'k>(
    member: &Member,
    access: Access,
    keys: impl Iterator<Item = &'k [u8]> + Clone,
    exists: impl FnMut(&[u8]) -> bool,
) -> Result<(), CommandError> {
    let mut slots = keys.clone().map(Slot::of);
    let Some(slot) = slots.next() else { return Ok(()) };
    let view = member.view();
    // One key is the rule, and then nothing is hashed twice.
    if slots.any(|other| other != slot) {
        let served = view.owner(slot).is_some();
        return Err(if served { CommandError::CrossSlot } else { CommandError::SlotNotServed });
    }
    if view.owner(slot) == Some(NodeKey::MYSELF) && view.state_ok && !view.is_open(slot) {
        return Ok(());
    }
    check_uncommon(member, access, slot, keys, exists)
}

#[cold]
fn check_uncommon<'k>(
    member: &Member,
    access: Access,
    slot: Slot,
    mut keys: impl Iterator<Item = &'k [u8]> + Clone,
    mut exists: impl FnMut(&[u8]) -> bool,
) -> Result<(), CommandError> {
    let view = member.view();
    let Some(owner) = view.owner(slot) else { return Err(CommandError::SlotNotServed) };
    if !view.state_ok {
        match (access.channels, member.options().allow_reads_when_down, access.writes) {
            (Some(false), ..) | (None, false, _) => return Err(CommandError::ClusterDown),
            (None, true, true) => return Err(CommandError::ClusterDownForWrites),
            (Some(true), ..) | (None, true, false) => {}
        }
    }
    // What lies in a slot on its way must be free to go where a tool wants it, whoever owns the slot.
    if access.moves && view.is_open(slot) && view.myself().is_primary() {
        return Ok(());
    }
    // A transaction may name one key several times.
    let mut others = keys.clone();
    let first = others.next();
    let several = others.any(|key| Some(key) != first);
    if owner == NodeKey::MYSELF {
        let Some(target) = view.migrating_to(slot) else { return Ok(()) };
        if access.channels.is_some() {
            return Ok(());
        }
        let missing = keys.clone().filter(|key| !exists(key)).count();
        if missing == 0 {
            return Ok(());
        }
        if missing < keys.count() {
            return Err(CommandError::TryAgain);
        }
        let target = view.key(&target.id).expect("a node of this very view");
        return Err(CommandError::Ask(slot, endpoint(member, &view.record(target))));
    }
    if access.asking && view.importing_from(slot).is_some() {
        if several && keys.any(|key| !exists(key)) {
            return Err(CommandError::TryAgain);
        }
        return Ok(());
    }
    // A replica has what its primary owns, for those who said that they know what it is.
    let copied = view.myself().primary == Some(owner);
    if copied && ((access.readonly && !access.writes) || access.channels.is_some()) {
        return Ok(());
    }
    Err(CommandError::Moved(slot, endpoint(member, &view.record(owner))))
}

/// Where a redirect sends clients; an empty host means the one they are connected to.
fn endpoint(member: &Member, record: &NodeRecord) -> Endpoint {
    let host = record.preferred_endpoint(member.options().preferred_endpoint);
    Endpoint::new(host.unwrap_or_default(), record.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Change, Input, Options};
    use crate::clock::Now;
    use crate::cluster::{Durable, SlotSet};
    use std::time::Duration;

    const OTHER: &str = "2222222222222222222222222222222222222222";

    /// A node that owns all but slots 0 to 99, which are another's; its cluster is up.
    fn member(options: Options) -> Member {
        let text = format!(
            "1111111111111111111111111111111111111111 127.0.0.1:7000@17000 myself,master - 0 0 1 \
             connected 100-16383\n{OTHER} 127.0.0.1:7001@17001 master - 0 0 2 connected 0-99\n"
        );
        let durable = Durable::parse(&text).expect("two nodes");
        let now = Now::read();
        let mut member = Member::new(options, Some(&durable), [7; 32], now);
        member.handle_input(now.after(Duration::from_secs(3)), Input::Timeout);
        assert!(member.view().state_ok);
        member
    }

    fn key_of(slots: std::ops::Range<u16>, skip: usize) -> String {
        let fits = |key: &String| slots.contains(&Slot::of(key.as_bytes()).number());
        (0..).map(|n| format!("k{n}")).filter(fits).nth(skip).expect("keys have no end")
    }

    fn ask(member: &Member, access: Access, keys: &[&str], here: &[&str]) -> String {
        let bytes = keys.iter().map(|key| key.as_bytes());
        let exists = |key: &[u8]| here.iter().any(|known| known.as_bytes() == key);
        match check(member, access, bytes, exists) {
            Ok(()) => "serve".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_ours_is_served_and_the_rest_is_redirected() {
        let member = member(Options::new(7000));
        let (ours, theirs) = (key_of(100..16_384, 0), key_of(0..100, 0));
        let none = Access::default();
        assert_eq!(ask(&member, none, &[], &[]), "serve");
        assert_eq!(ask(&member, none, &[&ours], &[]), "serve");
        let slot = Slot::of(theirs.as_bytes());
        assert_eq!(ask(&member, none, &[&theirs], &[]), format!("MOVED {slot} 127.0.0.1:7001"));
        let asking = Access { asking: true, ..none };
        assert_eq!(ask(&member, asking, &[&theirs], &[]), format!("MOVED {slot} 127.0.0.1:7001"));
        assert_eq!(
            ask(&member, none, &[&ours, &theirs], &[]),
            "CROSSSLOT Keys in request don't hash to the same slot"
        );
    }

    #[test]
    fn a_slot_on_its_way_is_asked_for() {
        let mut member = member(Options::new(7000));
        let now = Now::read();
        let other = || OTHER.to_owned();
        let leaving = Slot::of(b"{leaving}");
        let arriving = key_of(0..100, 0);
        let arriving_slot = Slot::of(arriving.as_bytes());
        member.apply(now, Change::Migrating(leaving, other())).expect("ours");
        member.apply(now, Change::Importing(arriving_slot, other())).expect("theirs");
        let (none, asking) = (Access::default(), Access { asking: true, ..Access::default() });
        let (a, b) = ("{leaving}a", "{leaving}b");
        let ask_other = format!("ASK {leaving} 127.0.0.1:7001");
        let try_again = "TRYAGAIN Multiple keys request during rehashing of slot";
        assert_eq!(ask(&member, none, &[a], &[a]), "serve");
        assert_eq!(ask(&member, none, &[a], &[]), ask_other);
        assert_eq!(ask(&member, none, &[a, b], &[]), ask_other);
        assert_eq!(ask(&member, none, &[a, b], &[b]), try_again);
        assert_eq!(ask(&member, none, &[a, b], &[a, b]), "serve");
        let (c, d) = (format!("{{{arriving}}}c"), format!("{{{arriving}}}d"));
        let moved = format!("MOVED {arriving_slot} 127.0.0.1:7001");
        assert_eq!(ask(&member, none, &[&c], &[]), moved);
        assert_eq!(ask(&member, asking, &[&c], &[]), "serve");
        let migrate = Access { moves: true, writes: true, ..none };
        assert_eq!(ask(&member, migrate, &[a, b], &[b]), "serve");
        assert_eq!(ask(&member, migrate, &[&c, &d], &[&c]), "serve");
        let theirs = key_of(0..100, 1);
        assert!(ask(&member, migrate, &[&theirs], &[]).starts_with("MOVED "));
        assert_eq!(ask(&member, asking, &[&c, &d], &[&c]), try_again);
        assert_eq!(ask(&member, asking, &[&c, &c], &[]), "serve", "one key, twice");
        assert_eq!(ask(&member, asking, &[&c, &d], &[&c, &d]), "serve");
    }

    #[test]
    fn a_slot_without_an_owner_stops_all_unless_that_is_allowed() {
        let mut member = member(Options::new(7000));
        let now = Now::read().after(Duration::from_secs(4));
        let free = key_of(100..16_384, 0);
        let ours = key_of(100..16_384, 1);
        let slot: SlotSet = [Slot::of(free.as_bytes())].into_iter().collect();
        member.apply(now, Change::DelSlots(slot)).expect("ours");
        let (read, write) = (Access::default(), Access { writes: true, ..Access::default() });
        let not_served = "CLUSTERDOWN Hash slot not served";
        assert_eq!(ask(&member, read, &[&free], &[]), not_served);
        assert_eq!(ask(&member, read, &[&free, &ours], &[]), not_served, "as 7.0.15 answers");
        assert_eq!(ask(&member, read, &[&ours], &[]), "CLUSTERDOWN The cluster is down");
        let reads = Options { allow_reads_when_down: true, ..member.options().clone() };
        member.set_options(reads);
        assert_eq!(ask(&member, read, &[&ours], &[]), "serve");
        assert_eq!(
            ask(&member, write, &[&ours], &[]),
            "CLUSTERDOWN The cluster is down and only accepts read commands"
        );
        let partial = Options { require_full_coverage: false, ..member.options().clone() };
        member.set_options(partial);
        member.handle_input(now.after(Duration::from_secs(9)), Input::Timeout);
        assert_eq!(ask(&member, write, &[&ours], &[]), "serve");
        assert_eq!(ask(&member, read, &[&free], &[]), not_served);
    }
}
