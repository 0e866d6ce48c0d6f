//! A node's view of its cluster → the replies of CLUSTER NODES, SLOTS, SHARDS and INFO.
//!
//! The shapes are those of Redis 7: what 7.2 adds (a shard's `id`) comes where it is known, and
//! clients of 7.0 skip it.

use super::{NodeFlags, NodeId, NodeRecord, Slot, SlotSet};
use crate::resp::Reply;
use std::collections::BTreeMap;

/// Which of a node's names clients are sent to (`cluster-preferred-endpoint-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointKind {
    /// Its address.
    #[default]
    Ip,
    /// Its host name; `?` for a node that announces none.
    Hostname,
    /// None: clients stay with the host they reached this node by.
    Unknown,
}

impl NodeRecord {
    /// The name that clients are sent to: what stands before the colon in a redirect. `None`
    /// means the host that the client is connected to.
    pub fn preferred_endpoint(&self, kind: EndpointKind) -> Option<String> {
        match kind {
            EndpointKind::Ip => Some(self.ip.map(|ip| ip.to_string()).unwrap_or_default()),
            EndpointKind::Hostname => Some(self.hostname.clone().unwrap_or_else(|| "?".into())),
            EndpointKind::Unknown => None,
        }
    }

    fn is_primary(&self) -> bool {
        self.flags.any(NodeFlags::PRIMARY)
    }

    /// Whether clients may be told to read from it: a replica that has data and is not failed.
    fn serves_reads(&self) -> bool {
        self.offset != 0 && !self.flags.any(NodeFlags::FAIL)
    }

    fn health(&self) -> &'static str {
        if self.flags.any(NodeFlags::FAIL) {
            "fail"
        } else if !self.is_primary() && self.offset == 0 {
            "loading"
        } else {
            "online"
        }
    }
}

/// CLUSTER NODES: a line per node.
pub fn nodes(records: &[NodeRecord]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// Replicas by their primary, in the order of `records`.
fn replicas(records: &[NodeRecord]) -> BTreeMap<NodeId, Vec<&NodeRecord>> {
    let mut by_primary: BTreeMap<NodeId, Vec<&NodeRecord>> = BTreeMap::new();
    for record in records {
        if let Some(primary) = record.primary {
            by_primary.entry(primary).or_default().push(record);
        }
    }
    by_primary
}

fn integer(number: u16) -> Reply {
    Reply::Integer(i64::from(number))
}

/// CLUSTER SLOTS: a row per range of slots, in order of slots: first, last, primary, replicas.
pub fn slots(records: &[NodeRecord], kind: EndpointKind) -> Reply {
    let replicas = replicas(records);
    let mut rows: Vec<(u16, Reply)> = Vec::new();
    for primary in records.iter().filter(|record| record.is_primary()) {
        let followers = replicas.get(&primary.id).into_iter().flatten();
        let serving: Vec<&&NodeRecord> = followers.filter(|record| record.serves_reads()).collect();
        for range in primary.slots.ranges() {
            let mut row = vec![integer(*range.start()), integer(*range.end())];
            row.push(slots_node(primary, kind));
            row.extend(serving.iter().map(|record| slots_node(record, kind)));
            rows.push((*range.start(), Reply::Array(row)));
        }
    }
    rows.sort_by_key(|(first, _)| *first);
    Reply::Array(rows.into_iter().map(|(_, row)| row).collect())
}

/// A node in a row of CLUSTER SLOTS: endpoint, port, id, and the names it has besides.
fn slots_node(record: &NodeRecord, kind: EndpointKind) -> Reply {
    let endpoint = record.preferred_endpoint(kind).map_or(Reply::Null, Reply::bulk);
    let mut names = Vec::new();
    if kind != EndpointKind::Ip
        && let Some(ip) = record.ip
    {
        names.push((Reply::bulk("ip"), Reply::bulk(ip.to_string())));
    }
    if kind != EndpointKind::Hostname
        && let Some(hostname) = &record.hostname
    {
        names.push((Reply::bulk("hostname"), Reply::bulk(hostname)));
    }
    let id = Reply::bulk(record.id.as_str());
    Reply::Array(vec![endpoint, integer(record.port), id, Reply::Map(names)])
}

/// CLUSTER SHARDS: a map per primary: its slots, and its nodes with their health.
pub fn shards(records: &[NodeRecord], kind: EndpointKind) -> Reply {
    let replicas = replicas(records);
    let shard = |primary: &NodeRecord| {
        let mut nodes = vec![shards_node(primary, kind)];
        let followers = replicas.get(&primary.id).into_iter().flatten();
        nodes.extend(followers.map(|record| shards_node(record, kind)));
        let ranges = primary.slots.ranges();
        let slots =
            ranges.iter().flat_map(|range| [integer(*range.start()), integer(*range.end())]);
        let mut fields = vec![
            (Reply::bulk("slots"), Reply::Array(slots.collect())),
            (Reply::bulk("nodes"), Reply::Array(nodes)),
        ];
        if let Some(id) = primary.shard_id {
            fields.push((Reply::bulk("id"), Reply::bulk(id.as_str())));
        }
        Reply::Map(fields)
    };
    let known =
        |record: &&NodeRecord| record.is_primary() && !record.flags.any(NodeFlags::HANDSHAKE);
    Reply::Array(records.iter().filter(known).map(shard).collect())
}

fn shards_node(record: &NodeRecord, kind: EndpointKind) -> Reply {
    let ip = record.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let mut fields = vec![("id", Reply::bulk(record.id.as_str())), ("port", integer(record.port))];
    if record.tls_port != 0 {
        fields.push(("tls-port", integer(record.tls_port)));
    }
    fields.extend([
        ("ip", Reply::bulk(ip)),
        ("endpoint", record.preferred_endpoint(kind).map_or(Reply::Null, Reply::bulk)),
    ]);
    if let Some(hostname) = &record.hostname {
        fields.push(("hostname", Reply::bulk(hostname)));
    }
    let role = if record.is_primary() { "master" } else { "replica" };
    fields.extend([
        ("role", Reply::bulk(role)),
        ("replication-offset", Reply::Integer(record.offset.try_into().unwrap_or(i64::MAX))),
        ("health", Reply::bulk(record.health())),
    ]);
    Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}

/// How many slots are owned, and by whom: the counts of CLUSTER INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Slots with an owner.
    pub assigned: usize,
    /// Slots whose owner this node can reach.
    pub ok: usize,
    /// Slots whose owner this node cannot reach.
    pub pfail: usize,
    /// Slots whose owner has failed.
    pub fail: usize,
    /// Primaries with at least one slot.
    pub size: usize,
}

