//! CONFIG SET and CONFIG RESETSTAT, where the operator's own commands are allowed: what of a server's
//! parameters is a choice of the proxy's and may change while it runs, on every worker.
//!
//! Everything else is fixed at the start, or belongs to the nodes: to set it at all of them from here would
//! leave out those that are away.

use super::road::{Finish, Query};
use super::slow::SlowLog;
use super::{Core, Dispatched, SessionId};
use crate::command::Spec;
use crate::proxy::introspect;
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

/// What CONFIG SET calls them.
const PARAMETERS: [&str; 3] = ["slowlog-log-slower-than", "slowlog-max-len", "timeout"];

/// The options that [`Setting`] changes, as PROXY SHOW CONFIG calls them.
pub(super) const CHANGEABLE: [&str; 3] = ["slow_after", "slow_kept", "idle_timeout"];

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
            "config|set" => {
                let known = introspect::parameters(&self.options, self.shared.map.databases());
                settings(&request, &known.map(|(name, _)| name)).map(Query::Configure)
            }
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

/// Reads what follows CONFIG SET: all of it counts, or none. Names are judged before any value is, as Redis
/// does. `known` are those that CONFIG GET shows.
///
/// # Errors
/// Redis's texts.
fn settings(request: &Request<'_>, known: &[&str]) -> Result<Vec<Setting>, String> {
    if request.len() % 2 == 1 {
        return Err("ERR syntax error".to_owned());
    }
    let words: Vec<&[u8]> = request.args_from(2).collect();
    let mut pairs: Vec<(String, String, &[u8])> = Vec::new();
    for pair in words.chunks(2) {
        // Redis shows what is before a zero byte.
        let shown = pair[0].split(|byte| *byte == 0).next().unwrap_or_default();
        let shown = String::from_utf8_lossy(shown).into_owned();
        let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
        if !known.contains(&name.as_str()) {
            return Err(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{shown}'"
            ));
        }
        if !PARAMETERS.contains(&name.as_str()) {
            return Err(failed(&shown, "can't set immutable config"));
        }
        if pairs.iter().any(|(before, ..)| *before == name) {
            return Err(failed(&shown, "duplicate parameter"));
        }
        pairs.push((name, shown, pair[1]));
    }
    pairs
        .iter()
        .map(|(name, shown, value)| setting(name, value).map_err(|why| failed(shown, &why)))
        .collect()
}

fn failed(name: &str, why: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
}

/// What one of [`PARAMETERS`] is to be.
fn setting(name: &str, value: &[u8]) -> Result<Setting, String> {
    let number = parse_i64(value).ok_or("argument couldn't be parsed into an integer")?;
    let between = |least: i64, most: i64| match (least..=most).contains(&number) {
        true => Ok(number.unsigned_abs()),
        false => Err(format!("argument must be between {least} and {most} inclusive")),
    };
    Ok(match name {
        "slowlog-log-slower-than" => {
            let micros = between(-1, i64::MAX)?;
            Setting::SlowAfter(match number {
                -1 => Duration::ZERO,
                // Every request, which zero is not.
                0 => Duration::from_nanos(1),
                _ => Duration::from_micros(micros),
            })
        }
        "slowlog-max-len" => Setting::SlowKept(between(0, SLOW_KEPT_MAX as i64)? as usize),
        _ => Setting::IdleTimeout(Duration::from_secs(between(0, i64::from(i32::MAX))?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Options;
    use crate::resp::OwnedRequest;

    fn read(line: &str) -> Result<Vec<Setting>, String> {
        let args: Vec<&str> = line.split(' ').collect();
        let known = introspect::parameters(&Options::default(), 1).map(|(name, _)| name);
        settings(&OwnedRequest::from_args(&args).as_request(), &known)
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
    }

    /// What Redis 7.0.15 answers, but for the most that `slowlog-max-len` takes.
    #[test]
    fn what_cannot_be_set_is_refused_in_redis_words() {
        const OWN: &str = "slowlog-max-len 100001";
        for (line, error) in [
            ("x 1", "Unknown: x"),
            ("X-y 1", "Unknown: X-y"),
            ("x\0y 1", "Unknown: x"),
            ("databases 16", "databases: can't set immutable config"),
            ("DataBases 16", "DataBases: can't set immutable config"),
            ("timeout 1 x 2", "Unknown: x"),
            ("timeout q x 2", "Unknown: x"),
            ("timeout 1 timeout 2", "timeout: duplicate parameter"),
            ("timeout 1 TIMEOUT 2", "TIMEOUT: duplicate parameter"),
            ("timeout q timeout 3", "timeout: duplicate parameter"),
            ("timeout q databases 2", "databases: can't set immutable config"),
            ("databases 1 databases 2", "databases: can't set immutable config"),
            ("databases 2 x 2", "databases: can't set immutable config"),
            ("x 1 databases 2", "Unknown: x"),
            (
                "timeout 1 slowlog-max-len q",
                "slowlog-max-len: argument couldn't be parsed into an integer",
            ),
            ("timeout q slowlog-max-len q", "timeout: argument couldn't be parsed into an integer"),
            (
                "slowlog-log-slower-than -2",
                "slowlog-log-slower-than: argument must be between -1 and 9223372036854775807 inclusive",
            ),
            (OWN, "slowlog-max-len: argument must be between 0 and 100000 inclusive"),
            ("timeout -1", "timeout: argument must be between 0 and 2147483647 inclusive"),
            ("timeout 2147483648", "timeout: argument must be between 0 and 2147483647 inclusive"),
            ("timeout 1 timeout", "syntax error"),
        ] {
            let error = match error.split_once(": ") {
                Some(("Unknown", name)) => {
                    format!("Unknown option or number of arguments for CONFIG SET - '{name}'")
                }
                Some((name, why)) => {
                    format!("CONFIG SET failed (possibly related to argument '{name}') - {why}")
                }
                None => error.to_owned(),
            };
            assert_eq!(read(&format!("CONFIG SET {line}")), Err(format!("ERR {error}")), "{line}");
        }
    }
}
