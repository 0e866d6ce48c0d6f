//! PROXY …: what the proxy shows of itself, explains, and is told to do. Not a command of Redis, so
//! not in the table: it is looked for where a name is found in no row.

use super::clients::Pause;
use super::configure::CHANGEABLE;
use super::road::{Answer, Finish, Query};
use super::{Core, Dispatched, SessionId};
use crate::proxy::explain::explain;
use crate::proxy::local;
use crate::proxy::metrics::{ClientEnd, LinkEnd, Outcome, Redirect};
use crate::proxy::options::Options;
use crate::proxy::replicas::ReadFrom;
use crate::proxy::show::{Cell, Table};
use crate::resp::{Encoder, Request};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What only the workers know of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// PROXY SHOW POOLS.
    Pools,
    /// PROXY SHOW PINNED.
    Pinned,
    /// PROXY SHOW CLIENTS.
    Clients,
}

impl Rows {
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Pools => &["worker", "node", "link", "protocol", "state", "inflight", "age"],
            Self::Pinned => &["client", "worker", "node", "link", "inflight", "age"],
            Self::Clients => &[
                "id",
                "worker",
                "addr",
                "name",
                "protocol",
                "age",
                "idle",
                "command",
                "inflight",
                "unread",
                "subscriptions",
            ],
        }
    }
}

/// PROXY PAUSE lasts until PROXY RESUME: for longer than any operator's patience.
const FOR_LONG: Duration = Duration::from_secs(365 * 86_400);

const HELP: &[&str] = &[
    "PROXY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "SHOW NODES|SLOTS|POOLS|PINNED|CLIENTS|STATS|CONFIG|ERRORS",
    "    What the proxy knows: maps in RESP3, columns in RESP2.",
    "EXPLAIN <command> [<arg> ...]",
    "    Where a command would go, and what becomes of it when a connection is lost.",
    "REFRESH",
    "    Have the topology read again (needs admin_commands).",
    "PAUSE [WRITE|ALL]",
    "    Hold the requests of all clients until RESUME (needs admin_commands).",
    "RESUME",
    "    Let them go on (needs admin_commands).",
    "HELP",
    "    Print this help.",
];

/// Whether a request is one of these. The first line of the PROXY protocol (`PROXY TCP4 …`, from a load
/// balancer that is set up to send it) is none: it is as unknown to us as to a server.
pub(super) fn is_proxy_command(request: &Request<'_>) -> bool {
    let names_a_protocol = |word: &[u8]| [&b"TCP4"[..], b"TCP6", b"UNKNOWN"].contains(&word);
    request.name().eq_ignore_ascii_case(b"proxy") && !request.get(1).is_some_and(names_a_protocol)
}

