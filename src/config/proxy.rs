//! The proxy's configuration file, as an operator writes it.
//!
//! `config/proxy.yaml` shows every key with its default; a test holds it to this file. Options
//! of the command line win over the file, and the file over the defaults.

use super::read_from::ReadFromConfig;
use super::units::{ByteSize, TimeSpan};
use super::workers::Workers;
use crate::cluster::Endpoint;
use crate::proxy::{Options, SLOW_KEPT_MAX};
use crate::resp::Limits;
use crate::secret::Secret;
use crate::telemetry::logging::LogOptions;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// Everything that `keyway proxy` can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "keys with values")]
pub struct ProxyConfig {
    /// Where clients connect: an address, or a list of them.
    #[serde(with = "one_or_many")]
    pub listen: Vec<SocketAddr>,
    /// Nodes to learn the topology from; any one that answers is enough.
    #[serde(with = "endpoints")]
    pub seeds: Vec<Endpoint>,
    /// Threads that serve clients.
    pub workers: Workers,
    /// Where /metrics, /healthz and /readyz are; none if absent.
    pub http: Option<SocketAddr>,
    /// What clients must send with AUTH; nothing if absent.
    #[serde(with = "secret_option")]
    pub password: Option<Secret>,
    /// Whether clients of other hosts are turned away while there is no password.
    pub protected_mode: bool,
    /// Who the proxy is to the nodes.
    pub backend: BackendConfig,
    /// Where commands that only read are sent.
    pub read_from: ReadFromConfig,
    /// Whether clients may use PROXY REFRESH, PAUSE and RESUME, and CONFIG SET and RESETSTAT of the proxy.
    pub admin_commands: bool,
    /// The address that CLUSTER replies name instead of the one a client is connected to.
    #[serde(with = "endpoint_option")]
    pub announce: Option<Endpoint>,
    /// Addresses that nodes announce, and where they are reached from here.
    #[serde(with = "endpoint_map")]
    pub address_map: BTreeMap<Endpoint, Endpoint>,
    /// What is bounded, and by how much.
    pub limits: LimitsConfig,
    /// When to give up, to look again, and how long to wait.
    pub timing: TimingConfig,
    /// What is logged, and how.
    pub log: LogOptions,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            listen: vec![([127, 0, 0, 1], 6379).into()],
            seeds: Vec::new(),
            workers: Workers::Auto,
            http: None,
            password: None,
            protected_mode: true,
            backend: BackendConfig::default(),
            read_from: ReadFromConfig::default(),
            admin_commands: false,
            announce: None,
            address_map: BTreeMap::new(),
            limits: LimitsConfig::default(),
            timing: TimingConfig::default(),
            log: LogOptions::default(),
        }
    }
}

impl ProxyConfig {
    /// What the proxy's machines are told. Assumes that [`problems`](Self::problems) found none.
    pub fn options(&self) -> Options {
        let (limits, timing) = (&self.limits, &self.timing);
        Options {
            seeds: self.seeds.clone(),
            password: self.password.clone(),
            protected_mode: self.protected_mode,
            backend_user: self.backend.user.clone(),
            backend_password: self.backend.password.clone(),
            address_map: self.address_map.clone(),
            announce: self.announce.clone(),
            limits: Limits {
                arguments_max: limits.arguments_max.get(),
                bulk_bytes: limits.bulk_bytes.as_usize(),
                inline_bytes: limits.inline_bytes.as_usize(),
                request_bytes: limits.request_bytes.as_usize(),
                reply_depth: limits.reply_depth.get(),
            },
            clients_max: limits.clients_max.get(),
            client_inflight_max: limits.client_inflight_max.get(),
            client_output_soft: limits.client_output_soft.as_usize(),
            client_output_hard: limits.client_output_hard.as_usize(),
            subscriber_output: limits.subscriber_output.as_usize(),
            subscriber_output_soft: limits.subscriber_output_soft.as_usize(),
            subscriber_output_time: timing.subscriber_output_time.0,
            client_input_bytes: limits.client_input_bytes.as_usize(),
            gather_bytes: limits.gather_bytes.as_usize(),
            large_bytes: limits.large_bytes.as_usize(),
            pinned_max: limits.pinned_max.get(),
            script_bytes: limits.script_bytes.as_usize(),
            transaction_bytes: limits.transaction_bytes.as_usize(),
            idle_timeout: timing.idle_timeout.0,
            handshake_timeout: timing.handshake_timeout.0,
            request_timeout: timing.request_timeout.0,
            connect_timeout: timing.connect_timeout.0,
            suspect_after: timing.suspect_after.0,
            backend_timeout: timing.backend_timeout.0,
            slow_after: timing.slow_after.0,
            slow_kept: limits.slow_kept.get(),
            ride_out: timing.ride_out.0,
            ride_out_bytes: limits.ride_out_bytes.as_usize(),
            wake_pause: timing.wake_pause.0,
            refresh: timing.refresh.0,
            refresh_min: timing.refresh_min.0,
            redirects_max: limits.redirects_max.get(),
            read_from: self.read_from.0,
            max_lag: timing.max_lag.0,
            admin_commands: self.admin_commands,
            drain_timeout: timing.drain_timeout.0,
        }
    }

