//! `fix`: finishes moves that stopped, closes slots that are open, covers slots that nobody has.

use super::failure::Failure;
use super::join;
use super::moves::{MoveOptions, auth_of, carry_out};
use super::nodes::Cluster;
use super::progress::Style;
use super::report::{Report, Silent};
use super::tool::{AGREE_WITHIN, Tool};
use crate::admin::check::{Checkup, check};
use crate::admin::fix::{Holder, Mending, SlotFacts, mend};
use crate::admin::plan::{Move, Plan, Step};
use crate::admin::slot_move::{Route, bytes_of, keys_in_slot, migrate, set_slot};
use crate::cluster::{Endpoint, NodeId, Slot, SlotSet};
use crate::resp::Reply;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Keys that go to a slot's owner at once.
const GATHER_KEYS: usize = 100;

/// `fix`.
pub(super) async fn fix(tool: &mut Tool) -> Result<(), Failure> {
    let options = MoveOptions::of(&tool.invocation)?;
    let mut cluster = tool.load_settled(0).await?;
    let checkup = tool.check(&cluster);
    if !checkup.uncovered().is_empty() {
        tool.say(">>> Fixing slots coverage...");
        tool.say(format!("List of not covered slots: {}", checkup.uncovered()));
        may_be_covered(tool, &cluster, &checkup.uncovered())?;
    }
    let mendings = plan(&mut cluster, &checkup).await?;
    for mending in &mendings {
        tool.say(format!(">>> Fixing open slot {}", mending.slot));
        tool.say(format!("    {mending}"));
    }
    let plan = Plan { steps: mendings.iter().cloned().map(Step::Settle).collect() };
    if tool.only_shows(&plan) {
        return Ok(());
    }
    if !checkup.uncovered().is_empty()
        && !tool
            .confirm("Fix these slots by covering with a random node? (type 'yes' to accept): ")?
    {
        return Err(Failure::new("*** Aborting..."));
    }
    let replace = tool.invocation.flag("replace");
    carry_mendings_out(&mut cluster, &mendings, &options, replace, tool.report()).await?;
    let agreed = join::until(&mut cluster, AGREE_WITHIN, &mut Silent, join::all_agree).await;
    if !mendings.is_empty() {
        tool.check(&cluster);
    }
    agreed?;
    if check(&cluster.snapshot).is_well() { Ok(()) } else { Err(Failure::silent()) }
}

/// Closes what another run of the tool left open; for callers that have made sure that every slot
/// has one owner.
pub(super) async fn close_open_slots(
    cluster: &mut Cluster,
    options: &MoveOptions,
    report: &mut dyn Report,
) -> Result<(), Failure> {
    let checkup = check(&cluster.snapshot);
    let mendings = plan(cluster, &checkup).await?;
    carry_mendings_out(cluster, &mendings, options, false, report).await?;
    join::until(cluster, AGREE_WITHIN, &mut Silent, join::all_agree).await
}

async fn carry_mendings_out(
    cluster: &mut Cluster,
    mendings: &[Mending],
    options: &MoveOptions,
    replace: bool,
    report: &mut dyn Report,
) -> Result<(), Failure> {
    let moves: Vec<Move> = mendings
        .iter()
        .filter_map(|m| m.finish.map(|(from, to)| Move { slot: m.slot, from, to }))
        .collect();
    // Owners first: nodes agree on nothing while a slot has none or two.
    let mut fixer = Fixer { cluster, options, replace };
    for mending in mendings {
        fixer.settle(mending).await?;
    }
    fixer.raise_epochs(mendings).await?;
    if !moves.is_empty() {
        carry_out(cluster, &moves, options, Style::Slots, report).await?;
    }
    Ok(())
}

