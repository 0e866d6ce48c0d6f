//! CLIENT TRACKING as a client asks for it: its options, which of them go together, and what a node
//! is told so that it says which keys change.

use crate::resp::{Encoder, Protocol, Request, parse_i64};

/// How one client wants to be told of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tracking {
    /// The client that is told instead; its number, or 0.
    pub redirect: u64,
    /// The worker of that client.
    pub redirect_worker: usize,
    /// That client was not there any more.
    pub broken: bool,
    /// CLIENT CACHING, until the next command.
    pub caching: Option<bool>,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    /// Of BCAST; an empty one stands for every key.
    prefixes: Vec<Vec<u8>>,
}

/// What CLIENT TRACKING asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing is tracked from here on.
    Off,
    /// This is.
    On(Tracking),
}

impl Tracking {
    /// Reads CLIENT TRACKING, for a client that has asked for `current` before.
    ///
    /// # Errors
    /// Redis's texts.
    pub(super) fn read(request: &Request<'_>, current: Option<&Self>) -> Result<Change, String> {
        let mut wanted = Self::default();
        let mut at = 3;
        while let Some(word) = request.get(at) {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            match request.get(at + 1) {
                Some(id) if is("redirect") => {
                    wanted.read_redirect(id)?;
                    at += 1;
                }
                Some(prefix) if is("prefix") => {
                    wanted.prefixes.push(prefix.to_vec());
                    at += 1;
                }
                _ if is("bcast") => wanted.broadcast = true,
                _ if is("optin") => wanted.opt_in = true,
                _ if is("optout") => wanted.opt_out = true,
                _ if is("noloop") => wanted.no_loop = true,
                _ => return Err(SYNTAX.to_owned()),
            }
            at += 1;
        }
        if request.arg(2).eq_ignore_ascii_case(b"off") {
            return Ok(Change::Off);
        }
        if !request.arg(2).eq_ignore_ascii_case(b"on") {
            return Err(SYNTAX.to_owned());
        }
        wanted.check(current)?;
        if wanted.broadcast {
            if wanted.prefixes.is_empty() {
                wanted.prefixes.push(Vec::new());
            }
            let before = current.map(|current| current.prefixes.clone()).unwrap_or_default();
            wanted.prefixes.splice(0..0, before);
        }
        Ok(Change::On(wanted))
    }

    fn read_redirect(&mut self, id: &[u8]) -> Result<(), String> {
        if self.redirect != 0 {
            return Err("ERR A client can only redirect to a single other client".to_owned());
        }
        let id = parse_i64(id).ok_or("ERR value is not an integer or out of range")?;
        self.redirect = u64::try_from(id).ok().filter(|id| *id > 0).ok_or(NO_SUCH_CLIENT)?;
        Ok(())
    }

    /// Whether all of it goes together, and with what was asked for before.
    fn check(&self, current: Option<&Self>) -> Result<(), String> {
        const SWITCH: &str = "before disabling tracking for this client, and then re-enabling it \
                              with a different mode.";
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err("ERR PREFIX option requires BCAST mode to be enabled".to_owned());
        }
        if current.is_some_and(|current| current.broadcast != self.broadcast) {
            return Err(format!("ERR You can't switch BCAST mode on/off {SWITCH}"));
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".to_owned());
        }
        if self.opt_in && self.opt_out {
            return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".to_owned());
        }
        let switches =
            |current: &Self| self.opt_in && current.opt_out || self.opt_out && current.opt_in;
        if current.is_some_and(switches) {
            return Err(format!("ERR You can't switch OPTIN/OPTOUT mode {SWITCH}"));
        }
        let existing = current.map_or(&[][..], |current| &current.prefixes);
        for (at, prefix) in self.prefixes.iter().enumerate() {
            let further = self.prefixes[at + 1..].iter().map(|other| (other, "another provided"));
            let others = existing.iter().map(|other| (other, "an existing")).chain(further);
            for (other, which) in others {
                if prefix.starts_with(other) || other.starts_with(prefix) {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return Err(format!(
                        "ERR Prefix '{}' overlaps with {which} prefix '{}'. Prefixes for a single \
                         client must not overlap.",
                        text(prefix),
                        text(other)
                    ));
                }
            }
        }
        Ok(())
    }

    /// CLIENT CACHING of a client that tracks so, or not at all.
    ///
    /// # Errors
    /// Redis's texts.
    pub(super) fn read_caching(
        request: &Request<'_>,
        current: Option<&Self>,
    ) -> Result<bool, String> {
        let Some(current) = current else {
            return Err(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode \
                        with OPTIN or OPTOUT mode enabled"
                    .to_owned(),
            );
        };
        let mode = request.arg(2);
        if mode.eq_ignore_ascii_case(b"yes") {
            return match current.opt_in {
                true => Ok(true),
                false => Err("ERR CLIENT CACHING YES is only valid when tracking is enabled in \
                              OPTIN mode."
                    .to_owned()),
            };
        }
        if mode.eq_ignore_ascii_case(b"no") {
            return match current.opt_out {
                true => Ok(false),
                false => Err("ERR CLIENT CACHING NO is only valid when tracking is enabled in \
                              OPTOUT mode."
                    .to_owned()),
            };
        }
        Err(SYNTAX.to_owned())
    }

    /// Whether the client can be told anything: in RESP2 only another connection can.
    pub(super) fn is_told(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Resp3 || self.redirect > 0
    }

    /// What a node is told, behind CLIENT TRACKING ON.
    pub(super) fn words(&self) -> Vec<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = Vec::new();
        for (word, is) in [
            ("BCAST", self.broadcast),
            ("OPTIN", self.opt_in),
            ("OPTOUT", self.opt_out),
            ("NOLOOP", self.no_loop),
        ] {
            if is {
                words.push(word.into());
            }
        }
        for prefix in &self.prefixes {
            words.extend([b"PREFIX".to_vec(), prefix.clone()]);
        }
        words
    }

    /// The letters of CLIENT LIST.
    pub(super) fn letters(&self) -> String {
        [("t", true), ("R", self.broken), ("B", self.broadcast)]
            .iter()
            .filter_map(|(letter, is)| is.then_some(*letter))
            .collect()
    }
}

