//! What is true of a world: whether its hosts agree, and have the data that they should.

use crate::world::{Host, World};
use keyway::cluster::{Epoch, NodeFlags, NodeId, SlotSet};
use std::net::IpAddr;

/// What a host believes of a node: its name, address, flags and epoch, and its slots.
type Belief<'a> = ((NodeId, Option<IpAddr>, NodeFlags, Epoch), &'a SlotSet);

impl World {
    /// Every write of which a client was told that a replica has it is there, at the primary of its
    /// shard.
    pub(crate) fn assert_confirmed_writes_are_there(&self) {
        let primaries: Vec<&Host> =
            self.alive().filter(|host| host.member.view().myself().is_voter()).collect();
        for (shard, what) in self.checkers.confirmed() {
            let of_shard = |host: &&&Host| host.member.view().myself().shard_id == shard;
            let host = primaries.iter().find(of_shard).unwrap_or_else(|| {
                panic!("no primary of shard {shard:?} of write {what}\n{}", self.show())
            });
            assert!(host.data.log().contains(&what), "write {what} is lost");
        }
    }

    /// What one host believes of everyone, in order of ids.
    fn belief(host: &Host) -> Vec<Belief<'_>> {
        // The others are between two nodes, or about what a node can do.
        let shown = [
            NodeFlags::PFAIL,
            NodeFlags::FAIL,
            NodeFlags::HANDSHAKE,
            NodeFlags::NOADDR,
            NodeFlags::NOFAILOVER,
        ]
        .into_iter()
        .fold(NodeFlags::PRIMARY.with(NodeFlags::REPLICA), NodeFlags::with);
        let view = host.member.view();
        let mut all: Vec<Belief<'_>> = view
            .nodes()
            .map(|(_, node)| {
                let claims = node.primary.map_or(node, |primary| view.node(primary));
                let flags = node.flags.only(shown);
                ((node.id, node.address.ip, flags, claims.config_epoch), node.slots())
            })
            .collect();
        all.sort_unstable_by_key(|(known, _)| known.0);
        all
    }

    /// Whether all that are alive believe the same.
    pub(crate) fn agrees(&self) -> bool {
        let mut beliefs = self.alive().map(Self::belief);
        let first = beliefs.next().expect("somebody is alive");
        let all_alike = beliefs.all(|belief| belief == first);
        all_alike
            && first.len() >= self.alive().count()
            && self.replicas_are_of_their_primarys_shard()
    }

    /// Whether every replica that is alive has the shard id that it knows its primary by.
    fn replicas_are_of_their_primarys_shard(&self) -> bool {
        let views = self.alive().map(|host| host.member.view());
        let mut replicas = views.filter_map(|view| Some((view, view.myself().primary?)));
        replicas.all(|(view, primary)| view.node(primary).shard_id == view.myself().shard_id)
    }

    pub(crate) fn agrees_and_is_ok(&self) -> bool {
        self.alive().all(|host| host.member.view().state_ok) && self.agrees()
    }

    /// How many that are alive are primaries with slots.
    pub(crate) fn live_primaries(&self) -> usize {
        self.alive().filter(|host| host.member.view().myself().is_voter()).count()
    }

    /// Whether every replica has what its primary has, but for what was written this very moment.
    pub(crate) fn replicas_have_their_primarys_data(&self) -> bool {
        self.alive().filter(|host| host.member.view().myself().is_replica()).all(|host| {
            let data = &host.data;
            let Some(source) = data.source() else { return false };
            let source = &self.hosts[source];
            data.is_linked()
                && source.member.view().myself().is_primary()
                && source.data.log().starts_with(data.log())
        })
    }

    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        for host in self.alive() {
            let state = if host.member.view().state_ok { "ok" } else { "fail" };
            let myself = host.member.view().myself();
            text += &format!("{} of shard {:?} {state}\n", myself.id, myself.shard_id);
            for ((id, ip, flags, epoch), slots) in Self::belief(host) {
                text += &format!("    {id} {ip:?} {flags} {epoch} {slots}\n");
            }
        }
        text
    }
}
