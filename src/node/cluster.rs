//! The node as a member of its cluster: what the rest of the node asks of the bus, and what the
//! bus is told of the settings and the data.

use super::call::Ctx;
use super::core::Core;
use super::directives::Directives;
use super::error::CommandError;
use super::host::Host;
use super::output::Output;
use super::ownership::{self, Access};
use super::pubsub::Post;
use super::server::Server;
use super::writes_wait::Unsaved;
use crate::bus::{
    Applied, BUS_PORT_OFFSET, Broadcast, Change, DataAtStart, IpRange, LINK_BUFFER_MAX, Member,
    Options,
};
use crate::clock::Now;
use crate::cluster::describe::EndpointKind;
use crate::cluster::{Durable, OpenSlot, SlotSet};
use crate::command::{self, Flags, Spec};
use crate::resp::Request;
use crate::store::Expired;
use std::time::{Duration, Instant};

const DISABLED: CommandError = CommandError::line("ERR This instance has cluster support disabled");

impl Core {
    /// Makes the node a member of a cluster: with what its nodes.conf holds, or as a fresh one.
    /// `seed` must differ from node to node, as the node's name is drawn from it.
    pub fn join_cluster(&mut self, now: Now, saved: Option<&Durable>, seed: [u8; 32]) {
        let options = options(&self.server.directives, &*self.server.host);
        self.server.cluster = Some(Member::new(options, saved, seed, now));
        self.server.outputs.push_back(Output::Bus);
    }

    /// Keeps the node silent for a while if it has slots and not all of its data, and a replica may have
    /// it: to be called once what is on disk has been loaded. `whole`: nothing was lost between the last
    /// write and the disk.
    pub fn guard_restart(&mut self, now: Now, whole: bool) {
        let data = match whole {
            _ if self.keyspace.is_empty() => DataAtStart::Empty,
            true => DataAtStart::Whole,
            false => DataAtStart::MaybeOld,
        };
        if let Some(member) = &mut self.server.cluster {
            member.guard_restart(now, data);
        }
    }

    /// Changes that no snapshot of this node's own has.
    pub fn unsaved_changes(&self) -> u64 {
        self.server.unsaved_changes()
    }

    /// The port for other nodes, if this is a node of a cluster.
    pub fn bus_port(&self) -> Option<u16> {
        let directives = &self.server.directives;
        self.server.settings.cluster_enabled.then(|| bus_port(directives))
    }

    /// The node's part in its cluster, if it has one: for the shell of the bus.
    pub fn member(&mut self) -> Option<&mut Member> {
        self.server.tell_bus();
        self.server.cluster.as_mut()
    }

    /// Another node passes a message on to those who listen here.
    pub fn deliver(&mut self, broadcast: &Broadcast) {
        let mut post = Post { server: &mut self.server, running: None };
        match broadcast {
            Broadcast::Publish { channel, message } => {
                post.publish(channel, message);
            }
            Broadcast::PublishShard { channel, message } => {
                post.publish_to_shard(channel, message);
            }
            Broadcast::Module { module, .. } => {
                tracing::debug!(module, "a message for a module, of which there is none");
            }
        }
    }

    /// Holds back the writes of clients until then, or (none) no longer: a replica takes over, and
    /// must have all that was written.
    pub fn pause_writes(&mut self, until: Option<Instant>) {
        match until {
            Some(until) => {
                self.server.failover_pause = Some(until);
                // What has expired stays until the writes go on: its removal would be one.
                self.keyspace.set_on_expired(Expired::Hide);
            }
            None => self.server.end_failover_pause(),
        }
    }

    /// The writes of clients wait until the disk has this, or need not wait for it any more. Reads, and
    /// everything else, go on.
    pub fn hold_writes(&mut self, until_saved: Unsaved, hold: bool) {
        if hold {
            self.server.writes_wait.set(until_saved, true);
        } else if self.server.writes_wait.has(until_saved) {
            self.server.writes_need_not_wait(until_saved);
        }
    }

