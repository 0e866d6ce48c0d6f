//! Publish/subscribe, by channel, pattern and shard.

use super::{key, keys};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Listens to every channel whose name matches a pattern.",
        complexity: "O(N), N patterns of the client",
        arity: AtLeast(2),
        flags: flags!(PUBSUB NOSCRIPT LOADING STALE),
        syntax: "pattern:pattern*",
        ..Spec::new("psubscribe", "2.0.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Sends a message to a channel.",
        complexity: "O(N+M), N listeners of the channel and M patterns in all",
        arity: Exactly(3),
        flags: flags!(PUBSUB LOADING STALE FAST MAY_REPLICATE),
        syntax: "channel message",
        ..Spec::new("publish", "2.0.0", Group::PubSub, Class::Publish)
    },
    Spec {
        summary: "Groups the commands that look at channels.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("pubsub", "2.8.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Names the channels that have listeners.",
        complexity: "O(N), N channels",
        arity: AtLeast(2),
        flags: flags!(PUBSUB LOADING STALE REPEATABLE),
        syntax: "pattern:pattern?",
        ..Spec::new("pubsub|channels", "2.8.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        ..Spec::new("pubsub|help", "6.2.0", Group::PubSub, Class::Local)
    },
    Spec {
        summary: "Counts the patterns with listeners.",
        arity: Exactly(2),
        flags: flags!(PUBSUB LOADING STALE REPEATABLE),
        ..Spec::new("pubsub|numpat", "2.8.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Counts the listeners of channels.",
        complexity: "O(N), N channels named",
        arity: AtLeast(2),
        flags: flags!(PUBSUB LOADING STALE REPEATABLE),
        syntax: "channel?*",
        ..Spec::new("pubsub|numsub", "2.8.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Names the shard channels that have listeners.",
        complexity: "O(N), N shard channels",
        arity: AtLeast(2),
        flags: flags!(PUBSUB LOADING STALE REPEATABLE),
        syntax: "pattern:pattern?",
        ..Spec::new("pubsub|shardchannels", "7.0.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Counts the listeners of shard channels.",
        complexity: "O(N), N shard channels named",
        arity: AtLeast(2),
        flags: flags!(PUBSUB LOADING STALE REPEATABLE),
        syntax: "shardchannel?*",
        ..Spec::new("pubsub|shardnumsub", "7.0.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Stops listening by patterns.",
        complexity: "O(N+M), N patterns of the client and M in all",
        arity: AtLeast(1),
        flags: flags!(PUBSUB NOSCRIPT LOADING STALE),
        syntax: "pattern:pattern?*",
        ..Spec::new("punsubscribe", "2.0.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Sends a message to a shard channel.",
        complexity: "O(N), N listeners",
        arity: Exactly(3),
        flags: flags!(PUBSUB LOADING STALE FAST MAY_REPLICATE),
        keys: &[key(key_flags!(NOT_KEY), 1)],
        syntax: "shardchannel message",
        ..Spec::new("spublish", "7.0.0", Group::PubSub, Class::Publish)
    },
    Spec {
        summary: "Listens to shard channels.",
        complexity: "O(N), N shard channels",
        arity: AtLeast(2),
        flags: flags!(PUBSUB NOSCRIPT LOADING STALE),
        keys: &[keys(key_flags!(NOT_KEY), 1, -1, 1)],
        syntax: "shardchannel*",
        ..Spec::new("ssubscribe", "7.0.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Listens to channels.",
        complexity: "O(N), N channels",
        arity: AtLeast(2),
        flags: flags!(PUBSUB NOSCRIPT LOADING STALE),
        syntax: "channel*",
        ..Spec::new("subscribe", "2.0.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Stops listening to shard channels.",
        complexity: "O(N), N listeners of the shard channels",
        arity: AtLeast(1),
        flags: flags!(PUBSUB NOSCRIPT LOADING STALE),
        keys: &[keys(key_flags!(NOT_KEY), 1, -1, 1)],
        syntax: "shardchannel?*",
        ..Spec::new("sunsubscribe", "7.0.0", Group::PubSub, Class::Subscription)
    },
    Spec {
        summary: "Stops listening to channels.",
        complexity: "O(N), N listeners of the channels",
        arity: AtLeast(1),
        flags: flags!(PUBSUB NOSCRIPT LOADING STALE),
        syntax: "channel?*",
        ..Spec::new("unsubscribe", "2.0.0", Group::PubSub, Class::Subscription)
    },
];
