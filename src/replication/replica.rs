//! A primary's books on one of its replicas: what it said of itself, how far it has come.

use super::id::Offset;
use crate::clock::Now;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What a connection has said with REPLCONF before it asked to be a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// The port on which it listens; 0 if it has not said.
    pub port: u16,
    /// The address it wants to be known by, if it is not that of its connection.
    pub ip: Option<String>,
    /// It takes a snapshot whose length is not known beforehand.
    pub eof: bool,
    /// It takes `+CONTINUE` with a name of the history.
    pub psync2: bool,
    /// Its version, as three bytes: 7.2.4 is `0x070204`. 0 if it has not said.
    pub version: u32,
    /// It wants the snapshot alone.
    pub snapshot_only: bool,
}

impl Introduction {
    /// A version as REPLCONF tells it: three numbers with points between them.
    pub fn parse_version(text: &[u8]) -> Option<u32> {
        let text = std::str::from_utf8(text).ok()?;
        let mut version = 0;
        let mut parts = text.split('.');
        for _ in 0..3 {
            let part: u8 = parts.next()?.parse().ok()?;
            version = version << 8 | u32::from(part);
        }
        parts.next().is_none().then_some(version)
    }
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a snapshot to begin.
    WaitsForSnapshot,
    /// A snapshot is being made for it, or sent to it. What has changed since is kept for it.
    Snapshot,
    /// It has been sent the snapshot, and is to say that it has loaded it.
    Loads,
    /// It is sent the stream.
    Online,
}

/// One replica.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The other end of its connection.
    pub peer: SocketAddr,
    /// What it said of itself.
    pub introduction: Introduction,
    /// How far it has come.
    pub stage: Stage,
    /// What of the stream it has been sent.
    pub sent: Offset,
    /// What of the stream it has run, as it last said.
    pub acked: Offset,
    /// What of the stream it has on disk, as it last said; none if it never did.
    pub on_disk: Option<Offset>,
    /// When it last said anything about that.
    pub acked_at: Instant,
    /// Since when more waits for it than the soft limit allows.
    over_limit_since: Option<Instant>,
}

/// How much of the stream may wait for a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamLimit {
    /// It is cut off when so many bytes wait; never if zero.
    pub hard: u64,
    /// It is cut off when so many bytes have waited for `soft_for`; never if zero.
    pub soft: u64,
    /// See `soft`.
    pub soft_for: Duration,
}

impl Replica {
    /// A replica that goes on from `sent`, or will be sent a snapshot.
    pub fn new(now: Now, peer: SocketAddr, introduction: Introduction, stage: Stage) -> Self {
        Self {
            peer,
            introduction,
            stage,
            sent: 0,
            acked: 0,
            on_disk: None,
            acked_at: now.instant,
            over_limit_since: None,
        }
    }

    /// It has said how far it is. True if that brings it online.
    pub fn acknowledge(&mut self, now: Now, offset: Offset, on_disk: Option<Offset>) -> bool {
        self.acked = self.acked.max(offset);
        if let Some(on_disk) = on_disk {
            self.on_disk = Some(self.on_disk.map_or(on_disk, |known| known.max(on_disk)));
        }
        self.acked_at = now.instant;
        let begins = self.stage == Stage::Loads;
        if begins {
            self.stage = Stage::Online;
        }
        begins
    }

    /// Seconds since it last said how far it is.
    pub fn lag(&self, now: Now) -> u64 {
        now.instant.saturating_duration_since(self.acked_at).as_secs()
    }

    /// Whether it is online and has been silent for longer than `timeout`.
    pub fn is_silent(&self, now: Now, timeout: Duration) -> bool {
        let silent = now.instant.saturating_duration_since(self.acked_at) > timeout;
        self.stage == Stage::Online && silent
    }

    /// Whether it is to be cut off: with the stream's end here, too much waits for it.
    /// Without the time, only the hard limit counts.
    pub fn is_over(&mut self, now: Option<Now>, end: Offset, limit: StreamLimit) -> bool {
        let waiting = end.saturating_sub(self.sent);
        if limit.hard > 0 && waiting >= limit.hard {
            return true;
        }
        if limit.soft == 0 || waiting < limit.soft {
            self.over_limit_since = None;
            return false;
        }
        let Some(now) = now else { return false };
        let since = *self.over_limit_since.get_or_insert(now.instant);
        now.instant.saturating_duration_since(since) > limit.soft_for
    }

    /// The address it is known by.
    pub fn ip(&self) -> String {
        let announced = self.introduction.ip.clone();
        announced.unwrap_or_else(|| self.peer.ip().to_canonical().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(now: Now) -> Replica {
        let peer = "127.0.0.1:50000".parse().expect("an address");
        Replica::new(now, peer, Introduction::default(), Stage::Loads)
    }

    #[test]
    fn versions_are_three_numbers() {
        for (text, expected) in [
            ("7.2.4", Some(0x07_02_04)),
            ("9.1.2", Some(0x09_01_02)),
            ("8.0", None),
            ("8.0.1.2", None),
            ("300.0.0", None),
            ("x", None),
        ] {
            assert_eq!(Introduction::parse_version(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_first_acknowledgement_brings_a_replica_online_and_none_takes_back_another() {
        let now = Now::read();
        let mut replica = replica(now);
        assert!(replica.acknowledge(now, 10, None));
        assert!(!replica.acknowledge(now, 5, Some(4)));
        assert_eq!((replica.acked, replica.on_disk), (10, Some(4)));
        let later = now.after(Duration::from_secs(61));
        assert_eq!(replica.lag(later), 61);
        assert!(replica.is_silent(later, Duration::from_secs(60)));
    }

    #[test]
    fn a_replica_that_does_not_read_is_cut_off_at_the_limit_or_after_a_while_above_the_soft_one() {
        let now = Now::read();
        let limit = StreamLimit { hard: 100, soft: 50, soft_for: Duration::from_secs(10) };
        let mut replica = replica(now);
        replica.sent = 1000;
        assert!(!replica.is_over(Some(now), 1049, limit));
        assert!(replica.is_over(Some(now), 1100, limit));
        assert!(!replica.is_over(Some(now), 1060, limit));
        let later = now.after(Duration::from_secs(11));
        assert!(replica.is_over(Some(later), 1060, limit));
        assert!(!replica.is_over(Some(later), 1010, limit), "it has caught up");
        assert!(!replica.is_over(Some(later), 1060, limit), "and has its time again");
        assert!(!replica.is_over(Some(later), u64::MAX, StreamLimit::default()), "no limit");
    }
}