    /// What is wrong though each value alone is right: where, and what was expected.
    pub fn problems(&self) -> Vec<Conflict> {
        let (limits, timing) = (&self.limits, &self.timing);
        let mut found = Vec::new();
        let mut check = |right: bool, key: &'static str, why: String| {
            if !right {
                found.push(Conflict { key, why });
            }
        };
        check(
            limits.client_output_soft <= limits.client_output_hard,
            "limits.client_output_soft",
            format!("is above limits.client_output_hard ({})", limits.client_output_hard),
        );
        check(
            limits.request_bytes.0 < 4 << 30,
            "limits.request_bytes",
            format!("is {}; expected less than 4gb", limits.request_bytes),
        );
        check(
            limits.bulk_bytes <= limits.request_bytes,
            "limits.bulk_bytes",
            format!("is above limits.request_bytes ({})", limits.request_bytes),
        );
        check(
            limits.inline_bytes.0 >= 64,
            "limits.inline_bytes",
            format!("is {}; expected at least 64", limits.inline_bytes),
        );
        check(
            limits.slow_kept.get() <= SLOW_KEPT_MAX,
            "limits.slow_kept",
            format!("is {}; expected at most {SLOW_KEPT_MAX}", limits.slow_kept),
        );
        check(
            timing.suspect_after <= timing.backend_timeout,
            "timing.suspect_after",
            format!("is above timing.backend_timeout ({})", timing.backend_timeout),
        );
        check(
            timing.refresh_min <= timing.refresh,
            "timing.refresh_min",
            format!("is above timing.refresh ({})", timing.refresh),
        );
        check(
            timing.wake_pause <= ms(1),
            "timing.wake_pause",
            format!("is {}; expected at most 1ms", timing.wake_pause),
        );
        for (key, span) in [
            ("timing.connect_timeout", timing.connect_timeout),
            ("timing.handshake_timeout", timing.handshake_timeout),
            ("timing.request_timeout", timing.request_timeout),
            ("timing.suspect_after", timing.suspect_after),
            ("timing.refresh_min", timing.refresh_min),
        ] {
            check(!span.0.is_zero(), key, "is 0; expected a time above zero".to_owned());
        }
        check(
            self.backend.user.is_none() || self.backend.password.is_some(),
            "backend.user",
            "has no backend.password beside it".to_owned(),
        );
        check(!self.listen.is_empty(), "listen", "is empty; expected ADDRESS:PORT".to_owned());
        check(
            // Port 0 is any free one: another each time.
            self.http.is_none_or(|http| http.port() == 0 || !self.listen.contains(&http)),
            "http",
            "is an address of `listen`, too".to_owned(),
        );
        if let Err(error) = crate::telemetry::logging::check_filter(&self.log.filter) {
            check(false, "log.filter", error.to_string());
        }
        found
    }
}

/// A value that is wrong because of another, or of a rule that its type cannot tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Conflict {
    /// Its key, with the keys above it.
    pub key: &'static str,
    /// What is wrong, and what was expected.
    pub why: String,
}