/// Who is told instead, as CLIENT GETREDIR says.
pub(super) fn redirect(tracking: Option<&Tracking>) -> i64 {
    tracking.map_or(-1, |tracking| tracking.redirect as i64)
}

/// CLIENT TRACKINGINFO.
pub(super) fn write_info(tracking: Option<&Tracking>, reply: &mut Encoder<'_>) {
    let none = Tracking::default();
    let of = tracking.unwrap_or(&none);
    let flags: Vec<&str> = [
        ("off", tracking.is_none()),
        ("on", tracking.is_some()),
        ("bcast", of.broadcast),
        ("optin", of.opt_in),
        ("caching-yes", of.caching == Some(true)),
        ("optout", of.opt_out),
        ("caching-no", of.caching == Some(false)),
        ("noloop", of.no_loop),
        ("broken_redirect", of.broken),
    ]
    .iter()
    .filter_map(|(flag, is)| is.then_some(*flag))
    .collect();
    reply.map(3);
    reply.bulk("flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag));
    reply.bulk("redirect");
    reply.integer(redirect(tracking));
    reply.bulk("prefixes");
    reply.array(of.prefixes.len());
    of.prefixes.iter().for_each(|prefix| reply.bulk(prefix));
}

const SYNTAX: &str = "ERR syntax error";

/// What a client is told that redirects to nobody.
pub(super) const NO_SUCH_CLIENT: &str = "ERR The client ID you want redirect to does not exist";

/// Everything may have changed: as nodes say it after FLUSHALL.
pub(super) const ALL_CHANGED: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

/// What a node says when keys have changed: the keys, as an array, or null for all.
pub(super) fn changed_keys(push: &[u8]) -> Option<&[u8]> {
    push.strip_prefix(b">2\r\n$10\r\ninvalidate\r\n")
}

/// The same for a client that speaks RESP2 and listens: a message on Redis's own channel.
pub(super) fn as_message(keys: &[u8]) -> Vec<u8> {
    let mut message = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n".to_vec();
    message.extend_from_slice(if keys == b"_\r\n" { b"$-1\r\n" } else { keys });
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    fn read(line: &str, current: Option<&Tracking>) -> Result<Change, String> {
        let args: Vec<&str> = line.split(' ').collect();
        Tracking::read(&OwnedRequest::from_args(&args).as_request(), current)
    }

    fn on(line: &str, current: Option<&Tracking>) -> Tracking {
        match read(line, current) {
            Ok(Change::On(tracking)) => tracking,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_in_redis_s_words() {
        let bcast = on("CLIENT TRACKING ON BCAST PREFIX a", None);
        let opt_in = on("CLIENT TRACKING ON OPTIN", None);
        for (line, current, expected) in [
            ("CLIENT TRACKING FOO", None, "ERR syntax error"),
            ("CLIENT TRACKING OFF FOO", None, "ERR syntax error"),
            ("CLIENT TRACKING ON PREFIX", None, "ERR syntax error"),
            ("CLIENT TRACKING ON REDIRECT 0", None, NO_SUCH_CLIENT),
            ("CLIENT TRACKING ON REDIRECT x", None, "ERR value is not an integer or out of range"),
            (
                "CLIENT TRACKING ON PREFIX a",
                None,
                "ERR PREFIX option requires BCAST mode to be enabled",
            ),
            (
                "CLIENT TRACKING ON OPTIN OPTOUT",
                None,
                "ERR You can't specify both OPTIN mode and OPTOUT mode",
            ),
            (
                "CLIENT TRACKING ON BCAST OPTIN",
                None,
                "ERR OPTIN and OPTOUT are not compatible with BCAST",
            ),
            (
                "CLIENT TRACKING ON BCAST PREFIX a PREFIX ab",
                None,
                "ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap.",
            ),
            (
                "CLIENT TRACKING ON BCAST PREFIX ab",
                Some(&bcast),
                "ERR Prefix 'ab' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.",
            ),
            (
                "CLIENT TRACKING ON",
                Some(&bcast),
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
            ),
            (
                "CLIENT TRACKING ON OPTOUT",
                Some(&opt_in),
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
            ),
        ] {
            assert_eq!(read(line, current).expect_err(line), expected);
        }
        assert_eq!(read("CLIENT TRACKING OFF BCAST PREFIX a", None), Ok(Change::Off));
    }

    #[test]
    fn prefixes_add_up_and_are_told_to_nodes() {
        let first = on("CLIENT TRACKING ON BCAST PREFIX a NOLOOP", None);
        let both = on("CLIENT TRACKING ON BCAST PREFIX b", Some(&first));
        let words: Vec<String> =
            both.words().iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        assert_eq!(words, ["BCAST", "PREFIX", "a", "PREFIX", "b"]);
        let all = on("CLIENT TRACKING ON BCAST", None);
        assert_eq!(all.words(), [b"BCAST".to_vec(), b"PREFIX".to_vec(), Vec::new()]);
    }

    #[test]
    fn a_client_in_resp2_is_told_by_a_message() {
        let keys = changed_keys(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n").expect("a push");
        assert!(as_message(keys).ends_with(b"$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n"));
        let all = changed_keys(ALL_CHANGED).expect("a push");
        assert!(as_message(all).ends_with(b":invalidate\r\n$-1\r\n"));
    }
}
