//! What the proxy answers itself: to its clients it is one Redis server that holds everything.

use super::core::Outside;
use super::gather::{Gather, Kind};
use super::info;
use super::introspect;
use super::listeners::Listeners;
use super::map::ClusterMap;
use super::metrics::WorkerMetrics;
use super::options::Options;
use super::route;
use super::session::{Client, Replies};
use crate::cluster::Topology;
use crate::command::{Class, Flags, Group, Spec, describe, lookup};
use crate::resp::{Encoder, Protocol, Request, parse_i64};
use std::sync::Arc;
use std::time::Instant;

/// What a client that must authenticate first is told.
pub(super) const NOAUTH: &str = "NOAUTH Authentication required.";

/// What the proxy says of itself when no node has told its version yet.
pub(super) const VERSION_UNKNOWN: &str = "7.0.0";

/// What an answer may draw on.
#[derive(Debug)]
pub(super) struct Env<'a> {
    /// The proxy's limits and passwords.
    pub options: &'a Options,
    /// The map, for what is known beside it.
    pub map: &'a ClusterMap,
    /// The map that requests are routed by.
    pub topology: &'a Topology,
    /// Who listens to what.
    pub listeners: &'a Listeners,
    /// The port that the client is connected to.
    pub port: u16,
    /// Clients of all workers.
    pub clients: usize,
    /// What all workers have counted.
    pub all_metrics: &'a [Arc<WorkerMetrics>],
    /// When the proxy started.
    pub started: Instant,
    /// The time.
    pub now: Instant,
    /// What only the shell knows.
    pub outside: &'a Outside,
}

/// What follows an answer.
#[derive(Debug)]
pub(super) enum After {
    /// Nothing.
    Nothing,
    /// The client's password was wrong.
    AuthFailed,
    /// The connection is closed once it is written.
    Close,
    /// The nodes must be asked: these parts make the answer.
    Gather(Box<Gather>),
}

/// Whether a command changes how those behind it are understood, so that it must wait for those
/// before it.
pub(super) fn changes_session(spec: &Spec) -> bool {
    matches!(spec.name, "hello" | "auth" | "reset" | "select" | "quit")
}

/// The row that counts what is in no row.
pub(super) fn unknown_spec() -> &'static Spec {
    lookup(b"command").expect("COMMAND is in the table")
}

/// Answers a command of class *local*.
pub(super) fn answer(
    client: &mut Client,
    request: &Request<'_>,
    spec: &'static Spec,
    env: &Env<'_>,
    out: &mut Vec<u8>,
) -> After {
    let mut reply = Encoder::new(out, client.protocol);
    match spec.name {
        "ping" if client.listens && client.protocol == Protocol::Resp2 && request.len() <= 2 => {
            reply.array(2);
            reply.bulk("pong");
            reply.bulk(request.get(1).unwrap_or_default());
        }
        "ping" => match request.get(1) {
            None => reply.simple("PONG"),
            Some(text) if request.len() == 2 => reply.bulk(text),
            Some(_) => reply.error("ERR wrong number of arguments for 'ping' command"),
        },
        "echo" => reply.bulk(request.arg(1)),
        "quit" => {
            reply.ok();
            return After::Close;
        }
        "auth" => return auth(client, request, env, &mut reply),
        "hello" => return hello(client, request, env, out),
        "reset" => {
            client.protocol = Protocol::Resp2;
            client.database = 0;
            client.no_touch = false;
            client.authenticated = env.options.password.is_none();
            client.replies = Replies::On;
            client.names = None;
            client.tracking = None;
            Encoder::new(out, Protocol::Resp2).simple("RESET");
        }
        "select" => match parse_i64(request.arg(1)) {
            Some(number) => match u32::try_from(number) {
                Ok(database) if database < env.map.databases() => {
                    client.database = database;
                    reply.ok();
                }
                _ if env.map.databases() > 1 => reply.error("ERR DB index is out of range"),
                _ => reply.error(
                    "ERR SELECT is not allowed in cluster mode: only database 0 is behind this \
                     proxy",
                ),
            },
            None => reply.error("ERR value is not an integer or out of range"),
        },
        "readonly" | "readwrite" | "asking" => reply.ok(),
        "time" => introspect::time(env, &mut reply),
        "role" => {
            // A primary without replicas, as a single server would be.
            reply.array(3);
            reply.bulk("master");
            reply.integer(0);
            reply.array(0);
        }
        "lastsave" => reply.integer(introspect::start_time(env)),
        "lolwut" => reply.verbatim(format!("Keyway {}\n", env!("CARGO_PKG_VERSION"))),
        "info" => return info(request, env, out, client.protocol),
        "config|get" => introspect::config_get(request, env, &mut reply),
        "acl|whoami" => reply.bulk("default"),
        "acl|cat" => introspect::acl_cat(request, &mut reply),
        "acl|genpass" => introspect::acl_genpass(request, env, &mut reply),
        // As of a server whose latency-monitor-threshold is 0, which CONFIG GET says it is.
        "latency|latest" | "latency|history" => reply.array(0),
        "latency|reset" => reply.integer(0),
        "latency|graph" => {
            let event = String::from_utf8_lossy(request.arg(2));
            reply.error(format!("ERR No samples available for event '{event}'"));
        }
        "latency|histogram" => info::latency_histogram(request, env, &mut reply),
        "latency|doctor" => reply.verbatim(
            "The proxy keeps no latency events. SLOWLOG GET shows the requests that took long, \
             LATENCY HISTOGRAM how long each command takes; for events of a node, ask that node.\n",
        ),
        "memory|doctor" => {
            reply.verbatim("The proxy holds no data: ask its nodes.\n");
        }
        name if name.ends_with("|help") => describe::help(&mut reply, spec, &mut is_available),
        name if name.starts_with("client|") => introspect::client(client, request, spec, out),
        name if name.starts_with("cluster|") => {
            introspect::cluster(client, request, spec, env, &mut reply);
        }
        name if name == "command" || name.starts_with("command|") => {
            introspect::command(request, spec, &mut reply);
        }
        _ => reply.error(route::refusal(spec).to_string()),
    }
    After::Nothing
}