/// The user of the nodes that the proxy is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "keys with values")]
pub struct BackendConfig {
    /// The name; the default user if absent.
    pub user: Option<String>,
    /// The password; no AUTH if absent.
    #[serde(with = "secret_option")]
    pub password: Option<Secret>,
}

macro_rules! settings {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $field_doc:literal])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default, expecting = "keys with values")]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// Each key, its default and what it means, for the docs.
            fn table() -> Vec<(&'static str, String, &'static str)> {
                let default = Self::default();
                vec![$((stringify!($field), default.$field.to_string(), concat!($($field_doc),*)),)*]
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

const fn kb(count: u64) -> ByteSize {
    ByteSize(count << 10)
}

const fn mb(count: u64) -> ByteSize {
    ByteSize(count << 20)
}

const fn us(count: u64) -> TimeSpan {
    TimeSpan(Duration::from_micros(count))
}

const fn ms(count: u64) -> TimeSpan {
    TimeSpan(Duration::from_millis(count))
}

const fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("a default is not zero")
}

/// `docs/limits.md`: written by `make docs`, checked by a test.
pub fn document_limits() -> String {
    let mut out = String::from(
        "# Limits and times of the proxy\n\n<!-- Written by `make docs` from src/config/proxy.rs. \
         -->\n\nEverything that a client or a node can make grow has a maximum, checked before the \
         memory is taken. Set them in the configuration file; `config/proxy.yaml` shows it whole.\n\n\
         Before a client has authenticated, where it must, it is held to 10 arguments of 16kb, and \
         64kb in all.\n",
    );
    let sections = [("limits", LimitsConfig::table()), ("timing", TimingConfig::table())];
    for (section, rows) in sections {
        out.push_str(&format!("\n## {section}\n\n| key | default | meaning |\n|---|---|---|\n"));
        for (key, default, meaning) in rows {
            out.push_str(&format!("| `{key}` | {default} | {} |\n", meaning.trim()));
        }
    }
    out
}

settings! {
    /// What is bounded: memory is not taken before its limit was checked.
    LimitsConfig {
        /// Clients at a time.
        clients_max: NonZeroUsize = count(10_000),
        /// Requests of one client on their way to nodes.
        client_inflight_max: NonZeroUsize = count(1024),
        /// Unread replies of one client, past which its requests wait.
        client_output_soft: ByteSize = mb(16),
        /// Unread replies of one client, past which it is closed.
        client_output_hard: ByteSize = mb(256),
        /// Waiting requests of one client, past which nothing more is read from it.
        client_input_bytes: ByteSize = mb(64),
        /// Messages that a subscriber may leave unread before it is closed.
        subscriber_output: ByteSize = mb(32),
        /// Messages that a subscriber may leave unread for `timing.subscriber_output_time`.
        subscriber_output_soft: ByteSize = mb(8),
        /// One request, headers included. Below 4gb.
        request_bytes: ByteSize = kb((512 << 10) + 64),
        /// Arguments of one request.
        arguments_max: NonZeroUsize = count(1 << 20),
        /// One argument.
        bulk_bytes: ByteSize = mb(512),
        /// One inline command.
        inline_bytes: ByteSize = kb(64),
        /// Arrays within arrays in a reply.
        reply_depth: NonZeroUsize = count(128),
        /// A reply that the proxy puts together.
        gather_bytes: ByteSize = mb(512),
        /// Requests that wait for a failover or a reshard to pass, of all clients.
        ride_out_bytes: ByteSize = mb(64),
        /// Larger requests travel on a connection of their own, so that small ones do not wait.
        large_bytes: ByteSize = mb(1),
        /// Connections to one node that clients have to themselves (transactions, blocking commands),
        /// of each worker.
        pinned_max: NonZeroUsize = count(1000),
        /// What one client has queued since MULTI.
        transaction_bytes: ByteSize = mb(16),
        /// Scripts that are remembered, to be loaded where a node does not have them.
        script_bytes: ByteSize = mb(16),
        /// Redirects of one request in a row, after which it waits before it goes on.
        redirects_max: NonZeroU8 = NonZeroU8::new(5).expect("a default is not zero"),
        /// Requests that SLOWLOG keeps, the latest that took `timing.slow_after`; at most 100000.
        slow_kept: NonZeroUsize = count(128),
    }
}