    /// Slots went to another node: their keys are not this node's any more.
    pub fn drop_slots(&mut self, slots: &SlotSet) {
        self.server.slots_changed = true;
        let dropped: usize = slots.iter().map(|slot| self.keyspace.drop_slot(slot)).sum();
        if dropped > 0 {
            tracing::warn!(%slots, keys = dropped, "dropped the keys of slots that were lost");
        }
    }
}

impl Server {
    /// The node's part in its cluster.
    ///
    /// # Errors
    /// It has none.
    pub(super) fn member(&mut self) -> Result<&mut Member, CommandError> {
        self.cluster.as_mut().ok_or(DISABLED)
    }

    /// Changes the cluster, and has it saved before the client is answered.
    pub(super) fn change_cluster(
        &mut self,
        now: Now,
        change: Change,
    ) -> Result<Applied, CommandError> {
        self.tell_bus();
        let applied = self.member()?.apply(now, change);
        self.slots_changed = true;
        self.outputs.push_back(Output::Bus);
        applied.map_err(CommandError::err)
    }

    /// The primary has told this replica what becomes of a slot; saved as every change is.
    pub(super) fn follow_slot_change(
        &mut self,
        now: Now,
        change: Change,
    ) -> Result<(), CommandError> {
        self.tell_bus();
        let followed = self.member()?.follow_slot_change(now, change);
        self.slots_changed = true;
        self.outputs.push_back(Output::Bus);
        followed.map_err(CommandError::err)
    }

    /// The primary's copy of all data has told this replica which slots are on their way.
    pub(super) fn follow_open_slots(&mut self, now: Now, open: &[OpenSlot]) {
        self.tell_bus();
        let Some(member) = &mut self.cluster else { return };
        member.follow_open_slots(now, open);
        self.slots_changed = true;
        self.outputs.push_back(Output::Bus);
    }

    /// Tells the bus of settings that have changed.
    pub(super) fn configure_bus(&mut self) {
        if let Some(member) = &mut self.cluster {
            member.set_options(options(&self.directives, &*self.host));
            self.outputs.push_back(Output::Bus);
        }
    }
}

impl Ctx<'_> {
    /// Whether this node serves the keys of a request.
    ///
    /// # Errors
    /// The redirect, or the refusal.
    #[inline]
    pub(super) fn check_ownership(
        &mut self,
        spec: &'static Spec,
        request: &Request<'_>,
    ) -> Result<(), CommandError> {
        if spec.name == "exec" {
            return self.check_transaction_ownership();
        }
        if spec.keys.is_empty() {
            return Ok(());
        }
        let Some(member) = &self.server.cluster else { return Ok(()) };
        // Keys that cannot be told: whoever runs the command refuses it with a text of its own.
        let Ok(keys) = command::keys(spec, request) else { return Ok(()) };
        let access = self.access_of(spec);
        let mut db = self.keyspace.db(0, self.now.unix_ms);
        let keys = keys.map(|key| request.arg(key.index));
        ownership::check(member, access, keys, |key| db.contains(key))
    }

    /// What a command that this client calls is allowed and wants.
    pub(super) fn access_of(&self, spec: &Spec) -> Access {
        let channels = self.server.settings.channels_when_down;
        Access {
            writes: self.flags_of(spec).contains(Flags::WRITE),
            readonly: self.session.readonly,
            asking: self.session.asking || spec.flags.contains(Flags::ASKING),
            moves: spec.name == "migrate",
            channels: spec.flags.contains(Flags::PUBSUB).then_some(channels),
        }
    }

    /// EXEC: all keys of a transaction are in one slot, and that is still served here.
    #[cold]
    fn check_transaction_ownership(&mut self) -> Result<(), CommandError> {
        let server = &mut *self.server;
        let (Some(member), Some(transaction)) = (&server.cluster, &self.session.transaction) else {
            return Ok(());
        };
        let requests = transaction.queue().iter();
        let requests: Vec<_> =
            requests.map(|queued| (queued.spec, queued.request.as_request())).collect();
        let mut all: Vec<&[u8]> = Vec::new();
        for (spec, request) in &requests {
            let keys = command::keys(spec, request).into_iter().flatten();
            all.extend(keys.map(|key| request.arg(key.index)));
        }
        let access = Access {
            writes: transaction.flags().contains(Flags::WRITE),
            readonly: self.session.readonly,
            asking: self.session.asking,
            moves: false,
            channels: None,
        };
        let mut db = self.keyspace.db(0, self.now.unix_ms);
        let checked = ownership::check(member, access, all.into_iter(), |key| db.contains(key));
        if checked.is_err() {
            // A transaction that belongs elsewhere ends here, as in Redis.
            self.end_transaction();
            self.unwatch();
        }
        checked
    }
}

