//! What the proxy shows of itself and of its clients, in the words of one Redis server.

use super::local::{self, Env};
use super::options::Options;
use super::session::{Client, Replies};
use super::tracking;
use crate::cluster::{Endpoint, Slot};
use crate::command::{Categories, Spec, all, describe};
use crate::resp::{Encoder, Request, parse_i64};
use crate::value::{Case, glob_match};
use std::fmt::Write as _;
use std::time::Duration;

/// What a client may not call itself.
pub(super) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/// Whether a client may call itself so.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// TIME.
pub(super) fn time(env: &Env<'_>, reply: &mut Encoder<'_>) {
    let unix_us = (env.outside.unix_us)();
    reply.array(2);
    reply.bulk((unix_us / 1_000_000).to_string());
    reply.bulk((unix_us % 1_000_000).to_string());
}

/// Seconds since the Unix epoch at the proxy's start.
pub(super) fn start_time(env: &Env<'_>) -> i64 {
    let up = env.now.saturating_duration_since(env.started);
    ((env.outside.unix_us)() / 1_000_000) as i64 - up.as_secs() as i64
}

/// CLIENT …, as far as it concerns this client alone.
pub(super) fn client(client: &mut Client, request: &Request<'_>, spec: &Spec, out: &mut Vec<u8>) {
    let mut reply = Encoder::new(out, client.protocol);
    let names = client.names.get_or_insert_default();
    match spec.name {
        "client|id" => reply.integer(client.id as i64),
        "client|getname" if names.name.is_empty() => reply.null(),
        "client|getname" => reply.bulk(&names.name),
        "client|setname" => {
            if is_name(request.arg(2)) {
                names.name = request.arg(2).to_vec();
                reply.ok();
            } else {
                reply.error(BAD_NAME);
            }
        }
        "client|setinfo" => {
            let (attribute, value) = (request.arg(2), request.arg(3));
            let field = if attribute.eq_ignore_ascii_case(b"lib-name") {
                &mut names.lib_name
            } else if attribute.eq_ignore_ascii_case(b"lib-ver") {
                &mut names.lib_version
            } else {
                let attribute = String::from_utf8_lossy(attribute);
                return reply.error(format!("ERR Unrecognized option '{attribute}'"));
            };
            if is_name(value) {
                *field = value.to_vec();
                reply.ok();
            } else {
                let attribute = String::from_utf8_lossy(attribute).to_ascii_lowercase();
                reply.error(format!(
                    "ERR {attribute} cannot contain spaces, newlines or special characters."
                ));
            }
        }
        "client|reply" => {
            let mode = request.arg(2);
            if mode.eq_ignore_ascii_case(b"on") {
                client.replies = Replies::On;
                reply.ok();
            } else if mode.eq_ignore_ascii_case(b"off") {
                client.replies = Replies::Off;
            } else if mode.eq_ignore_ascii_case(b"skip") {
                if client.replies == Replies::On {
                    client.replies = Replies::SkipNext;
                }
            } else {
                reply.error("ERR syntax error");
            }
        }
        "client|no-evict" => {
            let mode = request.arg(2);
            if mode.eq_ignore_ascii_case(b"on") || mode.eq_ignore_ascii_case(b"off") {
                reply.ok();
            } else {
                reply.error("ERR syntax error");
            }
        }
        "client|getredir" => reply.integer(tracking::redirect(client.tracking.as_deref())),
        "client|capa" => reply.ok(),
        "client|trackinginfo" => {
            tracking::write_info(client.tracking.as_deref(), &mut reply);
        }
        _ => {
            let name = spec.name.replace('|', " ").to_ascii_uppercase();
            reply.error(super::route::Refusal::NotYetHere(name).to_string());
        }
    }
}

