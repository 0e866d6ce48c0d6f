//! Connections: who a client is, and what it wants of the server.

use crate::command::Arity::{AtLeast, Exactly};
use crate::command::{Class, Group, RequestPolicy, ResponsePolicy, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Proves who the client is.",
        complexity: "O(P), P passwords of the user",
        arity: AtLeast(2),
        flags: flags!(NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        syntax: "username?^6.0.0 password",
        history: &[("6.0.0", "Takes a user name before the password.")],
        ..Spec::new("auth", "1.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Groups the commands about connections.",
        complexity: "By subcommand",
        arity: AtLeast(2),
        ..Spec::new("client", "2.4.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Says whether the keys of the next command are tracked.",
        arity: Exactly(3),
        flags: flags!(NOSCRIPT LOADING STALE ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        syntax: "(mode: YES | NO)",
        ..Spec::new("client|caching", "6.0.0", Group::Connection, Class::Pinned)
    },
    Spec {
        summary: "Tells the server what this client can deal with.",
        arity: AtLeast(3),
        flags: flags!(NOSCRIPT LOADING STALE ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        syntax: "capability*",
        ..Spec::new("client|capa", "8.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Shows the name of this connection.",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT LOADING STALE ALLOW_BUSY REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("client|getname", "2.6.9", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Shows to which client invalidations of this one are sent.",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT LOADING STALE ALLOW_BUSY REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("client|getredir", "6.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Explains the subcommands.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("client|help", "5.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Shows the number of this connection.",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT LOADING STALE ALLOW_BUSY REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("client|id", "5.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Shows what the server knows of this connection.",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        other_tips: &["nondeterministic_output"],
        ..Spec::new("client|info", "6.2.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Closes connections, chosen by address or filters.",
        complexity: "O(C), C connections",
        arity: AtLeast(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        own_categories: categories!(CONNECTION),
        syntax: "(filter: old-format~ip:port!2.8.12 | (new-format: ID.client-id:int?^2.8.12 | TYPE.(client-type: NORMAL | MASTER^3.2.0 | SLAVE | REPLICA^5.0.0 | PUBSUB)?^2.8.12 | USER.username? | ADDR.addr~ip:port? | LADDR.laddr~ip:port?^6.2.0 | SKIPME.(skipme: YES | NO)?)*)",
        history: &[
            ("2.8.12", "Takes filters, among them ID."),
            ("3.2.0", "TYPE knows master."),
            ("5.0.0", "TYPE knows replica as another word for slave."),
            ("6.2.0", "Takes LADDR."),
        ],
        ..Spec::new("client|kill", "2.4.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Lists the connections.",
        complexity: "O(C), C connections",
        arity: AtLeast(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        other_tips: &["nondeterministic_output"],
        syntax: "TYPE.(client-type: NORMAL | MASTER | REPLICA | PUBSUB)?^5.0.0 ID.client-id:int?*^6.2.0",
        history: &[
            ("2.8.12", "Lines carry id."),
            ("5.0.0", "Takes TYPE."),
            ("6.0.0", "Lines carry user."),
            ("6.2.0", "Takes ID; lines carry argv-mem, tot-mem, laddr and redir."),
            ("7.0.0", "Lines carry resp, multi-mem, rbs and rbp."),
            ("7.0.3", "Lines carry ssub."),
        ],
        ..Spec::new("client|list", "2.4.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Keeps this connection from being closed when clients need too much memory.",
        arity: Exactly(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        syntax: "(enabled: ON | OFF)",
        ..Spec::new("client|no-evict", "7.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Lets this connection look at keys without making them look used.",
        arity: Exactly(3),
        flags: flags!(NOSCRIPT LOADING STALE ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        syntax: "(enabled: ON | OFF)",
        ..Spec::new("client|no-touch", "7.2.0", Group::Connection, Class::Pinned)
    },
    Spec {
        summary: "Holds back the commands of clients for a while.",
        arity: AtLeast(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        own_categories: categories!(CONNECTION),
        syntax: "timeout:int (mode: WRITE | ALL)?^6.2.0",
        history: &[("6.2.0", "Takes WRITE and ALL.")],
        ..Spec::new("client|pause", "2.9.50", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Turns replies to this connection off and on.",
        arity: Exactly(3),
        flags: flags!(NOSCRIPT LOADING STALE ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        syntax: "(action: ON | OFF | SKIP)",
        ..Spec::new("client|reply", "3.2.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Says which library the client uses.",
        arity: Exactly(4),
        flags: flags!(NOSCRIPT LOADING STALE ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        syntax: "(attr: LIB-NAME.libname | LIB-VER.libver)",
        ..Spec::new("client|setinfo", "7.2.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Gives this connection a name.",
        arity: Exactly(3),
        flags: flags!(NOSCRIPT LOADING STALE ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        request: RequestPolicy::AllNodes,
        response: ResponsePolicy::AllSucceeded,
        syntax: "connection-name",
        ..Spec::new("client|setname", "2.6.9", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Has the server say when keys that were read change.",
        complexity: "O(1), more with many prefixes",
        arity: AtLeast(3),
        flags: flags!(NOSCRIPT LOADING STALE),
        own_categories: categories!(CONNECTION),
        syntax: "(status: ON | OFF) REDIRECT.client-id:int? PREFIX.prefix?+ BCAST? OPTIN? OPTOUT? NOLOOP?",
        ..Spec::new("client|tracking", "6.0.0", Group::Connection, Class::Pinned)
    },
    Spec {
        summary: "Shows how keys are tracked for this connection.",
        arity: Exactly(2),
        flags: flags!(NOSCRIPT LOADING STALE REPEATABLE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("client|trackinginfo", "6.2.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Wakes a client that waits in a blocking command.",
        complexity: "O(log(C)), C connections",
        arity: AtLeast(3),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        own_categories: categories!(CONNECTION),
        syntax: "client-id:int (unblock-type: TIMEOUT | ERROR)?",
        ..Spec::new("client|unblock", "5.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Ends CLIENT PAUSE early.",
        complexity: "O(C), C connections held back",
        arity: Exactly(2),
        flags: flags!(ADMIN NOSCRIPT LOADING STALE),
        own_categories: categories!(CONNECTION),
        ..Spec::new("client|unpause", "6.2.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Says its argument back.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE FAST REPEATABLE),
        own_categories: categories!(CONNECTION),
        syntax: "message",
        ..Spec::new("echo", "1.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Starts a conversation: protocol version, user, name.",
        arity: AtLeast(1),
        flags: flags!(NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        syntax: "{arguments: protover:int AUTH.{auth: username password}? SETNAME.clientname?}?",
        history: &[("6.2.0", "Without a version it only describes the connection.")],
        ..Spec::new("hello", "6.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Answers PONG, or its argument.",
        arity: AtLeast(1),
        flags: flags!(FAST REPEATABLE),
        own_categories: categories!(CONNECTION),
        request: RequestPolicy::AllShards,
        response: ResponsePolicy::AllSucceeded,
        syntax: "message?",
        ..Spec::new("ping", "1.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Says OK and hangs up.",
        arity: AtLeast(1),
        flags: flags!(NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        ..Spec::new("quit", "1.0.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Makes the connection as good as fresh.",
        arity: Exactly(1),
        flags: flags!(NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        ..Spec::new("reset", "6.2.0", Group::Connection, Class::Local)
    },
    Spec {
        summary: "Switches to another database.",
        arity: Exactly(2),
        flags: flags!(LOADING STALE FAST ALLOW_BUSY),
        own_categories: categories!(CONNECTION),
        syntax: "index:int",
        ..Spec::new("select", "1.0.0", Group::Connection, Class::Local)
    },
];
