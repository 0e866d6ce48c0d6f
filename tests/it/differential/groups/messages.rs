//! Publish and subscribe; and what changes how a connection is answered.

use super::Group;

pub(in crate::differential) const MESSAGES: Group = group!(
    "messages",
    4,
    [
        "SUBSCRIBE ( C1 | C2 | C3 )+",
        "SUBSCRIBE ( C1 | C2 | C3 )+",
        "SUBSCRIBE value",
        "PSUBSCRIBE ( C* | C? | * | C[12] | *1 | C1 )+",
        "PSUBSCRIBE pattern",
        "SSUBSCRIBE ( C1 | C2 | C3 )+",
        "UNSUBSCRIBE ( C1 | C2 | C3 )+",
        "UNSUBSCRIBE",
        "PUNSUBSCRIBE ( C* | C? | * | C[12] )+",
        "PUNSUBSCRIBE",
        "SUNSUBSCRIBE ( C1 | C2 | C3 )+",
        "SUNSUBSCRIBE",
        "PUBLISH ( C1 | C2 | C3 ) value",
        "PUBLISH ( C1 | C2 | C3 ) value",
        "PUBLISH ( C1 | C2 | C3 ) value",
        "PUBLISH key value",
        "SPUBLISH ( C1 | C2 | C3 ) value",
        "SPUBLISH ( C1 | C2 | C3 ) value",
        "PUBSUB CHANNELS [ C* | C[1] | pattern ] => set",
        "PUBSUB NUMSUB [ C1 | C2 ]",
        "PUBSUB NUMSUB ( C1 | C2 | C3 | text )+",
        "PUBSUB NUMPAT",
        "PUBSUB SHARDCHANNELS [ C* | C? ] => set",
        "PUBSUB SHARDNUMSUB ( C1 | C2 | C3 )+",
        "PUBSUB text => refused",
        "CLIENT REPLY ( OFF | SKIP | ON )",
        "CLIENT GETNAME",
        "HELLO ( 2 | 3 ) => hello",
        "RESET",
        "PING",
        "PING value",
        "SET key value",
        "GET key",
        "NOSUCHCOMMAND => refused",
    ]
);
