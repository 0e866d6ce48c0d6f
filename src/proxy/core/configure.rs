//! CONFIG SET and CONFIG RESETSTAT, where the operator's own commands are allowed: what of a server's
//! parameters is a choice of the proxy's and may change while it runs, on every worker.
//!
//! Everything else is fixed at the start, or belongs to the nodes: to set it at all of them from here would
//! leave out those that are away.

use super::road::{Finish, Query};
use super::slow::SlowLog;
use super::{Core, Dispatched, SessionId};
use crate::command::Spec;
use crate::proxy::options::SLOW_KEPT_MAX;
use crate::resp::{Request, parse_i64};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// `slow_after`.
    SlowAfter(Duration),
    /// `slow_kept`.
    SlowKept(usize),
    /// `idle_timeout`.
    IdleTimeout(Duration),
}

/// The options that [`Setting`] changes, as PROXY SHOW CONFIG calls them.
pub(super) const CHANGEABLE: [&str; 3] = ["slow_after", "slow_kept", "idle_timeout"];

/// Of every other parameter.
const FIXED: &str = "it is fixed when the proxy starts, or belongs to the nodes";

impl Core {
    /// CONFIG SET or CONFIG RESETSTAT.
    #[cold]
    pub(super) fn configure(
        &mut self,
        id: SessionId,
        spec: &'static Spec,
        now: Instant,
    ) -> Dispatched {
        let session = &self.sessions[id.index()];
        let request = session.at_hand();
        let query = match spec.name {
            "config|set" => settings(&request).map(Query::Configure),
            _ => Ok(Query::ResetStats),
        };
        match query {
            Ok(query) => self.ask_workers(id, spec, query, Finish::Done, now),
            Err(line) => {
                self.refuse(id, Some(spec), line.as_bytes(), now);
                Dispatched::Yes
            }
        }
    }

    /// From here on this worker goes by these.
    pub(super) fn take_settings(&mut self, settings: &[Setting]) {
        for setting in settings {
            let options = Arc::make_mut(&mut self.options);
            match *setting {
                Setting::SlowAfter(after) => {
                    options.slow_after = after;
                    self.slow.from_us = SlowLog::new(after).from_us;
                }
                Setting::SlowKept(most) => {
                    options.slow_kept = most;
                    self.keep_slow(most);
                }
                Setting::IdleTimeout(timeout) => options.idle_timeout = timeout,
            }
        }
    }
}

/// Reads what follows CONFIG SET: all of it counts, or none.
///
/// # Errors
/// Redis's texts, where Redis has one.
fn settings(request: &Request<'_>) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut at = 2;
    while let Some(name) = request.get(at) {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let failed = |why: &str| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
        };
        let Some(value) = request.get(at + 1) else {
            return Err("ERR wrong number of arguments for 'config|set' command".to_owned());
        };
        if names.contains(&name) {
            return Err(failed("duplicate parameter"));
        }
        let number = || {
            parse_i64(value).ok_or_else(|| failed("argument couldn't be parsed into an integer"))
        };
        settings.push(match name.as_str() {
            "slowlog-log-slower-than" => Setting::SlowAfter(match number()? {
                ..-1 => return Err(failed("argument must be between -1 and 9223372036854775807")),
                -1 => Duration::ZERO,
                // Every request, which zero is not.
                0 => Duration::from_nanos(1),
                micros => Duration::from_micros(micros.unsigned_abs()),
            }),
            "slowlog-max-len" => {
                let most = usize::try_from(number()?).ok().filter(|most| *most <= SLOW_KEPT_MAX);
                Setting::SlowKept(most.ok_or_else(|| {
                    failed(&format!("argument must be between 0 and {SLOW_KEPT_MAX} inclusive"))
                })?)
            }
            "timeout" => match u32::try_from(number()?).ok().filter(|secs| *secs < 1 << 31) {
                Some(seconds) => Setting::IdleTimeout(Duration::from_secs(u64::from(seconds))),
                None => {
                    return Err(failed("argument must be between 0 and 2147483647 inclusive"));
                }
            },
            _ => return Err(failed(FIXED)),
        });
        names.push(name);
        at += 2;
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    fn read(line: &str) -> Result<Vec<Setting>, String> {
        let args: Vec<&str> = line.split(' ').collect();
        settings(&OwnedRequest::from_args(&args).as_request())
    }

    #[test]
    fn settings_are_read_all_or_none() {
        let both = read("CONFIG SET slowlog-log-slower-than 5000 TIMEOUT 7");
        let (slow, idle) = (Duration::from_millis(5), Duration::from_secs(7));
        assert_eq!(both, Ok(vec![Setting::SlowAfter(slow), Setting::IdleTimeout(idle)]));
        assert_eq!(read("CONFIG SET slowlog-max-len 0"), Ok(vec![Setting::SlowKept(0)]));
        let off = read("CONFIG SET slowlog-log-slower-than -1");
        assert_eq!(off, Ok(vec![Setting::SlowAfter(Duration::ZERO)]));
        let every = read("CONFIG SET slowlog-log-slower-than 0").expect("it is one");
        assert!(matches!(every[0], Setting::SlowAfter(after) if SlowLog::new(after).from_us == 0));
        for (line, why) in [
            (
                "slowlog-max-len 100001",
                "slowlog-max-len') - argument must be between 0 and 100000 inclusive",
            ),
            ("timeout x", "timeout') - argument couldn't be parsed into an integer"),
            ("timeout -1", "timeout') - argument must be between 0 and 2147483647 inclusive"),
            ("timeout 1 timeout 2", "timeout') - duplicate parameter"),
            ("timeout 1 hz 2", "hz') - it is fixed when the proxy starts, or belongs to the nodes"),
        ] {
            let said = read(&format!("CONFIG SET {line}"));
            let line = format!("ERR CONFIG SET failed (possibly related to argument '{why}");
            assert_eq!(said, Err(line));
        }
        let half = read("CONFIG SET timeout 1 timeout");
        assert_eq!(half, Err("ERR wrong number of arguments for 'config|set' command".to_owned()));
    }
}