settings! {
    /// When to give up, to look again, and how long to wait.
    TimingConfig {
        /// A client without a request for so long is closed; 0: never.
        idle_timeout: TimeSpan = ms(0),
        /// A client has so long to send its first request.
        handshake_timeout: TimeSpan = ms(10_000),
        /// A request that has begun makes 16 KiB of progress within this.
        request_timeout: TimeSpan = ms(30_000),
        /// A connection to a node is open and greeted within this.
        connect_timeout: TimeSpan = ms(1_000),
        /// A node silent for so long with a request waiting gets no new ones.
        suspect_after: TimeSpan = ms(500),
        /// A connection to a node silent for so long with a request waiting is closed.
        backend_timeout: TimeSpan = ms(10_000),
        /// A replica further behind its primary than this is not read from; see `read_from`.
        max_lag: TimeSpan = ms(10_000),
        /// A request that takes at least so long, its node and the way there included, is noted for
        /// SLOWLOG; 0: none is.
        slow_after: TimeSpan = ms(10),
        /// How long a request that has not run is tried again; 0: never.
        ride_out: TimeSpan = ms(30_000),
        /// A thread that serves many clients at a time sleeps at least so long before it looks for more, so
        /// that it wakes once for many; at most 1ms, 0: it wakes for the first.
        wake_pause: TimeSpan = us(60),
        /// How often the topology is read without a reason.
        refresh: TimeSpan = ms(15_000),
        /// How often at most it is read, whatever the reasons.
        refresh_min: TimeSpan = ms(100),
        /// A subscriber that leaves more than `limits.subscriber_output_soft` unread for so long
        /// is closed.
        subscriber_output_time: TimeSpan = ms(60_000),
        /// How long clients may finish after the proxy was asked to stop.
        drain_timeout: TimeSpan = ms(30_000),
    }
}

/// An [`Endpoint`] as text. An error inside a list or map keeps its place in the file only when
/// the element's own type finds it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Written(Endpoint);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("HOST:PORT such as 127.0.0.1:7000 or [::1]:7000")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
                let invalid = |_| E::invalid_value(de::Unexpected::Str(text), &self);
                Endpoint::parse(text).map(Written).map_err(invalid)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

mod endpoints {
    use super::*;

    pub(super) fn serialize<S: Serializer>(list: &[Endpoint], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Endpoint>, D::Error> {
        let list = Option::<Vec<Written>>::deserialize(from)?.unwrap_or_default();
        Ok(list.into_iter().map(|written| written.0).collect())
    }
}

mod endpoint_option {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        endpoint: &Option<Endpoint>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        endpoint.as_ref().map(ToString::to_string).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Endpoint>, D::Error> {
        Ok(Option::<Written>::deserialize(from)?.map(|written| written.0))
    }
}

mod endpoint_map {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Endpoint, Endpoint>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(from, to)| (from.to_string(), to.to_string())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Endpoint, Endpoint>, D::Error> {
        let map = Option::<BTreeMap<Written, Written>>::deserialize(from)?.unwrap_or_default();
        Ok(map.into_iter().map(|(from, to)| (from.0, to.0)).collect())
    }
}

mod secret_option {
    use super::*;

    /// Shows that there is one, not what it is.
    pub(super) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(ToString::to_string).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}

mod one_or_many {
    use super::*;

    pub(super) fn serialize<S: Serializer>(list: &[SocketAddr], to: S) -> Result<S::Ok, S::Error> {
        match list {
            [one] => one.serialize(to),
            many => many.serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<SocketAddr>, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Vec<SocketAddr>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as 127.0.0.1:6379, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let invalid = |_| E::invalid_value(de::Unexpected::Str(text), &self);
                text.parse().map(|address| vec![address]).map_err(invalid)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq))
            }
        }

        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machines' own defaults are the ones that the file documents.
    #[test]
    fn an_empty_file_gives_the_machines_defaults() {
        let options = ProxyConfig::default().options();
        assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn the_defaults_contradict_nothing() {
        assert_eq!(ProxyConfig::default().problems(), []);
    }
}