impl Core {
    /// Answers PROXY ….
    pub(super) fn proxy_command(&mut self, id: SessionId, now: Instant) -> Dispatched {
        let session = &self.sessions[id.index()];
        let request = session.at_hand();
        let word = |at: usize| {
            request.get(at).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase())
        };
        let (first, second) = (word(1).unwrap_or_default(), word(2).unwrap_or_default());
        let spec = local::unknown_spec();
        let answer =
            match (first.as_str(), second.as_str(), request.len()) {
                ("SHOW", "POOLS" | "PINNED" | "CLIENTS", 3) => {
                    let rows = match second.as_str() {
                        "POOLS" => Rows::Pools,
                        "PINNED" => Rows::Pinned,
                        _ => Rows::Clients,
                    };
                    let finish = Finish::Table(rows.columns());
                    return self.ask_workers(id, spec, Query::Rows(rows), finish, now);
                }
                ("SHOW", "NODES", 3) => Ok(self.show_nodes()),
                ("SHOW", "SLOTS", 3) => Ok(self.show_slots()),
                ("SHOW", "STATS", 3) => Ok(self.show_stats(now)),
                ("SHOW", "CONFIG", 3) => Ok(self.show_config()),
                ("SHOW", "ERRORS", 3) => Ok(self.show_errors()),
                ("EXPLAIN", ..) => explain(&request, self.backends.topology()),
                ("HELP", _, 2) | ("SHOW", "HELP", 3) => {
                    return self.say(id, spec, |_, reply| help(reply), now);
                }
                ("REFRESH" | "RESUME", _, 2) | ("PAUSE", _, 2 | 3) => {
                    let writes_only = second == "WRITE";
                    let known = matches!(second.as_str(), "" | "ALL" | "WRITE");
                    let line = if !self.options.admin_commands {
                        Err(format!("ERR PROXY {first} needs admin_commands in the configuration"))
                    } else if !known {
                        Err("ERR PROXY PAUSE mode must be WRITE or ALL".to_owned())
                    } else {
                        Ok(())
                    };
                    let act = |core: &mut Self, reply: &mut Encoder<'_>| match line {
                        Err(line) => reply.error(line),
                        Ok(()) => {
                            core.administer(&first, writes_only, now);
                            reply.ok();
                        }
                    };
                    return self.say(id, spec, act, now);
                }
                _ => Err(b"ERR unknown subcommand or wrong number of arguments. Try PROXY HELP."
                    .to_vec()),
            };
        self.say(
            id,
            spec,
            |_, reply| match answer {
                Ok(table) => table.write(reply),
                Err(line) => reply.error(line),
            },
            now,
        )
    }

    fn administer(&mut self, command: &str, writes_only: bool, now: Instant) {
        match command {
            "REFRESH" => self.shared.map.want_refresh(),
            "PAUSE" => self.pause_clients(Some(Pause::new(now + FOR_LONG, writes_only)), now),
            _ => self.pause_clients(None, now),
        }
    }

    pub(super) fn answer_rows(&self, rows: Rows, now: Instant) -> Answer {
        let rows = match rows {
            Rows::Pools => self.list_pools(now),
            Rows::Pinned => self.list_pinned(now),
            Rows::Clients => self.list_client_rows(now),
        };
        Answer { rows, ..Answer::default() }
    }

    fn list_pools(&self, now: Instant) -> Vec<Vec<Cell>> {
        let age = |at| now.saturating_duration_since(at).as_secs();
        self.backends
            .links()
            .map(|(id, link)| {
                let state = match (link.is_closed(), link.is_ready(), link.suspect) {
                    (true, ..) => "closed",
                    (_, false, _) => "connecting",
                    (_, _, true) => "silent",
                    _ => "ready",
                };
                vec![
                    self.worker.into(),
                    link.endpoint.to_string().into(),
                    self.backends.role_of(id, link).into(),
                    u64::from(self.backends.lanes.setup(link.lane).protocol.number()).into(),
                    state.into(),
                    link.in_flight().into(),
                    age(link.opened).into(),
                ]
            })
            .collect()
    }

    /// The connections that clients have to themselves.
    fn list_pinned(&self, now: Instant) -> Vec<Vec<Cell>> {
        let owned = self.backends.links().filter_map(|(id, link)| {
            let owner = link.role.owner()?;
            let session = self.sessions.get(owner.session as usize)?;
            let session = Some(session).filter(|s| s.incarnation == owner.incarnation)?;
            Some(vec![
                session.client.id.into(),
                self.worker.into(),
                link.endpoint.to_string().into(),
                self.backends.role_of(id, link).into(),
                link.in_flight().into(),
                now.saturating_duration_since(link.opened).as_secs().into(),
            ])
        });
        owned.collect()
    }

    fn list_client_rows(&self, now: Instant) -> Vec<Vec<Cell>> {
        let age = |at| now.saturating_duration_since(at).as_secs();
        let sessions = self.sessions.iter().map(|(_, session)| {
            let client = &session.client;
            let name = client.names.as_deref().map_or(&b""[..], |names| &names.name);
            let listens = session.listening.as_ref();
            let listens = listens.map_or(0, |all| all.count(&crate::proxy::topics::TopicKind::ALL));
            let command = session.pipeline.newest().or(client.last);
            vec![
                client.id.into(),
                self.worker.into(),
                client.peer.to_string().into(),
                String::from_utf8_lossy(name).into_owned().into(),
                u64::from(client.protocol.number()).into(),
                age(client.connected).into(),
                age(client.active).into(),
                command.map_or("", |spec| spec.name).into(),
                session.pipeline.len().into(),
                session.unread().into(),
                listens.into(),
            ]
        });
        sessions.collect()
    }

    fn show_nodes(&self) -> Table {
        let topology = self.backends.topology();
        let mut slots = BTreeMap::<usize, u64>::new();
        for slot in crate::cluster::Slot::all() {
            if let Some(owner) = topology.owner(slot) {
                *slots.entry(owner.index()).or_default() += 1;
            }
        }
        let rows = topology.nodes().map(|(index, node)| {
            let cells: Vec<_> = self
                .all_metrics
                .iter()
                .flat_map(|worker| worker.nodes())
                .filter(|cells| cells.endpoint == node.endpoint)
                .collect();
            let sum = |of: fn(&crate::proxy::metrics::NodeMetrics) -> u64| -> u64 {
                cells.iter().map(|cells| of(cells)).sum()
            };
            let oldest = cells.iter().map(|cells| cells.oldest_us.get()).max().unwrap_or(0);
            let reached = cells.iter().all(|cells| cells.up.get() == 1);
            vec![
                node.endpoint.to_string().into(),
                node.id.map_or_else(String::new, |id| id.to_string()).into(),
                if node.primary { "primary" } else { "replica" }.into(),
                if cells.is_empty() {
                    "unused"
                } else if reached {
                    "up"
                } else {
                    "down"
                }
                .into(),
                slots.get(&index.index()).copied().unwrap_or(0).into(),
                node.config_epoch.0.into(),
                sum(|cells| cells.connections.get()).into(),
                sum(|cells| cells.inflight.get()).into(),
                (oldest / 1000).into(),
                sum(|cells| LinkEnd::ALL.iter().map(|&end| cells.ended[end as usize].get()).sum())
                    .into(),
            ]
        });
        let columns = &[
            "node",
            "id",
            "role",
            "state",
            "slots",
            "epoch",
            "connections",
            "inflight",
            "oldest_ms",
            "closed",
        ];
        Table::new(columns, rows.collect())
    }

    fn show_slots(&self) -> Table {
        let topology = self.backends.topology();
        let mut ranges: Vec<(u16, u16, Option<crate::cluster::NodeIndex>)> = Vec::new();
        for slot in crate::cluster::Slot::all() {
            let owner = topology.owner(slot);
            match ranges.last_mut() {
                Some((_, last, of)) if *of == owner => *last = slot.number(),
                _ => ranges.push((slot.number(), slot.number(), owner)),
            }
        }
        let rows = ranges.into_iter().map(|(first, last, owner)| {
            let node =
                owner.map_or_else(String::new, |node| topology.node(node).endpoint.to_string());
            vec![u64::from(first).into(), u64::from(last).into(), node.into()]
        });
        Table::new(&["first", "last", "node"], rows.collect())
    }

    fn show_stats(&self, now: Instant) -> Table {
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        let mut put = |name: String, value: Cell| rows.push(vec![name.into(), value]);
        let workers = || self.all_metrics.iter();
        let up = now.saturating_duration_since(self.started).as_secs();
        put("uptime_seconds".to_owned(), up.into());
        put("workers".to_owned(), self.all_metrics.len().into());
        put("clients".to_owned(), workers().map(|w| w.clients.get()).sum::<u64>().into());
        for &outcome in Outcome::ALL {
            let count: u64 = workers().map(|w| w.count_all(outcome)).sum();
            put(format!("commands_{}", outcome.name()), count.into());
        }
        for &redirect in Redirect::ALL {
            let count: u64 = workers().map(|w| w.redirects[redirect as usize].get()).sum();
            put(format!("redirects_{}", redirect.name()), count.into());
        }
        for &end in ClientEnd::ALL {
            let count: u64 = workers().map(|w| w.clients_ended[end as usize].get()).sum();
            put(format!("clients_closed_{}", end.name().replace('-', "_")), count.into());
        }
        put("retries".to_owned(), workers().map(|w| w.retries.get()).sum::<u64>().into());
        let waiting = workers().map(|w| w.rideout_commands.get()).sum::<u64>();
        put("waiting_for_nodes".to_owned(), waiting.into());
        put("messages".to_owned(), workers().map(|w| w.messages.get()).sum::<u64>().into());
        let age = self.shared.map.age(now).map_or(-1, |age| age.as_millis() as i64);
        put("topology_age_ms".to_owned(), age.into());
        put("topology_generation".to_owned(), self.backends.topology().generation().into());
        Table::new(&["name", "value"], rows)
    }

    fn show_errors(&self) -> Table {
        let mut codes = BTreeMap::<String, u64>::new();
        for (code, count) in self.all_metrics.iter().flat_map(|worker| worker.errors()) {
            *codes.entry(code).or_default() += count;
        }
        let rows = codes.into_iter().map(|(code, count)| vec![code.into(), count.into()]);
        Table::new(&["code", "count"], rows.collect())
    }

    /// What counts now, what would if nobody had said anything, and what CONFIG SET may change. Of secrets only
    /// whether there are any.
    fn show_config(&self) -> Table {
        let defaults = config_values(&Options::default()).into_iter().map(|(_, value)| value);
        let rows = config_values(&self.options).into_iter().zip(defaults);
        let rows = rows.map(|((name, value), default)| {
            let changeable = self.options.admin_commands && CHANGEABLE.contains(&name);
            vec![name.into(), value, default, if changeable { "yes" } else { "no" }.into()]
        });
        Table::new(&["name", "value", "default", "changeable"], rows.collect())
    }
}

