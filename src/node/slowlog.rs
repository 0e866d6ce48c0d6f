//! The commands that took long: SLOWLOG's entries.

use crate::command::{Spec, shortened};
use crate::resp::Request;
use std::collections::VecDeque;
use std::time::Duration;

/// The latest slow commands.
#[derive(Debug, Default)]
pub(super) struct SlowLog {
    entries: VecDeque<SlowCall>,
    next_id: u64,
}

/// One slow command.
#[derive(Debug)]
pub(super) struct SlowCall {
    /// Its number.
    pub(super) id: u64,
    /// When it ended, in seconds since 1970.
    pub(super) unix_seconds: u64,
    /// How long it took.
    pub(super) duration: Duration,
    /// Its arguments, shortened.
    pub(super) args: Vec<Vec<u8>>,
    /// The client's address.
    pub(super) peer: String,
    /// The client's name.
    pub(super) name: Box<str>,
}

impl SlowLog {
    /// Adds an entry; the oldest goes when there are `entries_max`.
    pub(super) fn push(
        &mut self,
        (spec, request): (&Spec, &Request<'_>),
        unix_seconds: u64,
        duration: Duration,
        client: (String, Box<str>),
        entries_max: usize,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        let (peer, name) = client;
        let args = shortened(spec, request);
        self.entries.push_front(SlowCall { id, unix_seconds, duration, args, peer, name });
        self.trim(entries_max);
    }

    /// Keeps no more than the latest `entries_max`.
    pub(super) fn trim(&mut self, entries_max: usize) {
        self.entries.truncate(entries_max);
    }

    /// The entries, latest first.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = &SlowCall> {
        self.entries.iter()
    }

    /// Forgets all entries; numbers go on.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    #[test]
    fn long_commands_are_kept_in_part() {
        let mut args = vec!["x".repeat(200); 40];
        args[0] = "SADD".to_owned();
        let mut log = SlowLog::default();
        let sadd = crate::command::lookup(b"SADD").expect("a command");
        let request = OwnedRequest::from_args(&args);
        for _ in 0..3 {
            let client = ("127.0.0.1:1".to_owned(), "".into());
            log.push((sadd, &request.as_request()), 1, Duration::from_millis(11), client, 2);
        }
        assert_eq!(log.entries().map(|entry| entry.id).collect::<Vec<_>>(), [2, 1]);
        let entry = log.entries().next().expect("two");
        assert_eq!(entry.args.len(), 32);
        assert_eq!(entry.args[1], format!("{}... (72 more bytes)", "x".repeat(128)).as_bytes());
        assert_eq!(entry.args[31], b"... (9 more arguments)");
    }
}