/// From where nodes may connect, as the directive has it; nothing where it says nothing.
fn allowed(text: &str) -> Vec<IpRange> {
    let range = |range: &str| range.parse().expect("the directive holds ranges");
    text.split_ascii_whitespace().map(range).collect()
}

/// The port that nodes connect to.
fn bus_port(directives: &Directives) -> u16 {
    let port = |name: &str| u16::try_from(directives.number(name)).unwrap_or_default();
    match port("cluster-port") {
        0 => port("port").saturating_add(BUS_PORT_OFFSET),
        bus => bus,
    }
}

/// The member's settings, as the directives have them.
fn options(directives: &Directives, host: &dyn Host) -> Options {
    let port = |name: &str| u16::try_from(directives.number(name)).ok().filter(|port| *port != 0);
    let name =
        |name: &str| Some(directives.text(name)).filter(|n| !n.is_empty()).map(str::to_owned);
    // 0 stands for the default of what it is about.
    let millis = |name: &str| u64::try_from(directives.number(name)).ok().filter(|ms| *ms != 0);
    let millis = |name: &str| millis(name).map(Duration::from_millis);
    let listen = port("port").unwrap_or_default();
    let bus = bus_port(directives);
    let announced = directives.text("cluster-announce-ip");
    let announce_ip = announced.parse().ok();
    if announce_ip.is_none() && !announced.is_empty() {
        tracing::warn!(announced, "cluster-announce-ip is no address: it is not announced");
    }
    let allow_from = allowed(directives.text("cluster-allow-from"));
    let is_default = allow_from.is_empty();
    Options {
        port: port("cluster-announce-port").unwrap_or(listen),
        bus_port: port("cluster-announce-bus-port").unwrap_or(bus),
        tls_port: port("cluster-announce-tls-port").unwrap_or_default(),
        announce_ip,
        announce_hostname: name("cluster-announce-hostname"),
        node_timeout: millis("cluster-node-timeout").unwrap_or_default(),
        ping_interval: millis("cluster-ping-interval"),
        link_buffer_max: match directives.size("cluster-link-sendbuf-limit") {
            0 => LINK_BUFFER_MAX,
            bytes => bytes,
        },
        forget_for: Duration::from_secs(directives.number("cluster-blacklist-ttl") as u64),
        manual_failover_timeout: millis("cluster-manual-failover-timeout").unwrap_or_default(),
        require_full_coverage: directives.is("cluster-require-full-coverage"),
        allow_reads_when_down: directives.is("cluster-allow-reads-when-down"),
        preferred_endpoint: match directives.text("cluster-preferred-endpoint-type") {
            "hostname" => EndpointKind::Hostname,
            "unknown-endpoint" => EndpointKind::Unknown,
            _ => EndpointKind::Ip,
        },
        migration_barrier: directives.size("cluster-migration-barrier"),
        allow_replica_migration: directives.is("cluster-allow-replica-migration"),
        no_failover: directives.is("cluster-replica-no-failover"),
        replica_validity_factor: directives.number("cluster-replica-validity-factor") as u32,
        replication_ping_period: Duration::from_secs(
            directives.number("repl-ping-replica-period") as u64
        ),
        empty_restart_guard: directives.is("cluster-empty-restart-guard"),
        stale_restart_guard: directives.is("cluster-stale-restart-guard"),
        human_name: name("cluster-announce-human-nodename"),
        allow_from: if is_default { host.local_subnets() } else { allow_from },
        allow_this_host: is_default,
    }
}
