//! A copy of all data from the primary: where it goes while it comes, and how it takes the place of
//! what the node had.

use super::load::Load;
use super::primary::primary_session;
use super::upstream::{DisklessLoad, LinkTask, Phase, Transfer};
use crate::clock::Now;
use crate::node::core::Core;
use crate::node::snapshots::SnapshotFor;
use crate::replication::{Backlog, Framing, History};

impl Core {
    pub(super) fn begin_transfer(&mut self, now: Now, link: u64, framing: Framing) {
        let empty = self.keyspace.is_empty();
        let spooled = match self.server.settings.replication.diskless_load {
            DisklessLoad::Disabled => true,
            DisklessLoad::OnEmptyDb => !empty,
            DisklessLoad::Swap => false,
        };
        let Some(upstream) = self.upstream(link) else { return };
        let (total, what) = match framing {
            Framing::Sized(total) => (Some(total), format!("receiving {total} bytes from master")),
            Framing::Marked => (None, "receiving streamed RDB from master with EOF".to_owned()),
        };
        let to = if spooled { "to disk" } else { "to parser" };
        tracing::info!("MASTER <-> REPLICA sync: {what} {to}");
        upstream.transfer = Some(Transfer { total, read: 0, spooled });
        if !spooled {
            self.begin_load(now, link);
        }
    }

    /// The old data goes, and the new comes in its place. Until all of it is there, there is none; but
    /// with `repl-diskless-load swapdb`, an older state of the very same history serves until then.
    fn begin_load(&mut self, now: Now, link: u64) {
        self.server.suspend_log();
        let swaps = self.server.settings.replication.diskless_load == DisklessLoad::Swap;
        let history = self.server.replication.history.id();
        let Some(upstream) = self.upstream(link) else { return };
        let same = upstream.announced.is_some_and(|(id, _)| id == history);
        if swaps && same && upstream.has_data {
            tracing::info!("MASTER <-> REPLICA sync: Loading DB in memory");
            let load = Load::beside(&self.keyspace);
            if let Some(upstream) = self.upstream(link) {
                upstream.load = Some(load);
            }
            return;
        }
        self.leave_old_data(now);
        // What is being saved would be half of the old data and half of the new.
        self.server.give_up_snapshot(&mut self.keyspace, SnapshotFor::File);
        tracing::info!("MASTER <-> REPLICA sync: Flushing old data");
        let before = swaps.then(|| self.keyspace.set_aside()).flatten();
        for db in 0..self.keyspace.databases() {
            self.keyspace.flush(db);
        }
        let load = Load::new(&self.keyspace, before);
        tracing::info!("MASTER <-> REPLICA sync: Loading DB in memory");
        if let Some(upstream) = self.upstream(link) {
            upstream.has_data = false;
            upstream.load = Some(load);
        }
    }

    /// Who follows this node, and who watches keys, hears that its data is no more.
    fn leave_old_data(&mut self, now: Now) {
        self.server.close_followers();
        self.server.replication.own_keys.clear();
        let (watched, keyspace) = (&mut self.server.watched, &mut self.keyspace);
        watched.touch_where(None, |db, key| keyspace.db(db, now.unix_ms).contains(key));
    }

    pub(super) fn take_snapshot<'a>(
        &mut self,
        now: Now,
        link: u64,
        bytes: &'a [u8],
    ) -> LinkTask<'a> {
        let Some(upstream) = self.upstream(link) else { return LinkTask::Close };
        let Some(transfer) = &mut upstream.transfer else { return LinkTask::Close };
        transfer.read += bytes.len() as u64;
        if transfer.spooled {
            return LinkTask::Spool(bytes);
        }
        self.link_load(now, link, bytes)
    }

    /// The spool file is to be loaded: its next bytes.
    pub fn link_load(&mut self, now: Now, link: u64, bytes: &[u8]) -> LinkTask<'static> {
        let Some(upstream) = self.upstream(link) else { return LinkTask::Close };
        if upstream.load.is_none() {
            self.begin_load(now, link);
        }
        let Some(upstream) = self.server.replication.upstream.as_mut() else {
            return LinkTask::Close;
        };
        upstream.heard = now.instant;
        let Some(load) = &mut upstream.load else { return LinkTask::Close };
        let before = load.keys();
        let fed = load.feed(&mut self.keyspace, now, bytes);
        self.server.persistence.load_pace.loaded(load.keys() - before);
        match fed {
            Ok(()) => LinkTask::Yield,
            Err(error) => {
                tracing::error!("Failed trying to load the MASTER synchronization DB: {error}");
                LinkTask::Close
            }
        }
    }

    /// There is no more of it: the stream begins, if it was whole.
    pub fn link_load_ends(&mut self, now: Now, link: u64) -> LinkTask<'static> {
        let Some(upstream) = self.upstream(link) else { return LinkTask::Close };
        let whole = upstream.load.as_ref().is_some_and(Load::is_whole);
        if !whole {
            tracing::error!("Failed trying to load the MASTER synchronization DB: it is cut short");
            return LinkTask::Close;
        }
        let mut load = upstream.load.take().expect("it is whole");
        let (keys, stream_db, open_slots) = (load.keys(), load.stream_db(), load.open_slots());
        if load.is_beside() {
            tracing::info!("MASTER <-> REPLICA sync: Swapping active DB with loaded DB");
            self.leave_old_data(now);
        }
        load.complete(&mut self.keyspace);
        let databases = self.keyspace.databases();
        let Some(upstream) = self.upstream(link) else { return LinkTask::Close };
        upstream.transfer = None;
        upstream.phase = Phase::Online;
        upstream.down_since = None;
        // Without a name there is nothing to go on from after this link.
        upstream.has_data = upstream.announced.is_some();
        let announced = upstream.announced.take();
        if let Some(machine) = &mut upstream.machine {
            machine.loaded();
        }
        // The stream says again which database it is in, or the snapshot has.
        let mut session = primary_session(now, upstream);
        session.db = stream_db.filter(|db| *db < databases).unwrap_or(0);
        upstream.session = Some(session);
        // The primary may be waiting to hear that this is done.
        upstream.ack_asked = Some(announced.map_or(0, |(_, offset)| offset));
        let replication = &mut self.server.replication;
        replication.history = match announced {
            Some((id, offset)) => History::known(id, offset),
            None => History::new(replication.new_id()),
        };
        let size = self.server.settings.replication.backlog_bytes;
        replication.backlog = Some(Backlog::new(replication.history.offset(), size));
        tracing::info!("MASTER <-> REPLICA sync: Finished with success ({keys} keys)");
        self.server.resume_log();
        if let Some(open_slots) = open_slots {
            self.server.follow_open_slots(now, &open_slots);
        }
        LinkTask::Yield
    }
}