impl SlotCounts {
    /// Counts.
    pub fn of<'a>(owners: impl Iterator<Item = (NodeFlags, &'a SlotSet)>) -> Self {
        let mut counts = Self::default();
        for (flags, slots) in owners {
            let len = slots.len();
            counts.assigned += len;
            counts.size += usize::from(len > 0);
            if flags.any(NodeFlags::FAIL) {
                counts.fail += len;
            } else if flags.any(NodeFlags::PFAIL) {
                counts.pfail += len;
            } else {
                counts.ok += len;
            }
        }
        debug_assert!(counts.assigned <= Slot::COUNT, "a slot has one owner");
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Durable;
    use crate::resp::{Encoder, Protocol};

    fn records() -> Vec<NodeRecord> {
        let text = "\
1111111111111111111111111111111111111111 127.0.0.1:17006@27006 slave e1c41b2ee56287e5fa70b4260d0e6d3713766478 0 1795396249714 1 connected
e1c41b2ee56287e5fa70b4260d0e6d3713766478 127.0.0.1:17005@27005,db-1 myself,master - 0 0 1 connected 0-10000 10002-16383
2222222222222222222222222222222222222222 127.0.0.1:17007@27007 master - 0 0 2 connected 10001
";
        Durable::parse(text).expect("three nodes").nodes
    }

    fn resp2(reply: &Reply) -> String {
        let mut out = Vec::new();
        Encoder::new(&mut out, Protocol::Resp2).reply(reply);
        String::from_utf8(out).expect("text").replace("\r\n", "|")
    }

    /// As redis-server 7.0.15 answered, but for the host name.
    #[test]
    fn slots_are_rows_of_ranges_in_order() {
        let mut records = records();
        let own = "*4|$9|127.0.0.1|:17005|$40|e1c41b2ee56287e5fa70b4260d0e6d3713766478|*2|$8|hostname|$4|db-1|";
        let other = "*4|$9|127.0.0.1|:17007|$40|2222222222222222222222222222222222222222|*0|";
        let replica = "*4|$9|127.0.0.1|:17006|$40|1111111111111111111111111111111111111111|*0|";
        assert_eq!(
            resp2(&slots(&records, EndpointKind::Ip)),
            format!("*3|*3|:0|:10000|{own}*3|:10001|:10001|{other}*3|:10002|:16383|{own}"),
            "a replica without data is not offered"
        );
        records[0].offset = 14;
        let text = resp2(&slots(&records, EndpointKind::Ip));
        assert!(text.starts_with(&format!("*3|*4|:0|:10000|{own}{replica}")), "{text}");
    }

    #[test]
    fn clients_are_sent_to_the_name_that_is_preferred() {
        let records = records();
        let text = resp2(&slots(&records, EndpointKind::Hostname));
        assert!(text.contains("$4|db-1|:17005|"), "{text}");
        assert!(text.contains(
            "*4|$1|?|:17007|$40|2222222222222222222222222222222222222222|*2|$2|ip|$9|127.0.0.1|"
        ));
        let text = resp2(&slots(&records, EndpointKind::Unknown));
        assert!(text.contains("*4|$-1|:17007|"), "{text}");
    }

    #[test]
    fn shards_are_primaries_with_their_replicas() {
        let text = resp2(&shards(&records(), EndpointKind::Ip));
        let expected = "*2|*4|$5|slots|*4|:0|:10000|:10002|:16383|$5|nodes|*2|*16|$2|id|$40|\
e1c41b2ee56287e5fa70b4260d0e6d3713766478|$4|port|:17005|$2|ip|$9|127.0.0.1|$8|endpoint|$9|\
127.0.0.1|$8|hostname|$4|db-1|$4|role|$6|master|$18|replication-offset|:0|$6|health|$6|online|\
*14|$2|id|$40|1111111111111111111111111111111111111111|$4|port|:17006|$2|ip|$9|127.0.0.1|\
$8|endpoint|$9|127.0.0.1|$4|role|$7|replica|$18|replication-offset|:0|$6|health|$7|loading|";
        assert!(text.starts_with(expected), "{text}");
    }
}
