//! Sorted sets.

use super::{counted, key, keys};
use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Deprecated, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Takes members from the first sorted set that has any, waiting if none has.",
        complexity: "O(K+M*log(N)), K keys and M members taken of N",
        arity: AtLeast(5),
        flags: flags!(WRITE BLOCKING MOVABLEKEYS),
        own_categories: categories!(SORTEDSET),
        keys: &[counted(key_flags!(RW ACCESS DELETE), 2, 1)],
        syntax: "timeout:double numkeys:int key:key* (where: MIN | MAX) COUNT.count:int?",
        ..Spec::new("bzmpop", "7.0.0", Group::SortedSet, Class::Pinned)
    },
    Spec {
        summary: "Takes the member with the highest score, waiting for one if need be.",
        complexity: "O(K+log(N)), K keys and N members",
        arity: AtLeast(3),
        flags: flags!(WRITE BLOCKING FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[keys(key_flags!(RW ACCESS DELETE), 1, -2, 1)],
        syntax: "key:key* timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        ..Spec::new("bzpopmax", "5.0.0", Group::SortedSet, Class::Pinned)
    },
    Spec {
        summary: "Takes the member with the lowest score, waiting for one if need be.",
        complexity: "O(K+log(N)), K keys and N members",
        arity: AtLeast(3),
        flags: flags!(WRITE BLOCKING FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[keys(key_flags!(RW ACCESS DELETE), 1, -2, 1)],
        syntax: "key:key* timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        ..Spec::new("bzpopmin", "5.0.0", Group::SortedSet, Class::Pinned)
    },
    Spec {
        summary: "Adds members with scores, or changes their scores.",
        complexity: "O(log(N)) per member, N members in the set",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key (condition: NX | XX)?^3.0.2 (comparison: GT | LT)?^6.2.0 CH/change?^3.0.2 INCR/increment?^3.0.2 {data: score:double member}*",
        history: &[
            ("2.4.0", "Takes several members."),
            ("3.0.2", "Takes XX, NX, CH and INCR."),
            ("6.2.0", "Takes GT and LT."),
        ],
        ..Spec::new("zadd", "1.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Counts the members of a sorted set.",
        arity: Exactly(2),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO), 1)],
        syntax: "key:key",
        ..Spec::new("zcard", "1.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Counts the members whose score is in a range.",
        complexity: "O(log(N)), N members",
        arity: Exactly(4),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key min:double max:double",
        ..Spec::new("zcount", "2.0.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows the members of the first sorted set that no other has.",
        complexity: "O(L+(N-K)*log(N)), L members in all, N in the first, K left",
        arity: AtLeast(3),
        flags: flags!(READONLY MOVABLEKEYS),
        own_categories: categories!(SORTEDSET),
        keys: &[counted(key_flags!(RO ACCESS), 1, 1)],
        syntax: "numkeys:int key:key* WITHSCORES?",
        ..Spec::new("zdiff", "6.2.0", Group::SortedSet, Class::AllOrNothing)
    },
    Spec {
        summary: "Stores the members of the first sorted set that no other has.",
        complexity: "O(L+(N-K)*log(N)), L members in all, N in the first, K left",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM MOVABLEKEYS),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(OW UPDATE), 1), counted(key_flags!(RO ACCESS), 2, 1)],
        syntax: "destination:key numkeys:int key:key@1*",
        ..Spec::new("zdiffstore", "6.2.0", Group::SortedSet, Class::AllOrNothing)
    },
    Spec {
        summary: "Adds to the score of a member.",
        complexity: "O(log(N)), N members",
        arity: Exactly(4),
        flags: flags!(WRITE DENYOOM FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RW ACCESS UPDATE), 1)],
        syntax: "key:key increment:int member",
        ..Spec::new("zincrby", "1.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows the members that all the sorted sets share.",
        complexity: "O(N*K+M*log(M)), N members of the smallest of K sets, M shared",
        arity: AtLeast(3),
        flags: flags!(READONLY MOVABLEKEYS),
        own_categories: categories!(SORTEDSET),
        keys: &[counted(key_flags!(RO ACCESS), 1, 1)],
        syntax: "numkeys:int key:key* WEIGHTS.weight:int?* AGGREGATE.(aggregate: SUM | MIN | MAX)? WITHSCORES?",
        ..Spec::new("zinter", "6.2.0", Group::SortedSet, Class::AllOrNothing)
    },
    Spec {
        summary: "Counts the members that all the sorted sets share.",
        complexity: "O(N*K), N members of the smallest of K sets",
        arity: AtLeast(3),
        flags: flags!(READONLY MOVABLEKEYS),
        own_categories: categories!(SORTEDSET),
        keys: &[counted(key_flags!(RO ACCESS), 1, 1)],
        syntax: "numkeys:int key:key* LIMIT.limit:int?",
        ..Spec::new("zintercard", "7.0.0", Group::SortedSet, Class::AllOrNothing)
    },
    Spec {
        summary: "Stores the members that all the sorted sets share.",
        complexity: "O(N*K+M*log(M)), N members of the smallest of K sets, M shared",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM MOVABLEKEYS),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(OW UPDATE), 1), counted(key_flags!(RO ACCESS), 2, 1)],
        syntax: "destination:key numkeys:int key:key@1* WEIGHTS.weight:int?* AGGREGATE.(aggregate: SUM | MIN | MAX)?",
        ..Spec::new("zinterstore", "2.0.0", Group::SortedSet, Class::AllOrNothing)
    },
    Spec {
        summary: "Counts the members whose name is in a range.",
        complexity: "O(log(N)), N members",
        arity: Exactly(4),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key min max",
        ..Spec::new("zlexcount", "2.8.9", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Takes members from the first sorted set that has any.",
        complexity: "O(K+M*log(N)), K keys and M members taken of N",
        arity: AtLeast(4),
        flags: flags!(WRITE MOVABLEKEYS),
        own_categories: categories!(SORTEDSET),
        keys: &[counted(key_flags!(RW ACCESS DELETE), 1, 1)],
        syntax: "numkeys:int key:key* (where: MIN | MAX) COUNT.count:int?",
        ..Spec::new("zmpop", "7.0.0", Group::SortedSet, Class::AllOrNothing)
    },
    Spec {
        summary: "Shows the scores of several members.",
        complexity: "O(N), N members named",
        arity: AtLeast(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key member*",
        ..Spec::new("zmscore", "6.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Takes the members with the highest scores.",
        complexity: "O(log(N)*M), M members taken of N",
        arity: AtLeast(2),
        flags: flags!(WRITE FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1)],
        syntax: "key:key count:int?",
        ..Spec::new("zpopmax", "5.0.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Takes the members with the lowest scores.",
        complexity: "O(log(N)*M), M members taken of N",
        arity: AtLeast(2),
        flags: flags!(WRITE FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RW ACCESS DELETE), 1)],
        syntax: "key:key count:int?",
        ..Spec::new("zpopmin", "5.0.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Draws members of a sorted set at random.",
        complexity: "O(N), N members drawn",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key {options: count:int WITHSCORES?}?",
        ..Spec::new("zrandmember", "6.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows members by rank, score or name.",
        complexity: "O(log(N)+M), M members shown of N",
        arity: AtLeast(4),
        flags: flags!(READONLY),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key start stop (sortby: BYSCORE | BYLEX)?^6.2.0 REV?^6.2.0 LIMIT.{limit: offset:int count:int}?^6.2.0 WITHSCORES?",
        history: &[("6.2.0", "Takes REV, BYSCORE, BYLEX and LIMIT.")],
        ..Spec::new("zrange", "1.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows members by name.",
        complexity: "O(log(N)+M), M members shown of N",
        arity: AtLeast(4),
        flags: flags!(READONLY),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key min max LIMIT.{limit: offset:int count:int}?",
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with `BYLEX`" }),
        ..Spec::new("zrangebylex", "2.8.9", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows members by score.",
        complexity: "O(log(N)+M), M members shown of N",
        arity: AtLeast(4),
        flags: flags!(READONLY),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key min:double max:double WITHSCORES?^2.0.0 LIMIT.{limit: offset:int count:int}?",
        history: &[("2.0.0", "Takes WITHSCORES.")],
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with `BYSCORE`" }),
        ..Spec::new("zrangebyscore", "1.0.5", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Stores members found by rank, score or name.",
        complexity: "O(log(N)+M), M members stored of N",
        arity: AtLeast(5),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(OW UPDATE), 1), key(key_flags!(RO ACCESS), 2)],
        syntax: "dst:key src:key@1 min max (sortby: BYSCORE | BYLEX)? REV? LIMIT.{limit: offset:int count:int}?",
        ..Spec::new("zrangestore", "6.2.0", Group::SortedSet, Class::AllOrNothing)
    },
    Spec {
        summary: "Shows how many members score lower than this one.",
        complexity: "O(log(N)), N members",
        arity: AtLeast(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key member WITHSCORE?",
        history: &[("7.2.0", "Takes WITHSCORE.")],
        ..Spec::new("zrank", "2.0.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Removes members of a sorted set.",
        complexity: "O(M*log(N)), M members removed of N",
        arity: AtLeast(3),
        flags: flags!(WRITE FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RW DELETE), 1)],
        syntax: "key:key member*",
        history: &[("2.4.0", "Takes several members.")],
        ..Spec::new("zrem", "1.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Removes members by name.",
        complexity: "O(log(N)+M), M members removed of N",
        arity: Exactly(4),
        flags: flags!(WRITE),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RW DELETE), 1)],
        syntax: "key:key min max",
        ..Spec::new("zremrangebylex", "2.8.9", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Removes members by rank.",
        complexity: "O(log(N)+M), M members removed of N",
        arity: Exactly(4),
        flags: flags!(WRITE),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RW DELETE), 1)],
        syntax: "key:key start:int stop:int",
        ..Spec::new("zremrangebyrank", "2.0.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Removes members by score.",
        complexity: "O(log(N)+M), M members removed of N",
        arity: Exactly(4),
        flags: flags!(WRITE),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RW DELETE), 1)],
        syntax: "key:key min:double max:double",
        ..Spec::new("zremrangebyscore", "1.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows members by rank, highest score first.",
        complexity: "O(log(N)+M), M members shown of N",
        arity: AtLeast(4),
        flags: flags!(READONLY),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key start:int stop:int WITHSCORES?",
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with `REV`" }),
        ..Spec::new("zrevrange", "1.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows members by name, last first.",
        complexity: "O(log(N)+M), M members shown of N",
        arity: AtLeast(4),
        flags: flags!(READONLY),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key max min LIMIT.{limit: offset:int count:int}?",
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`ZRANGE` with `REV` and `BYLEX`",
        }),
        ..Spec::new("zrevrangebylex", "2.8.9", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows members by score, highest first.",
        complexity: "O(log(N)+M), M members shown of N",
        arity: AtLeast(4),
        flags: flags!(READONLY),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key max:double min:double WITHSCORES? LIMIT.{limit: offset:int count:int}?",
        history: &[("2.1.6", "Ranges may leave out an end.")],
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`ZRANGE` with `REV` and `BYSCORE`",
        }),
        ..Spec::new("zrevrangebyscore", "2.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows how many members score higher than this one.",
        complexity: "O(log(N)), N members",
        arity: AtLeast(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key member WITHSCORE?",
        history: &[("7.2.0", "Takes WITHSCORE.")],
        ..Spec::new("zrevrank", "2.0.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Walks a sorted set in steps.",
        complexity: "O(1) per step, O(N) for all N members",
        arity: AtLeast(3),
        flags: flags!(READONLY),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        other_tips: &["nondeterministic_output"],
        syntax: "key:key cursor:int MATCH.pattern:pattern? COUNT.count:int?",
        ..Spec::new("zscan", "2.8.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows the score of a member.",
        arity: Exactly(3),
        flags: flags!(READONLY FAST),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key member",
        ..Spec::new("zscore", "1.2.0", Group::SortedSet, Class::OneSlot)
    },
    Spec {
        summary: "Shows the members that any of the sorted sets has.",
        complexity: "O(N+M*log(M)), N members in all and M distinct",
        arity: AtLeast(3),
        flags: flags!(READONLY MOVABLEKEYS),
        own_categories: categories!(SORTEDSET),
        keys: &[counted(key_flags!(RO ACCESS), 1, 1)],
        syntax: "numkeys:int key:key* WEIGHTS.weight:int?* AGGREGATE.(aggregate: SUM | MIN | MAX)? WITHSCORES?",
        ..Spec::new("zunion", "6.2.0", Group::SortedSet, Class::AllOrNothing)
    },
    Spec {
        summary: "Stores the members that any of the sorted sets has.",
        complexity: "O(N+M*log(M)), N members in all and M distinct",
        arity: AtLeast(4),
        flags: flags!(WRITE DENYOOM MOVABLEKEYS),
        own_categories: categories!(SORTEDSET),
        keys: &[key(key_flags!(OW UPDATE), 1), counted(key_flags!(RO ACCESS), 2, 1)],
        syntax: "destination:key numkeys:int key:key@1* WEIGHTS.weight:int?* AGGREGATE.(aggregate: SUM | MIN | MAX)?",
        ..Spec::new("zunionstore", "2.0.0", Group::SortedSet, Class::AllOrNothing)
    },
];
