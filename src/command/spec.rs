//! What a command is: the columns of the one table that node, proxy and docs share.

use super::flags::{Categories, Flags};
use super::key_spec::KeySpec;

/// One command, or one subcommand of a container (`config|get`).
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name in lower case; a subcommand's is `container|sub`.
    pub name: &'static str,
    /// What it does, in one sentence of ours.
    pub summary: &'static str,
    /// The version that brought it: of Redis up to 7.2, of Valkey from 8.0 on.
    pub since: &'static str,
    /// Its cost, in O-notation; empty where Redis gives none.
    pub complexity: &'static str,
    /// How many arguments it takes, its name (both words of it) included.
    pub arity: Arity,
    /// What COMMAND INFO says of it.
    pub flags: Flags,
    /// The ACL categories that do not follow from its flags; see [`Spec::categories`].
    pub own_categories: Categories,
    /// Which of its arguments are keys.
    pub keys: &'static [KeySpec],
    /// The group that COMMAND DOCS names.
    pub group: Group,
    /// What the proxy does with it (proxy contract, §2). The tips below say how Redis's own
    /// documentation would gather it; where the two differ, this one counts.
    pub class: Class,
    /// Redis's `request_policy` tip.
    pub request: RequestPolicy,
    /// Redis's `response_policy` tip.
    pub response: ResponsePolicy,
    /// The tips that are neither policy, such as `nondeterministic_output`.
    pub other_tips: &'static [&'static str],
    /// Its arguments after the name, in the notation of `syntax.rs`.
    pub syntax: &'static str,
    /// What changed in later versions: version and change.
    pub history: &'static [(&'static str, &'static str)],
    /// Since when Redis's documentation advises against it, and what it names instead.
    pub deprecated: Option<Deprecated>,
    /// Its place among all commands and subcommands; the table sets it when it is put together.
    pub(super) id: u16,
    /// How many subcommands follow it in the table; set as `id` is.
    pub(super) subcommand_count: u16,
}

/// A command that Redis's documentation advises against.
#[derive(Debug, Clone, Copy)]
pub struct Deprecated {
    /// The version since which it is.
    pub since: &'static str,
    /// What to use instead.
    pub replaced_by: &'static str,
}

impl Spec {
    /// A command without keys, flags or arguments, for the table to fill in.
    pub(super) const fn new(
        name: &'static str,
        since: &'static str,
        group: Group,
        class: Class,
    ) -> Self {
        Self {
            name,
            since,
            group,
            class,
            summary: "",
            complexity: "O(1)",
            arity: Arity::AtLeast(1),
            flags: Flags::NONE,
            own_categories: Categories::NONE,
            keys: &[],
            request: RequestPolicy::None,
            response: ResponsePolicy::None,
            other_tips: &[],
            syntax: "",
            history: &[],
            deprecated: None,
            id: 0,
            subcommand_count: 0,
        }
    }

    /// Its place among all commands and subcommands: dense, from 0, below [`COUNT`](super::COUNT).
    /// Callers keep what they have per command (handlers, statistics) in tables indexed by it.
    #[inline]
    pub fn id(&self) -> usize {
        usize::from(self.id)
    }

    /// Its subcommands, in order of their names; empty unless it is a container.
    pub fn subcommands(&self) -> &'static [Self] {
        let first = self.id() + 1;
        &super::table::ALL[first..first + usize::from(self.subcommand_count)]
    }

    /// Whether it is only a name for its subcommands to share.
    #[inline]
    pub fn is_container(&self) -> bool {
        self.subcommand_count > 0
    }

    /// Whether it is a subcommand.
    pub fn is_subcommand(&self) -> bool {
        self.subcommand_name().is_some()
    }

    /// Whether running it twice is harmless: what the proxy may send again after a loss.
    pub fn is_repeatable(&self) -> bool {
        self.flags.intersects(Flags::READONLY.union(Flags::REPEATABLE))
    }

    /// Whether it may change the data set. What lacks `readonly` counts as a write.
    pub fn is_write(&self) -> bool {
        !self.flags.contains(Flags::READONLY)
    }

    /// Whether it runs a script or function, whose author chooses the text of its errors.
    pub fn runs_script(&self) -> bool {
        self.flags.contains(Flags::SCRIPT)
    }

    /// Its name as an error message writes it: the part before the `|` for a container.
    pub fn container_name(&self) -> &'static str {
        self.name.split('|').next().unwrap_or(self.name)
    }

    /// The name of a subcommand, without its container's.
    pub fn subcommand_name(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(_, sub)| sub)
    }

    /// The ACL categories that it belongs to: its own, and those that follow from its flags.
    pub fn categories(&self) -> Categories {
        let mut all = self.own_categories;
        let mut imply = |flag, category| {
            if self.flags.contains(flag) {
                all = all.union(category);
            }
        };
        imply(Flags::WRITE, Categories::WRITE);
        // A script that only reads belongs to @scripting, not to @read.
        if !self.own_categories.contains(Categories::SCRIPTING) {
            imply(Flags::READONLY, Categories::READ);
        }
        imply(Flags::ADMIN, Categories::ADMIN.union(Categories::DANGEROUS));
        imply(Flags::PUBSUB, Categories::PUBSUB);
        imply(Flags::BLOCKING, Categories::BLOCKING);
        imply(Flags::FAST, Categories::FAST);
        if !self.flags.contains(Flags::FAST) {
            all = all.union(Categories::SLOW);
        }
        all
    }

    /// The tips of COMMAND INFO: the policies first, then the others.
    pub fn tips(&self) -> impl Iterator<Item = &'static str> {
        self.request
            .tip()
            .into_iter()
            .chain(self.response.tip())
            .chain(self.other_tips.iter().copied())
    }
}

