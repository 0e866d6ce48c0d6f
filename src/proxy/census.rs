//! Who listens, as PUBSUB tells it: this proxy's clients, and those of the nodes that are not its
//! own connections.
//!
//! The nodes count one connection per worker where there may be thousands of clients. So what they
//! count is corrected by what is known here; what is left are listeners of other proxies, and of
//! clients that use the cluster directly.

use super::elements::{Malformed, array, bulk_text, element_len, integer};
use super::listeners::{Count, Listeners};
use super::topics::TopicKind;
use crate::command::Spec;
use crate::resp::{Encoder, Request};
use crate::value::{Case, glob_match};
use std::collections::BTreeSet;

/// One question, and what is known of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Census {
    /// PUBSUB CHANNELS, PUBSUB SHARDCHANNELS: names.
    Names(BTreeSet<Box<[u8]>>),
    /// PUBSUB NUMSUB, PUBSUB SHARDNUMSUB: a count for each name of the request.
    Counts {
        /// Of this proxy.
        own: Vec<Count>,
        /// What the nodes count together.
        nodes: Vec<i64>,
    },
    /// PUBSUB NUMPAT: no two nodes count the same patterns, so the most that anyone counts is all
    /// that is certain.
    Patterns(i64),
}

impl Census {
    /// What this proxy knows. `None` for a command that asks something else.
    pub(super) fn new(spec: &Spec, request: &Request<'_>, listeners: &Listeners) -> Option<Self> {
        let names = |kind| {
            let pattern = request.get(2);
            let wanted = |name: &[u8]| {
                pattern.is_none_or(|p| p == b"*" || glob_match(p, name, Case::Sensitive))
            };
            let all = listeners.names(kind).into_iter();
            Self::Names(all.filter(|name| wanted(name)).collect())
        };
        let counts = |kind| {
            let own: Vec<Count> =
                request.args_from(2).map(|name| listeners.count(kind, name)).collect();
            Self::Counts { nodes: vec![0; own.len()], own }
        };
        Some(match spec.name {
            "pubsub|channels" => names(TopicKind::Channel),
            "pubsub|shardchannels" => names(TopicKind::Shard),
            "pubsub|numsub" => counts(TopicKind::Channel),
            "pubsub|shardnumsub" => counts(TopicKind::Shard),
            "pubsub|numpat" => Self::Patterns(listeners.topics(TopicKind::Pattern) as i64),
            _ => return None,
        })
    }

    /// A node has answered.
    ///
    /// # Errors
    /// With something else.
    pub(super) fn add(&mut self, reply: &[u8]) -> Result<(), Malformed> {
        match self {
            Self::Names(names) => {
                let (count, mut body) = array(reply)?;
                for _ in 0..count {
                    names.insert(bulk_text(next(&mut body)?).ok_or(Malformed)?.into());
                }
            }
            Self::Counts { nodes, .. } => {
                let (_, mut body) = array(reply)?;
                for count in nodes {
                    next(&mut body)?;
                    *count += integer(next(&mut body)?)?;
                }
            }
            Self::Patterns(most) => *most = integer(reply)?.max(*most),
        }
        Ok(())
    }

    /// Writes the answer.
    pub(super) fn write(&self, request: &Request<'_>, reply: &mut Encoder<'_>) {
        match self {
            Self::Names(names) => {
                reply.array(names.len());
                for name in names {
                    reply.bulk(name);
                }
            }
            Self::Counts { own, nodes } => {
                reply.array(own.len() * 2);
                for ((name, own), nodes) in request.args_from(2).zip(own).zip(nodes) {
                    reply.bulk(name);
                    reply.integer(own.clients + (nodes - own.links).max(0));
                }
            }
            Self::Patterns(most) => reply.integer(*most),
        }
    }
}

/// The next element of an array's body.
fn next<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    if body.is_empty() {
        return Err(Malformed);
    }
    let len = element_len(body).ok_or(Malformed)?;
    let (element, rest) = body.split_at(len);
    *body = rest;
    Ok(element)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Endpoint;
    use crate::command::lookup_request;
    use crate::resp::{OwnedRequest, Protocol};

    fn answer(line: &str, listeners: &Listeners, replies: &[&str]) -> String {
        let args: Vec<&str> = line.split(' ').collect();
        let request = OwnedRequest::from_args(&args);
        let request = request.as_request();
        let spec = lookup_request(&request).expect("in the table");
        let mut census = Census::new(spec, &request, listeners).expect("it is one");
        for reply in replies {
            census.add(reply.as_bytes()).expect("valid");
        }
        let mut out = Vec::new();
        census.write(&request, &mut Encoder::new(&mut out, Protocol::Resp2));
        String::from_utf8(out).expect("text").replace("\r\n", "|")
    }

    #[test]
    fn connections_of_the_proxy_are_no_listeners_and_its_clients_are() {
        let listeners = Listeners::default();
        // Five clients on two workers, whose connections are on two nodes.
        for _ in 0..5 {
            listeners.add_client(TopicKind::Channel, b"a", 0, 1);
        }
        let nodes = [Endpoint::new("n", 1), Endpoint::new("n", 2)];
        for node in &nodes {
            listeners.add_link(TopicKind::Channel, b"a", node, 0, 1);
        }
        listeners.add_client(TopicKind::Pattern, b"a*", 0, 1);
        let of_two_nodes = [
            "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n",
            "*4\r\n$1\r\na\r\n:4\r\n$1\r\nb\r\n:2\r\n",
        ];
        assert_eq!(
            answer("PUBSUB NUMSUB a b", &listeners, &of_two_nodes),
            "*4|$1|a|:8|$1|b|:2|",
            "three of the four on the second node are not ours"
        );
        assert_eq!(
            answer("PUBSUB CHANNELS", &listeners, &["*1\r\n$1\r\na\r\n", "*1\r\n$1\r\nz\r\n"]),
            "*2|$1|a|$1|z|"
        );
        assert_eq!(answer("PUBSUB CHANNELS z*", &listeners, &["*0\r\n"]), "*0|");
        assert_eq!(answer("PUBSUB NUMPAT", &listeners, &[":0\r\n", ":3\r\n"]), ":3|");
        listeners.add_client(TopicKind::Channel, b"a", 0, -5);
        for node in &nodes {
            listeners.add_link(TopicKind::Channel, b"a", node, 0, -1);
        }
        assert_eq!(listeners.count(TopicKind::Channel, b"a"), Count::default());
        assert_eq!(listeners.names(TopicKind::Channel), Vec::<Box<[u8]>>::new());
    }
}
