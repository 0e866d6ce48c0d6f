//! How long a client may keep the node waiting: silent, unknown, in the middle of a request, or with
//! replies that it does not take.

use super::session::{Close, Session};
use super::settings::Settings;
use crate::clock::Now;
use std::time::Duration;

/// How long a client may stay connected without the password that it needs.
const AUTH_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a request may take from its first byte to its last, on top of the time that its size
/// allows at [`UPLOAD_BYTES_PER_SECOND`]: a large upload may take long, a trickle may not.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// The slowest upload that is waited for however long it takes.
const UPLOAD_BYTES_PER_SECOND: u64 = 4096;
/// How long a connection that is to end may wait for its client to take a byte of the last replies.
const LAST_REPLIES_TIME_MAX: Duration = Duration::from_secs(10);

/// Why a client is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Silent for longer than `timeout`.
    Silence,
    /// It has not authenticated.
    Authentication,
    /// The rest of a request.
    Request,
    /// More output waits than the soft limit allows.
    Output,
    /// It does not take its last replies.
    LastReplies,
}

impl Session {
    /// What the last turn left: part of a request or not, and whether others were run before it.
    pub(super) fn note_request(&mut self, now: Now, partial: bool, others_ran: bool) {
        if !partial {
            self.request_since = None;
        } else if others_ran || self.request_since.is_none() {
            self.request_since = Some(now.instant);
        }
    }

    /// What this client is late with, if it is.
    pub(super) fn overdue(&self, now: Now, settings: &Settings) -> Option<Overdue> {
        let past = |since, max| now.instant.saturating_duration_since(since) > max;
        match self.close {
            Close::No => {}
            Close::AfterReplies => {
                let late = past(self.last_heard, LAST_REPLIES_TIME_MAX);
                return late.then_some(Overdue::LastReplies);
            }
            Close::Now => return None,
        }
        if !self.authenticated && past(self.anonymous_since, AUTH_TIME_MAX) {
            return Some(Overdue::Authentication);
        }
        let upload = Duration::from_secs(self.input_bytes as u64 / UPLOAD_BYTES_PER_SECOND);
        if self.request_since.is_some_and(|since| past(since, REQUEST_TIME_MAX + upload)) {
            return Some(Overdue::Request);
        }
        let soft_for = settings.output_limits.of(self).soft_for;
        if self.over_limit_since.is_some_and(|since| past(since, soft_for)) {
            return Some(Overdue::Output);
        }
        // Who waits for the node is not silent by choice.
        let waits =
            self.paused || self.blocked.is_some() || self.subscriptions.is_some() || self.monitors;
        let silent = !waits && settings.idle_max.is_some_and(|max| past(self.last_heard, max));
        silent.then_some(Overdue::Silence)
    }
}
