//! CLIENT LIST and CLIENT KILL: one client as a line, and which clients are meant.

use super::session::Session;
use super::tracking::{self, Tracking};
use crate::command::Spec;
use crate::resp::{Request, parse_i64};
use std::time::Instant;

/// Which clients a command means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientFilter {
    /// These numbers.
    pub ids: Option<Vec<u64>>,
    /// This type, as CLIENT LIST TYPE calls it.
    kind: Option<&'static str>,
    /// At this address.
    pub addr: Option<String>,
    /// Connected to this address.
    laddr: Option<String>,
    /// At least so many seconds old.
    max_age: Option<u64>,
    /// All but this number.
    pub skip: Option<u64>,
}

/// The types that clients have, and the words for them.
const KINDS: [(&str, &str); 5] = [
    ("normal", "normal"),
    ("master", "master"),
    ("replica", "replica"),
    ("slave", "replica"),
    ("pubsub", "pubsub"),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn kind(word: &[u8]) -> Result<&'static str, String> {
    KINDS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, kind)| *kind)
        .ok_or_else(|| format!("ERR Unknown client type '{}'", text(word)))
}

fn positive(word: &[u8]) -> Option<u64> {
    parse_i64(word).and_then(|number| u64::try_from(number).ok()).filter(|&number| number > 0)
}

const SYNTAX: &str = "ERR syntax error";

impl ClientFilter {
    /// Reads what follows CLIENT LIST.
    ///
    /// # Errors
    /// Redis's text.
    pub(super) fn of_list(request: &Request<'_>) -> Result<Self, String> {
        let mut filter = Self::default();
        match (request.get(2), request.len()) {
            (None, _) => {}
            (Some(word), 4) if word.eq_ignore_ascii_case(b"type") => {
                filter.kind = Some(kind(request.arg(3))?);
            }
            (Some(word), 4..) if word.eq_ignore_ascii_case(b"id") => {
                let ids = request.args_from(3).map(positive).collect::<Option<Vec<u64>>>();
                filter.ids = Some(ids.ok_or("ERR Invalid client ID")?);
            }
            _ => return Err(SYNTAX.to_owned()),
        }
        Ok(filter)
    }

    /// Reads what follows CLIENT KILL, for the client with the number `own`. True when it is the
    /// old form, whose answer is another.
    ///
    /// # Errors
    /// Redis's text.
    pub(super) fn of_kill(request: &Request<'_>, own: u64) -> Result<(Self, bool), String> {
        let mut filter = Self::default();
        if request.len() == 3 {
            filter.addr = Some(text(request.arg(2)));
            return Ok((filter, true));
        }
        filter.skip = Some(own);
        if request.len().is_multiple_of(2) {
            for at in (2..request.len()).step_by(2) {
                let (name, value) = (request.arg(at).to_ascii_lowercase(), request.arg(at + 1));
                filter.read_option(&name, value, own)?;
            }
            return Ok((filter, false));
        }
        Err(SYNTAX.to_owned())
    }

    fn read_option(&mut self, name: &[u8], value: &[u8], own: u64) -> Result<(), String> {
        match name {
            b"id" => {
                let id = positive(value).ok_or("ERR client-id should be greater than 0")?;
                self.ids = Some(vec![id]);
            }
            b"type" => self.kind = Some(kind(value)?),
            b"addr" => self.addr = Some(text(value)),
            b"laddr" => self.laddr = Some(text(value)),
            b"user" if value == b"default" => {}
            b"user" => return Err(format!("ERR No such user '{}'", text(value))),
            b"maxage" => {
                let age = positive(value).ok_or("ERR maxage should be greater than 0")?;
                self.max_age = Some(age);
            }
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => self.skip = Some(own),
            b"skipme" if value.eq_ignore_ascii_case(b"no") => self.skip = None,
            _ => return Err(SYNTAX.to_owned()),
        }
        Ok(())
    }

    /// Whether a client is meant.
    pub(super) fn takes(&self, session: &Session, now: Instant) -> bool {
        let client = &session.client;
        let of_kind = if client.listens { "pubsub" } else { "normal" };
        let age = now.saturating_duration_since(client.connected).as_secs();
        self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self.kind.is_none_or(|kind| kind == of_kind)
            && self.addr.as_ref().is_none_or(|addr| *addr == client.peer.to_string())
            && self.laddr.as_ref().is_none_or(|laddr| *laddr == client.local.to_string())
            && self.max_age.is_none_or(|most| age >= most)
            && self.skip != Some(client.id)
    }
}