/// What of a server's parameters is true of the proxy, in alphabetical order.
pub(super) fn parameters(options: &Options, databases: u32) -> [(&'static str, String); 13] {
    let slow_us = match options.slow_after {
        Duration::ZERO => "-1".to_owned(),
        after => after.as_micros().to_string(),
    };
    [
        ("appendonly", "no".to_owned()),
        ("databases", databases.to_string()),
        ("latency-monitor-threshold", "0".to_owned()),
        ("maxclients", options.clients_max.to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("proto-max-bulk-len", options.limits.bulk_bytes.to_string()),
        ("requirepass", String::new()),
        ("save", String::new()),
        ("slowlog-log-slower-than", slow_us),
        ("slowlog-max-len", options.slow_kept.to_string()),
        ("tcp-keepalive", "300".to_owned()),
        ("timeout", options.idle_timeout.as_secs().to_string()),
    ]
}

/// CONFIG GET.
pub(super) fn config_get(request: &Request<'_>, env: &Env<'_>, reply: &mut Encoder<'_>) {
    let parameters = parameters(env.options, env.map.databases());
    let shown: Vec<_> = parameters
        .iter()
        .filter(|(name, _)| {
            request.args_from(2).any(|pattern| glob_match(pattern, name.as_bytes(), Case::Ignored))
        })
        .collect();
    reply.map(shown.len());
    for (name, value) in shown {
        reply.bulk(name);
        reply.bulk(value);
    }
}

/// ACL CAT.
pub(super) fn acl_cat(request: &Request<'_>, reply: &mut Encoder<'_>) {
    let every = all().iter().fold(Categories::NONE, |sum, spec| sum.union(spec.categories()));
    let Some(category) = request.get(2) else {
        let names: Vec<&str> = every.names().collect();
        reply.array(names.len());
        for name in names {
            reply.bulk(name.trim_start_matches('@'));
        }
        return;
    };
    let wanted = |spec: &Spec| {
        spec.categories().names().any(|name| name.as_bytes()[1..].eq_ignore_ascii_case(category))
    };
    let commands: Vec<&Spec> = all().iter().filter(|spec| wanted(spec)).collect();
    if commands.is_empty() {
        let category = String::from_utf8_lossy(category);
        return reply.error(format!("ERR Unknown category '{category}'"));
    }
    reply.array(commands.len());
    for spec in commands {
        reply.bulk(spec.name);
    }
}

/// ACL GENPASS.
pub(super) fn acl_genpass(request: &Request<'_>, env: &Env<'_>, reply: &mut Encoder<'_>) {
    let bits = match request.get(2).map(parse_i64) {
        None => 256,
        Some(Some(bits @ 1..=4096)) => bits as usize,
        Some(_) => {
            return reply.error(
                "ERR ACL GENPASS argument must be the number of bits for the output password, a \
                 positive number up to 4096",
            );
        }
    };
    let mut digits = String::new();
    while digits.len() * 4 < bits {
        let _ = write!(digits, "{:016x}", (env.outside.random)());
    }
    digits.truncate(bits.div_ceil(4));
    reply.bulk(digits);
}

/// COMMAND …: the commands that the proxy knows what to do with.
pub(super) fn command(request: &Request<'_>, spec: &Spec, reply: &mut Encoder<'_>) {
    describe::answer(reply, spec, request, &mut local::is_available);
}

/// CLUSTER …: the proxy as the one node that owns every slot, so that a cluster-aware client works
/// too, and stays here.
pub(super) fn cluster(
    client: &Client,
    request: &Request<'_>,
    spec: &Spec,
    env: &Env<'_>,
    reply: &mut Encoder<'_>,
) {
    let me = match &env.options.announce {
        Some(announced) => announced.clone(),
        None => Endpoint::new(client.local.ip().to_string(), client.local.port()),
    };
    let id = node_id(&me);
    match spec.name {
        "cluster|myid" => reply.bulk(&id),
        "cluster|myshardid" => reply.bulk(&id),
        "cluster|keyslot" => reply.integer(i64::from(Slot::of(request.arg(2)).number())),
        "cluster|info" => {
            let covered = env.topology.slots_covered();
            let state = if covered == Slot::COUNT { "ok" } else { "fail" };
            let epoch = env.map.epoch();
            reply.verbatim(format!(
                "cluster_state:{state}\r\ncluster_slots_assigned:{covered}\r\n\
                 cluster_slots_ok:{covered}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
                 cluster_known_nodes:1\r\ncluster_size:1\r\ncluster_current_epoch:{epoch}\r\n\
                 cluster_my_epoch:{epoch}\r\n"
            ));
        }
        "cluster|nodes" => reply.verbatim(format!(
            "{id} {}:{}@{} myself,master - 0 0 {} connected 0-16383\n",
            me.host,
            me.port,
            me.port.saturating_add(10_000),
            env.map.epoch(),
        )),
        "cluster|slots" => {
            reply.array(1);
            reply.array(3);
            reply.integer(0);
            reply.integer(Slot::COUNT as i64 - 1);
            reply.array(4);
            reply.bulk(&me.host);
            reply.integer(i64::from(me.port));
            reply.bulk(&id);
            reply.array(0);
        }
        "cluster|shards" => {
            reply.array(1);
            reply.map(2);
            reply.bulk("slots");
            reply.array(2);
            reply.integer(0);
            reply.integer(Slot::COUNT as i64 - 1);
            reply.bulk("nodes");
            reply.array(1);
            reply.map(7);
            reply.bulk("id");
            reply.bulk(&id);
            reply.bulk("port");
            reply.integer(i64::from(me.port));
            reply.bulk("ip");
            reply.bulk(&me.host);
            reply.bulk("endpoint");
            reply.bulk(&me.host);
            reply.bulk("role");
            reply.bulk("master");
            reply.bulk("replication-offset");
            reply.integer(0);
            reply.bulk("health");
            reply.bulk("online");
        }
        "cluster|replicas" | "cluster|slaves" | "cluster|count-failure-reports"
            if request.arg(2) != id.as_bytes() =>
        {
            let named = String::from_utf8_lossy(request.arg(2));
            reply.error(format!("ERR Unknown node {named}"));
        }
        "cluster|replicas" | "cluster|slaves" | "cluster|links" => reply.array(0),
        "cluster|count-failure-reports" => reply.integer(0),
        _ => reply.error(super::route::refusal(spec).to_string()),
    }
}

/// The id of the one node that the proxy shows: the same for every worker and after a restart.
fn node_id(me: &Endpoint) -> String {
    let text = me.to_string();
    (0..20u8)
        .map(|salt| {
            let mut bytes = vec![salt];
            bytes.extend_from_slice(text.as_bytes());
            format!("{:02x}", crc16::State::<crc16::XMODEM>::calculate(&bytes) & 0xff)
        })
        .collect()
}