/// A slot of a primary that does not answer has an owner, and maybe data: to give it away is the
/// operator's decision.
fn may_be_covered(tool: &Tool, cluster: &Cluster, uncovered: &SlotSet) -> Result<(), Failure> {
    if tool.invocation.flag("fix-with-unreachable-masters") {
        return Ok(());
    }
    for line in &cluster.snapshot.unreachable {
        let lost: SlotSet = line.slots.iter().filter(|slot| uncovered.contains(*slot)).collect();
        if !lost.is_empty() {
            let name =
                line.endpoint.as_ref().map_or_else(|| line.id.to_string(), Endpoint::to_string);
            return Err(Failure::error(format!(
                "The slots {lost} belong to {name}, which does not answer: its keys are lost if \
                 others take them."
            ))
            .fix(format!(
                "start {name} again, or: keyway cluster fix --fix-with-unreachable-masters {}",
                cluster.entry
            )));
        }
    }
    Ok(())
}

/// Asks every primary for what it has of each slot that is not well, and decides.
async fn plan(cluster: &mut Cluster, checkup: &Checkup) -> Result<Vec<Mending>, Failure> {
    let mut slots: BTreeSet<Slot> = checkup.open_slots();
    slots.extend(checkup.contested());
    slots.extend(checkup.uncovered().iter());
    let slots: Vec<Slot> = slots.into_iter().collect();
    let mut facts: Vec<SlotFacts> = vec![SlotFacts::default(); slots.len()];
    let ids: Vec<NodeId> = cluster.snapshot.primaries().map(|node| node.id()).collect();
    let count =
        |slot: &Slot| vec!["CLUSTER".to_owned(), "COUNTKEYSINSLOT".to_owned(), slot.to_string()];
    let questions: Vec<Vec<String>> = slots.iter().map(count).collect();
    for id in ids {
        let replies = cluster.node(id).ask_all(&questions).await?;
        let node = cluster.snapshot.node(id).expect("it is of the snapshot");
        for ((slot, reply), facts) in slots.iter().zip(replies).zip(&mut facts) {
            let keys = reply.as_integer().and_then(|keys| u64::try_from(keys).ok());
            let holder = Holder {
                claims: node.own.slots.contains(*slot),
                migrating: node.own.migrating.get(slot).copied(),
                importing: node.own.importing.get(slot).copied(),
                keys: keys.ok_or_else(|| Failure::at(&node.endpoint, "no count of keys"))?,
                config_epoch: node.own.config_epoch,
                slots: node.own.slots.len(),
            };
            facts.holders.insert(id, holder);
        }
    }
    let mut mendings = Vec::new();
    for (slot, mut facts) in slots.into_iter().zip(facts) {
        // Slots that were given out a moment ago count: the next ones go to others.
        for mending in &mendings {
            let Mending { owner, assign: true, .. } = mending else { continue };
            if let Some(holder) = facts.holders.get_mut(owner) {
                holder.slots += 1;
            }
        }
        let mending = mend(slot, &facts)
            .ok_or_else(|| Failure::error(format!("No primary is left to take slot {slot}.")))?;
        if !mending.is_idle() {
            mendings.push(mending);
        }
    }
    Ok(mendings)
}

/// Carries mendings out, all but the moves that are to be finished.
struct Fixer<'a> {
    cluster: &'a mut Cluster,
    options: &'a MoveOptions,
    replace: bool,
}

