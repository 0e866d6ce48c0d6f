//! Connections of replicas to their primaries: TCP's, as the bus's are, in the same world.

use crate::data::{Conn, Task};
use crate::world::{Event, STALL, World};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// All that are open.
#[derive(Default)]
pub(crate) struct Streams {
    last: Conn,
    /// Replica and primary.
    ends: BTreeMap<Conn, (usize, usize)>,
    /// What is under way to a host, in order.
    under_way: BTreeMap<(Conn, usize), UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    pieces: VecDeque<Vec<u8>>,
    /// When the last of them arrives: the next does not overtake it.
    latest: Option<Instant>,
}

impl Streams {
    fn other_end(&self, conn: Conn, host: usize) -> Option<usize> {
        let (replica, primary) = *self.ends.get(&conn)?;
        Some(if replica == host { primary } else { replica })
    }
}

impl World {
    /// Connects a replica that has no connection, and says what is due.
    pub(crate) fn look_after_stream(&mut self, host: usize) {
        let wanted = self.hosts[host].data.wants_connection();
        if let Some(primary) = wanted
            && self.is_alive(primary)
            && !self.hosts[primary].member.is_guarded()
            && !self.is_cut(host, primary)
            && !self.is_cut(primary, host)
        {
            self.streams.last += 1;
            let conn = self.streams.last;
            self.streams.ends.insert(conn, (host, primary));
            self.hosts[host].data.connected(conn);
        }
        let now = self.now;
        self.hosts[host].data.tick(now);
        self.carry_out(host);
    }

    /// Does what a host's replication wants done.
    pub(crate) fn carry_out(&mut self, host: usize) {
        for task in std::mem::take(&mut self.hosts[host].data.tasks) {
            match task {
                Task::Send(conn, bytes) => self.send_on_stream(host, conn, bytes),
                Task::Close(conn) => self.end_stream(host, conn),
                Task::Confirmed(what) => self.checkers.confirm(what),
            }
        }
    }

    fn send_on_stream(&mut self, from: usize, conn: Conn, bytes: Vec<u8>) {
        let Some(to) = self.streams.other_end(conn, from) else { return };
        let slow = self.slow.get(&(from, to)).copied().unwrap_or_default();
        let arrives = self.now.instant + self.delay() + slow;
        let under_way = self.streams.under_way.entry((conn, to)).or_default();
        let arrives = under_way.latest.map_or(arrives, |latest| latest.max(arrives));
        under_way.latest = Some(arrives);
        under_way.pieces.push_back(bytes);
        let after = arrives.saturating_duration_since(self.now.instant);
        self.schedule(to, after, Event::Stream(conn));
    }

    /// The next piece has come, unless the network is cut.
    pub(crate) fn stream_arrived(&mut self, host: usize, conn: Conn) {
        let Some(from) = self.streams.other_end(conn, host) else { return };
        if self.is_cut(from, host) {
            self.schedule(host, STALL, Event::Stream(conn));
            return;
        }
        let under_way = self.streams.under_way.get_mut(&(conn, host));
        let Some(bytes) = under_way.and_then(|under_way| under_way.pieces.pop_front()) else {
            return;
        };
        if self.hosts[host].member.is_guarded() {
            // It owns slots and lacks their data: nobody is to copy that.
            self.end_stream(host, conn);
            return;
        }
        let now = self.now;
        self.hosts[host].data.received(now, conn, &bytes);
        let (replica, primary) = self.streams.ends[&conn];
        if replica == host && self.hosts[primary].data.source() != Some(replica) {
            self.hosts[replica].data.assert_begins(&self.hosts[primary].data);
        }
        self.carry_out(host);
    }

    /// One end hangs up; the other learns of it a little later.
    fn end_stream(&mut self, host: usize, conn: Conn) {
        let Some(other) = self.streams.other_end(conn, host) else { return };
        self.streams.ends.remove(&conn);
        for end in [host, other] {
            self.streams.under_way.remove(&(conn, end));
        }
        self.hosts[host].data.closed(conn);
        let delay = self.delay();
        self.schedule(other, delay, Event::StreamClosed(conn));
    }

    pub(crate) fn stream_closed(&mut self, host: usize, conn: Conn) {
        self.hosts[host].data.closed(conn);
    }

    /// A host has crashed.
    pub(crate) fn end_streams_of(&mut self, host: usize) {
        let ends = self.streams.ends.iter();
        let of_host = ends.filter(|(_, (a, b))| *a == host || *b == host).map(|(conn, _)| *conn);
        for conn in of_host.collect::<Vec<Conn>>() {
            self.end_stream(host, conn);
        }
    }
}
