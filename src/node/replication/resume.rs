//! Going on after a restart from where the file of `dbfilename` was saved: a replica asks its primary
//! for what came since, and the replicas of a primary are given it.
//!
//! The file names the history and the place in it that the data is a state of. What the stream was
//! before that is gone, so a primary has nothing for those who are further behind; and as it may
//! have been ahead of its file, it goes on under another name, with the old one good up to there.

use super::primary::primary_session;
use crate::clock::Now;
use crate::node::core::Core;
use crate::node::persistence::LoadFigures;
use crate::node::propagate::removal;
use crate::node::server::Server;
use crate::replication::{Backlog, History, ReplicationId};

impl Server {
    /// Facts for a file of this node's own: whose state the data is. None if nobody could go on
    /// from there.
    pub(in crate::node) fn place_in_history(&self) -> Option<[(&'static str, Vec<u8>); 3]> {
        let replication = &self.replication;
        let counts = replication.upstream.as_ref().is_none_or(|upstream| upstream.has_data());
        // The middle of a transaction is no place in the stream.
        let whole = !self.propagation.has_open_batch();
        let counted = replication.backlog.is_some() && counts && whole;
        counted.then(|| replication.aux(self.propagation.stream_db()))
    }
}

impl Core {
    /// The file that is being loaded has said whose state it is.
    pub(in crate::node) fn resume_history(&mut self, now: Now, figures: &LoadFigures) {
        let id = figures.replication_id.as_ref().and_then(|id| ReplicationId::parse(id.as_bytes()));
        let (Some(id), Some(offset)) = (id, figures.replication_offset) else { return };
        let databases = self.keyspace.databases();
        let replication = &mut self.server.replication;
        replication.history = History::known(id, offset);
        let primary = match &mut replication.upstream {
            Some(upstream) => {
                let mut session = primary_session(now, upstream);
                let db = figures.stream_database.filter(|db| *db < databases);
                session.db = db.unwrap_or(0);
                upstream.resume(session);
                false
            }
            None => {
                let own = replication.new_id();
                replication.history.fork(own);
                replication.alone_since = Some(now.instant);
                true
            }
        };
        let size = self.server.settings.replication.backlog_bytes;
        self.server.replication.backlog = Some(Backlog::new(offset, size));
        self.server.propagation.set_stream(primary);
        self.server.listen(&mut self.keyspace);
        tracing::info!(
            "The data is history {id} up to offset {offset}: replication may go on there"
        );
    }

    /// Keys had expired, and were left out of what was loaded: replicas still have them.
    pub(in crate::node) fn tell_dropped(&mut self, dropped: Vec<(usize, Box<[u8]>)>) {
        if !self.server.propagation.is_wanted() {
            return;
        }
        for (db, key) in dropped {
            self.server.propagation.push(db, &[removal(false), &key]);
            self.server.close_batch();
        }
    }
}