fn auth(
    client: &mut Client,
    request: &Request<'_>,
    env: &Env<'_>,
    reply: &mut Encoder<'_>,
) -> After {
    let (user, password) = match request.len() {
        2 => (&b"default"[..], request.arg(1)),
        3 => (request.arg(1), request.arg(2)),
        _ => {
            reply.error("ERR syntax error");
            return After::Nothing;
        }
    };
    if env.options.password.is_none() && request.len() == 2 {
        reply.error(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        );
        return After::AuthFailed;
    }
    if authenticate(client, user, password, env) {
        reply.ok();
        After::Nothing
    } else {
        reply.error(WRONGPASS);
        After::AuthFailed
    }
}

const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// One text and one path for an unknown user and a wrong password: neither tells which it was.
fn authenticate(client: &mut Client, user: &[u8], password: &[u8], env: &Env<'_>) -> bool {
    let right = match &env.options.password {
        Some(secret) => secret.matches(password),
        None => true,
    };
    let known = user == b"default";
    let granted = right & known;
    if granted {
        client.authenticated = true;
    }
    granted
}

/// `HELLO [2|3 [AUTH user password] [SETNAME name]]`. Nothing changes unless all of it is right.
fn hello(client: &mut Client, request: &Request<'_>, env: &Env<'_>, out: &mut Vec<u8>) -> After {
    let mut reply = Encoder::new(out, client.protocol);
    let mut protocol = client.protocol;
    if let Some(version) = request.get(1) {
        protocol = match parse_i64(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => {
                reply.error("NOPROTO unsupported protocol version");
                return After::Nothing;
            }
            None => {
                reply.error("ERR Protocol version is not an integer or out of range");
                return After::Nothing;
            }
        };
    }
    let mut credentials = None;
    let mut name = None;
    let mut at = 2;
    while let Some(option) = request.get(at) {
        if option.eq_ignore_ascii_case(b"auth") && at + 2 < request.len() {
            credentials = Some((request.arg(at + 1), request.arg(at + 2)));
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && at + 1 < request.len() {
            name = Some(request.arg(at + 1));
            at += 2;
        } else {
            let option = String::from_utf8_lossy(option);
            reply.error(format!("ERR Syntax error in HELLO option '{option}'"));
            return After::Nothing;
        }
    }
    if let Some((user, password)) = credentials
        && !authenticate(client, user, password, env)
    {
        reply.error(WRONGPASS);
        return After::AuthFailed;
    }
    if !client.authenticated {
        reply.error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        );
        return After::AuthFailed;
    }
    if let Some(name) = name {
        if !introspect::is_name(name) {
            reply.error(introspect::BAD_NAME);
            return After::Nothing;
        }
        client.names.get_or_insert_default().name = name.to_vec();
    }
    client.protocol = protocol;
    let version = env.map.lowest_version();
    let mut reply = Encoder::new(out, protocol);
    reply.map(7);
    reply.bulk("server");
    reply.bulk("redis");
    reply.bulk("version");
    reply.bulk(version.as_deref().unwrap_or(VERSION_UNKNOWN));
    reply.bulk("proto");
    reply.integer(i64::from(protocol.number()));
    reply.bulk("id");
    reply.integer(client.id as i64);
    reply.bulk("mode");
    reply.bulk("standalone");
    reply.bulk("role");
    reply.bulk("master");
    reply.bulk("modules");
    reply.array(0);
    After::Nothing
}

/// INFO: the proxy's own sections at once; the keyspace is the sum of the nodes'.
fn info(request: &Request<'_>, env: &Env<'_>, out: &mut Vec<u8>, protocol: Protocol) -> After {
    let wanted = info::Wanted::new(request);
    let text = info::text(&wanted, env);
    if wanted.has("keyspace", true) {
        let kind = Kind::Info { before: text.clone() };
        let bytes_max = env.options.gather_bytes;
        if let Ok(gather) = route::to_every_shard(kind, false, env.topology, bytes_max) {
            return After::Gather(Box::new(gather));
        }
    }
    Encoder::new(out, protocol).verbatim(text);
    After::Nothing
}

/// Whether the proxy knows what to do with a command: what COMMAND lists.
pub(super) fn is_available(spec: &Spec) -> bool {
    let here = match spec.class {
        Class::Refused => false,
        Class::Pinned => is_pinned_here(spec),
        _ => true,
    };
    here && !spec.flags.contains(Flags::MODULE)
}

/// Whether a command that needs connections of its own is one that the proxy has them for.
fn is_pinned_here(spec: &Spec) -> bool {
    spec.group == Group::Transactions
        || matches!(spec.name, "client|no-touch" | "client|tracking" | "client|caching")
        || matches!(spec.name, "wait" | "waitaof" | "monitor")
        || (spec.flags.contains(Flags::BLOCKING) && !spec.keys.is_empty())
}
