//! Runs one script in one place and compares line by line.

use super::script::{Line, Script, Step, Subject, Verb};
use super::text::{expand, matches, show, words};
use crate::support::{Client, Cluster, Loss, Server, eventually};
use keyway::resp::Reply;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Where a script runs.
pub(super) enum Place {
    Alone(Server),
    Cluster { cluster: Cluster, proxy: Option<Server> },
}

impl Place {
    fn port(&self, connection: &str, nodes: &[String]) -> u16 {
        match self {
            Self::Alone(server) => server.port(),
            Self::Cluster { proxy: Some(proxy), .. } if connection == "proxy" => proxy.port(),
            Self::Cluster { proxy: Some(proxy), .. } if nodes.is_empty() => proxy.port(),
            Self::Cluster { cluster, .. } => {
                let index = nodes.iter().position(|node| node == connection);
                let index = index.unwrap_or_else(|| panic!("no node is named `{connection}`"));
                cluster.nodes()[index].port()
            }
        }
    }

    /// What the script's names of nodes stand for in an argument of its own, and in a reply.
    fn names(&self, nodes: &[String]) -> Vec<(String, String, String)> {
        let Self::Cluster { cluster, .. } = self else { return Vec::new() };
        let named = nodes.iter().enumerate();
        named.map(|(i, name)| (name.clone(), cluster.id(i), cluster.nodes()[i].address())).collect()
    }
}

/// A step that went another way.
pub(super) struct Failure {
    at: String,
    command: String,
    expected: String,
    got: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, command, expected, got } = self;
        write!(f, "{at}: {command}\n    expected {expected}\n    got      {got}")
    }
}

/// What a run came to.
pub(super) struct Outcome {
    pub(super) steps: usize,
    pub(super) failures: Vec<Failure>,
}

/// How long `until>` waits, and how long a connection may take to be closed.
const WITHIN: Duration = Duration::from_secs(10);
/// How long raw bytes that get no reply are listened after.
const SILENCE: Duration = Duration::from_millis(300);

pub(super) fn run(
    script: &mut Script,
    subject: Subject,
    place: &mut Place,
    rewrite: bool,
) -> Outcome {
    let name = script.name();
    let nodes = script.nodes.clone();
    let names = place.names(&nodes);
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut outcome = Outcome { steps: 0, failures: Vec::new() };
    for line in &mut script.lines {
        let Line::Step(step) = line else { continue };
        if !step.only.is_empty() && !step.only.contains(&subject) {
            continue;
        }
        outcome.steps += 1;
        let port = place.port(&step.connection, &nodes);
        let client =
            clients.entry(step.connection.clone()).or_insert_with(|| Client::connect(port));
        let (got, closed) = perform(step, client, &names, rewrite);
        if closed {
            clients.remove(&step.connection);
        }
        if matches(&expand(&step.reply), &got) {
            continue;
        }
        if rewrite {
            step.reply = got;
            continue;
        }
        outcome.failures.push(Failure {
            at: format!("{name}:{}", step.number),
            command: step.command.clone(),
            expected: expand(&step.reply),
            got,
        });
    }
    outcome
}

type Names = [(String, String, String)];

/// Runs one step: its reply as text, and whether the connection has been closed.
fn perform(step: &Step, client: &mut Client, names: &Names, rewrite: bool) -> (String, bool) {
    let command = expand(&step.command);
    let named = |mut text: String| {
        for (name, id, address) in names {
            text = text.replace(address, name).replace(id, name);
        }
        text
    };
    let call = |client: &mut Client| {
        let words: Vec<Vec<u8>> = words(&command)
            .into_iter()
            .map(|word| match names.iter().find(|(name, ..)| name.as_bytes() == word) {
                Some((_, id, _)) => id.clone().into_bytes(),
                None => word,
            })
            .collect();
        match client.try_call(&words) {
            Ok(reply) => (named(show(&sorted_if(step, reply))), false),
            Err(Loss::Closed(_)) => ("closed".to_owned(), true),
            Err(loss) => (format!("({loss})"), true),
        }
    };
    match step.verb {
        Verb::Call => call(client),
        Verb::Until => {
            let mut last = (String::new(), false);
            eventually(WITHIN, || {
                last = call(client);
                matches(&expand(&step.reply), &last.0).then_some(())
            });
            last
        }
        Verb::Raw => {
            let bytes = words(&command).concat();
            // The server may close before it has read everything: then the reply says why.
            let _ = client.try_send_raw(&bytes);
            let expected = if step.reply.is_empty() { Vec::new() } else { parts(&step.reply) };
            listen(client, &expected, rewrite)
        }
    }
}

/// The parts of a raw step's expectation.
fn parts(reply: &str) -> Vec<&str> {
    reply.split("; ").collect()
}

/// As many replies as are expected, and `closed` where that is; all there are when rewriting.
fn listen(client: &mut Client, expected: &[&str], rewrite: bool) -> (String, bool) {
    let mut shown = Vec::new();
    client.set_timeout(if rewrite { SILENCE } else { WITHIN });
    let mut closed = false;
    while !closed && (rewrite || shown.len() < expected.len()) {
        match client.try_reply() {
            Ok(reply) => shown.push(show(&reply)),
            Err(Loss::Closed(_)) => {
                shown.push("closed".to_owned());
                closed = true;
            }
            Err(Loss::TimedOut(_)) if rewrite => break,
            Err(loss) => {
                shown.push(format!("({loss})"));
                closed = true;
            }
        }
    }
    (shown.join("; "), closed)
}

/// Puts the reply of a command that answers in an order of its own into ours.
fn sorted_if(step: &Step, reply: Reply) -> Reply {
    if !UNORDERED.iter().any(|name| {
        step.command.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    }) {
        return reply;
    }
    sorted(reply)
}

/// Commands whose replies have no order that matters.
const UNORDERED: &[&str] = &["KEYS ", "HKEYS ", "HVALS ", "SMEMBERS "];

fn sorted(reply: Reply) -> Reply {
    match reply {
        Reply::Array(mut items) => {
            items.sort_by_key(show);
            Reply::Array(items)
        }
        Reply::Set(mut items) => {
            items.sort_by_key(show);
            Reply::Set(items)
        }
        Reply::Map(mut pairs) => {
            pairs.sort_by_key(|(key, _)| show(key));
            Reply::Map(pairs)
        }
        other => other,
    }
}