impl Fixer<'_> {
    async fn settle(&mut self, mending: &Mending) -> Result<(), Failure> {
        let Mending { slot, owner, .. } = mending;
        let number = slot.to_string();
        // Before anybody's epoch is raised: a node that still claims the slot when it hears of a
        // newer owner deletes the keys that it has of it.
        for id in &mending.renounce {
            self.cluster.node(*id).call(&["CLUSTER", "DELSLOTS", &number]).await?;
        }
        let claims =
            self.cluster.snapshot.node(*owner).is_some_and(|n| n.own.slots.contains(*slot));
        if mending.assign && !claims {
            let node = self.cluster.node(*owner);
            // In its own eyes the slot may still be another's, or open.
            node.ask(&["CLUSTER", "DELSLOTS", &number]).await?;
            node.ask(&set_slot(*slot, &["STABLE"])).await?;
            node.call(&["CLUSTER", "ADDSLOTS", &number]).await?;
        }
        // An owner that is giving the slot away takes no keys of it.
        for id in &mending.close {
            self.cluster.node(*id).call(&set_slot(*slot, &["STABLE"])).await?;
        }
        for id in &mending.gather {
            self.gather(*slot, *id, *owner).await?;
        }
        Ok(())
    }

    /// An owner that was just given a slot makes its claim the newest one.
    async fn raise_epochs(&mut self, mendings: &[Mending]) -> Result<(), Failure> {
        let owners: BTreeSet<NodeId> =
            mendings.iter().filter(|m| m.assign).map(|m| m.owner).collect();
        for owner in owners {
            self.cluster.node(owner).call(&["CLUSTER", "BUMPEPOCH"]).await?;
        }
        Ok(())
    }

    /// Brings a slot's keys from a node that does not own it to its owner.
    async fn gather(&mut self, slot: Slot, from: NodeId, owner: NodeId) -> Result<(), Failure> {
        let route = Route {
            host: self.cluster.node(owner).address(),
            port: self.cluster.node(owner).endpoint.port,
            timeout_ms: self.options.timeout_ms,
            auth: auth_of(&self.cluster.options().credentials),
        };
        // MIGRATE works on a slot that is not one's own only while it is open.
        self.cluster.node(from).call(&set_slot(slot, &["IMPORTING", owner.as_str()])).await?;
        loop {
            let list = keys_in_slot(slot, self.options.pipeline.unwrap_or(GATHER_KEYS));
            let keys = bytes_of(&self.cluster.node(from).call(&list).await?);
            if keys.is_empty() {
                break;
            }
            let mut replace = self.replace;
            if !replace {
                let same = self.equal_copies(&keys, from, owner).await?;
                replace = !same.is_empty();
                if replace {
                    self.cluster.node(from).call(&migrate(&route, &same, true)).await?;
                    continue;
                }
            }
            let node = self.cluster.node(from);
            node.call(&migrate(&route, &keys, replace)).await?;
        }
        self.cluster.node(from).call(&set_slot(slot, &["STABLE"])).await?;
        Ok(())
    }

    /// Keys that both nodes have with the same value; a key with two values is refused, because
    /// only the operator can know which is right.
    async fn equal_copies(
        &mut self,
        keys: &[Bytes],
        from: NodeId,
        owner: NodeId,
    ) -> Result<Vec<Bytes>, Failure> {
        let mut here = Vec::new();
        for key in keys {
            here.push(vec![Bytes::from_static(b"ASKING")]);
            here.push(vec![Bytes::from_static(b"DUMP"), key.clone()]);
        }
        let here = self.cluster.node(from).ask_all(&here).await?;
        let there: Vec<Vec<Bytes>> =
            keys.iter().map(|key| vec![Bytes::from_static(b"DUMP"), key.clone()]).collect();
        let there = self.cluster.node(owner).ask_all(&there).await?;
        let mut same = Vec::new();
        let here: BTreeMap<usize, &Reply> = here.iter().skip(1).step_by(2).enumerate().collect();
        for (n, (key, copy)) in keys.iter().zip(&there).enumerate() {
            match (copy.as_bytes(), here[&n].as_bytes()) {
                (None, _) => {}
                (Some(copy), Some(original)) if copy == original => same.push(key.clone()),
                _ => {
                    let (from, owner) = (
                        &self.cluster.node(from).endpoint.clone(),
                        &self.cluster.node(owner).endpoint,
                    );
                    return Err(Failure::error(format!(
                        "The key {} has one value on {from} and another on {owner}.",
                        key.escape_ascii()
                    ))
                    .fix(format!(
                        "delete one of them, or keep that of {from}: keyway cluster fix --replace {}",
                        self.cluster.entry
                    )));
                }
            }
        }
        Ok(same)
    }
}