/// Each option, as the configuration calls it.
fn config_values(options: &Options) -> Vec<(&'static str, Cell)> {
    let time = |time: Duration| Cell::from(format!("{time:?}"));
    let yes = |is: bool| Cell::from(if is { "yes" } else { "no" });
    let set = |is: bool| Cell::from(if is { "set" } else { "not set" });
    let reads = ReadFrom::ALL.iter().find(|(_, from)| *from == options.read_from);
    vec![
        ("clients_max", options.clients_max.into()),
        ("client_inflight_max", options.client_inflight_max.into()),
        ("client_output_soft", options.client_output_soft.into()),
        ("client_output_hard", options.client_output_hard.into()),
        ("client_input_bytes", options.client_input_bytes.into()),
        ("subscriber_output", options.subscriber_output.into()),
        ("subscriber_output_soft", options.subscriber_output_soft.into()),
        ("subscriber_output_time", time(options.subscriber_output_time)),
        ("request_bytes", options.limits.request_bytes.into()),
        ("arguments_max", options.limits.arguments_max.into()),
        ("bulk_bytes", options.limits.bulk_bytes.into()),
        ("inline_bytes", options.limits.inline_bytes.into()),
        ("reply_depth", options.limits.reply_depth.into()),
        ("gather_bytes", options.gather_bytes.into()),
        ("large_bytes", options.large_bytes.into()),
        ("ride_out_bytes", options.ride_out_bytes.into()),
        ("pinned_max", options.pinned_max.into()),
        ("transaction_bytes", options.transaction_bytes.into()),
        ("script_bytes", options.script_bytes.into()),
        ("redirects_max", u64::from(options.redirects_max).into()),
        ("slow_kept", options.slow_kept.into()),
        ("idle_timeout", time(options.idle_timeout)),
        ("handshake_timeout", time(options.handshake_timeout)),
        ("request_timeout", time(options.request_timeout)),
        ("connect_timeout", time(options.connect_timeout)),
        ("suspect_after", time(options.suspect_after)),
        ("backend_timeout", time(options.backend_timeout)),
        ("slow_after", time(options.slow_after)),
        ("ride_out", time(options.ride_out)),
        ("wake_pause", time(options.wake_pause)),
        ("refresh", time(options.refresh)),
        ("refresh_min", time(options.refresh_min)),
        ("drain_timeout", time(options.drain_timeout)),
        ("read_from", reads.map_or("", |(word, _)| word).into()),
        ("max_lag", time(options.max_lag)),
        ("protected_mode", yes(options.protected_mode)),
        ("admin_commands", yes(options.admin_commands)),
        ("password", set(options.password.is_some())),
        ("backend_password", set(options.backend_password.is_some())),
    ]
}

fn help(reply: &mut Encoder<'_>) {
    reply.array(HELP.len());
    for line in HELP {
        reply.simple(line);
    }
}