/// A client as CLIENT LIST shows it; `asking` is the command that asks, where it is the client's
/// own.
pub(super) fn line(session: &Session, asking: Option<&Spec>, now: Instant) -> String {
    use super::topics::TopicKind::{Channel, Pattern, Shard};
    let client = &session.client;
    let seconds = |at| now.saturating_duration_since(at).as_secs();
    let names = client.names.as_deref();
    let name = |of: fn(&super::session::Names) -> &[u8]| names.map(|n| text(of(n)));
    let listens = |kind| session.listening.as_ref().map_or(0, |all| all.count(&[kind]));
    let pins = session.pins.as_ref();
    let multi =
        pins.and_then(|pins| Some(pins.transaction.as_ref()?.multi.as_ref()?.queued().len()));
    let watch = pins.and_then(|pins| Some(pins.transaction.as_ref()?.watched.len())).unwrap_or(0);
    let blocked = pins.is_some_and(|pins| pins.blocked.is_some());
    let states =
        [("O", client.monitors), ("P", client.listens), ("x", multi.is_some()), ("b", blocked)];
    let tracking = client.tracking.as_deref();
    let flags: String = states
        .iter()
        .filter_map(|(flag, is)| is.then_some((*flag).to_owned()))
        .chain(tracking.map(Tracking::letters))
        .collect();
    let redirect = tracking::redirect(tracking);
    let flags = if flags.is_empty() { "N" } else { &flags };
    let multi = multi.map_or(-1, |queued| queued as i64);
    let unread = session.unread();
    let command = asking.or(client.last).map_or("NULL", |spec| spec.name);
    format!(
        "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={flags} db={} sub={} psub={} \
         ssub={} multi={multi} watch={watch} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} \
         oll=0 omem={unread} tot-mem={} events=r cmd={command} user=default redir={redirect} resp={} \
         lib-name={} lib-ver={}\n",
        client.id,
        client.peer,
        client.local,
        name(|n| &n.name).unwrap_or_default(),
        seconds(client.connected),
        seconds(client.active),
        client.database,
        listens(Channel),
        listens(Pattern),
        listens(Shard),
        session.input.len(),
        session.output.len(),
        session.input.len() + unread + std::mem::size_of::<Session>(),
        client.protocol.number(),
        name(|n| &n.lib_name).unwrap_or_default(),
        name(|n| &n.lib_version).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    fn read<T>(line: &str, of: impl Fn(&Request<'_>) -> Result<T, String>) -> Result<T, String> {
        let args: Vec<&str> = line.split(' ').collect();
        of(&OwnedRequest::from_args(&args).as_request())
    }

    #[test]
    fn filters_are_refused_in_redis_s_words() {
        for (line, expected) in [
            ("CLIENT LIST TYPE foo", "ERR Unknown client type 'foo'"),
            ("CLIENT LIST ID 1 x", "ERR Invalid client ID"),
            ("CLIENT LIST ID", "ERR syntax error"),
            ("CLIENT LIST FOO", "ERR syntax error"),
        ] {
            assert_eq!(read(line, ClientFilter::of_list).expect_err(line), expected);
        }
        for (line, expected) in [
            ("CLIENT KILL ID 0", "ERR client-id should be greater than 0"),
            ("CLIENT KILL TYPE foo", "ERR Unknown client type 'foo'"),
            ("CLIENT KILL USER nosuch", "ERR No such user 'nosuch'"),
            ("CLIENT KILL SKIPME maybe", "ERR syntax error"),
            ("CLIENT KILL ID 1 TYPE", "ERR syntax error"),
        ] {
            let read = read(line, |request| ClientFilter::of_kill(request, 7));
            assert_eq!(read.expect_err(line), expected);
        }
    }

    #[test]
    fn who_kills_is_spared_unless_it_says_otherwise() {
        let skip = |line: &str| {
            read(line, |request| ClientFilter::of_kill(request, 7)).expect(line).0.skip
        };
        assert_eq!(skip("CLIENT KILL TYPE normal"), Some(7));
        assert_eq!(skip("CLIENT KILL TYPE normal SKIPME no"), None);
        assert_eq!(skip("CLIENT KILL 127.0.0.1:5"), None);
    }
}