/// How many arguments a command takes, its name included, as COMMAND INFO counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// This many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
}

impl Arity {
    /// Whether so many arguments are right.
    #[inline]
    pub fn accepts(self, count: usize) -> bool {
        match self {
            Self::Exactly(n) => count == n,
            Self::AtLeast(n) => count >= n,
        }
    }

    /// As COMMAND INFO writes it: negative for a minimum.
    pub fn number(self) -> i64 {
        match self {
            Self::Exactly(n) => n as i64,
            Self::AtLeast(n) => -(n as i64),
        }
    }
}

/// The groups of COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Strings.
    String,
    /// Bitmaps.
    Bitmap,
    /// Hashes.
    Hash,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Streams.
    Stream,
    /// HyperLogLogs.
    HyperLogLog,
    /// Geo indexes.
    Geo,
    /// Keys of any type.
    Generic,
    /// Publish/subscribe.
    PubSub,
    /// Transactions.
    Transactions,
    /// Scripts and functions.
    Scripting,
    /// Connections.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Group {
    /// As COMMAND DOCS writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::HyperLogLog => "hyperloglog",
            Self::Geo => "geo",
            Self::Generic => "generic",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Scripting => "scripting",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }
}

/// What the proxy does with a command (proxy contract, §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Goes whole to the owner of the slot of its keys; with no key, to any primary.
    OneSlot,
    /// One request per slot, gathered.
    Split,
    /// Goes whole to one node, if all its keys are in one slot; refused otherwise.
    AllOrNothing,
    /// Goes to every primary, gathered as its response policy says.
    FanOut,
    /// SCAN: walks the primaries one after the other.
    Cursor,
    /// Answered by the proxy.
    Local,
    /// Needs connections of its own.
    Pinned,
    /// Publish/subscribe.
    Subscription,
    /// To one node; the answer counts those who listen through the proxy.
    Publish,
    /// Not available through the proxy.
    Refused,
}

impl Class {
    /// Every class, in order.
    pub const ALL: [Self; 10] = [
        Self::OneSlot,
        Self::Split,
        Self::AllOrNothing,
        Self::FanOut,
        Self::Cursor,
        Self::Local,
        Self::Pinned,
        Self::Subscription,
        Self::Publish,
        Self::Refused,
    ];

    /// As the docs and the metrics write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneSlot => "one_slot",
            Self::Split => "split",
            Self::AllOrNothing => "all_or_nothing",
            Self::FanOut => "fan_out",
            Self::Cursor => "cursor",
            Self::Local => "local",
            Self::Pinned => "pinned",
            Self::Subscription => "subscription",
            Self::Publish => "publish",
            Self::Refused => "refused",
        }
    }
}

/// Redis's `request_policy` tip: where a cluster client should send the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPolicy {
    /// No tip: by its keys, or anywhere.
    None,
    /// To every node.
    AllNodes,
    /// To every primary.
    AllShards,
    /// To the primaries of its keys.
    MultiShard,
    /// In a way of its own.
    Special,
}

impl RequestPolicy {
    /// As COMMAND INFO writes it.
    pub fn tip(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::AllNodes => Some("request_policy:all_nodes"),
            Self::AllShards => Some("request_policy:all_shards"),
            Self::MultiShard => Some("request_policy:multi_shard"),
            Self::Special => Some("request_policy:special"),
        }
    }
}

/// Redis's `response_policy` tip: how the replies of several nodes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponsePolicy {
    /// No tip: keyless replies are put together, keyed ones are restored to the order of the keys.
    None,
    /// The first that succeeds.
    OneSucceeded,
    /// All must succeed.
    AllSucceeded,
    /// True where all are.
    AggLogicalAnd,
    /// True where any is.
    AggLogicalOr,
    /// The smallest.
    AggMin,
    /// The largest.
    AggMax,
    /// The sum.
    AggSum,
    /// In a way of its own.
    Special,
}

impl ResponsePolicy {
    /// As COMMAND INFO writes it.
    pub fn tip(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::OneSucceeded => Some("response_policy:one_succeeded"),
            Self::AllSucceeded => Some("response_policy:all_succeeded"),
            Self::AggLogicalAnd => Some("response_policy:agg_logical_and"),
            Self::AggLogicalOr => Some("response_policy:agg_logical_or"),
            Self::AggMin => Some("response_policy:agg_min"),
            Self::AggMax => Some("response_policy:agg_max"),
            Self::AggSum => Some("response_policy:agg_sum"),
            Self::Special => Some("response_policy:special"),
        }
    }
}
