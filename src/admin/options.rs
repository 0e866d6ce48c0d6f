//! The tool's command line: redis-trib's grammar, and redis-cli's spelling of the same options.
//!
//! `--cluster-replicas 1` is `--replicas 1`. redis-trib wants options before the first address,
//! redis-cli after the last; both work. Behind `call`'s address nothing is an option: it is the
//! command that is called.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::str::FromStr;

/// What the tool is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subcommand {
    /// Forms a cluster of empty nodes.
    Create,
    /// Says what is wrong with a cluster.
    Check,
    /// Says what is in a cluster.
    Info,
    /// Mends slots.
    Fix,
    /// Moves slots to one primary.
    Reshard,
    /// Evens out the slots.
    Rebalance,
    /// Adds a node.
    AddNode,
    /// Removes a node.
    DelNode,
    /// Sets the node timeout everywhere.
    SetTimeout,
    /// Runs a command on every node.
    Call,
    /// Takes in the keys of a standalone server.
    Import,
    /// Saves every primary's data.
    Backup,
    /// Prints the usage.
    Help,
}

/// One subcommand: its name, what it takes, and what it is for.
struct Shape {
    command: Subcommand,
    name: &'static str,
    arguments: &'static str,
    /// Fewest and most words.
    words: (usize, usize),
    summary: &'static str,
}

/// One option: its name without dashes, what its value is called (empty for a flag), who takes
/// it (empty for all).
struct Opt {
    name: &'static str,
    value: &'static str,
    commands: &'static [Subcommand],
    summary: &'static str,
}

use Subcommand::{
    AddNode, Backup, Call, Check, Create, DelNode, Fix, Help, Import, Info, Rebalance, Reshard,
    SetTimeout,
};

const MANY: usize = usize::MAX;

const SHAPES: &[Shape] = &[
    shape(
        Create,
        "create",
        "host1:port1 ... hostN:portN",
        (1, MANY),
        "forms a cluster of empty nodes",
    ),
    shape(Check, "check", "host:port", (1, 1), "says what is wrong; exit 1 if anything is"),
    shape(Info, "info", "host:port", (1, 1), "keys, slots and replicas of each primary"),
    shape(Fix, "fix", "host:port", (1, 1), "finishes moves, closes slots, covers slots"),
    shape(Reshard, "reshard", "host:port", (1, 1), "moves slots to one primary"),
    shape(Rebalance, "rebalance", "host:port", (1, MANY), "evens out the slots by weight"),
    shape(
        AddNode,
        "add-node",
        "new_host:new_port existing_host:existing_port",
        (2, 2),
        "adds a node",
    ),
    shape(DelNode, "del-node", "host:port node_id", (2, 2), "removes a node and shuts it down"),
    shape(
        SetTimeout,
        "set-timeout",
        "host:port milliseconds",
        (2, 2),
        "sets cluster-node-timeout everywhere",
    ),
    shape(
        Call,
        "call",
        "host:port command arg arg .. arg",
        (2, MANY),
        "runs a command on every node",
    ),
    shape(
        Import,
        "import",
        "host:port",
        (1, 1),
        "moves a standalone server's keys into the cluster",
    ),
    shape(
        Backup,
        "backup",
        "host:port directory",
        (2, 2),
        "saves every primary's data as RDB files",
    ),
    shape(Help, "help", "", (0, MANY), "shows this"),
];

const MOVERS: &[Subcommand] = &[Reshard, Rebalance, Fix];
const NO_COMMANDS: &[Subcommand] = &[];

const OPTIONS: &[Opt] = &[
    option("replicas", "N", &[Create], "replicas per primary (0)"),
    option(
        "from",
        "ID[,ID...]|all",
        &[Reshard, Import],
        "nodes that give slots; for import: the server to read",
    ),
    option("to", "ID", &[Reshard], "the primary that gets them"),
    option("slots", "N", &[Reshard], "how many"),
    option("timeout", "MS", MOVERS, "how long one transfer of keys may take (60000)"),
    option("pipeline", "N", MOVERS, "keys per transfer (adapts by itself)"),
    option(
        "replace",
        "",
        &[Reshard, Rebalance, Fix, Import],
        "replace a key that the destination has too",
    ),
    option(
        "weight",
        "ID=W [ID=W...]",
        &[Rebalance],
        "how much a primary carries (1); an id may be shortened",
    ),
    option("auto-weights", "", &[Rebalance], "accepted for redis-trib's sake: weights are 1"),
    option("use-empty-masters", "", &[Rebalance], "primaries without slots take part"),
    option("simulate", "", &[Rebalance], "show what would be done, as --dry-run"),
    option(
        "use-atomic-slot-migration",
        "",
        &[Reshard, Rebalance],
        "accepted for valkey-cli's sake: slots move key by key",
    ),
    option("threshold", "PERCENT", &[Rebalance], "leave shares that are as close as this (2)"),
    option("slave", "", &[AddNode], "add it as a replica"),
    option("master-id", "ID", &[AddNode], "of this primary (the one with fewest)"),
    option("reset", "", &[DelNode], "CLUSTER RESET SOFT instead of SHUTDOWN, as redis-cli does"),
    option("copy", "", &[Import], "leave the keys on the server as well"),
    option("from-user", "USER", &[Import], "user for the server to read"),
    option("from-pass", "PASSWORD", &[Import], "its password"),
    option("from-askpass", "", &[Import], "ask for its password"),
    option("only-masters", "", &[Call], "primaries only"),
    option("only-replicas", "", &[Call], "replicas only"),
    option(
        "search-multiple-owners",
        "",
        &[Check, Fix],
        "accepted for redis-cli's sake: always done",
    ),
    option(
        "fix-with-unreachable-masters",
        "",
        &[Fix],
        "also cover slots of primaries that do not answer",
    ),
    option("yes", "", NO_COMMANDS, "answer yes to the last question"),
    option("dry-run", "", NO_COMMANDS, "show the plan and stop"),
    option("json", "", NO_COMMANDS, "one JSON document instead of text"),
    option("user", "USER", NO_COMMANDS, "ACL user for all nodes"),
    option("pass", "PASSWORD", NO_COMMANDS, "password for all nodes (or REDISCLI_AUTH)"),
    option("askpass", "", NO_COMMANDS, "ask for the password"),
    option("no-auth-warning", "", NO_COMMANDS, "accepted for redis-cli's sake"),
    option("verbose", "", NO_COMMANDS, "say more"),
];

/// redis-cli's options for TLS, which this tool does not speak.
const TLS_OPTIONS: &[&str] = &[
    "tls",
    "sni",
    "cacert",
    "cacertdir",
    "insecure",
    "cert",
    "key",
    "tls-ciphers",
    "tls-ciphersuites",
];

const fn shape(
    command: Subcommand,
    name: &'static str,
    arguments: &'static str,
    words: (usize, usize),
    summary: &'static str,
) -> Shape {
    Shape { command, name, arguments, words, summary }
}

const fn option(
    name: &'static str,
    value: &'static str,
    commands: &'static [Subcommand],
    summary: &'static str,
) -> Opt {
    Opt { name, value, commands, summary }
}

/// What is wrong with a command line, in redis-trib's words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No such subcommand.
    #[error("Unknown redis-trib subcommand '{0}'")]
    Subcommand(String),
    /// No such option, or not for this subcommand.
    #[error("Unknown option '{option}' for command '{command}'")]
    Option {
        /// Without its dashes.
        option: String,
        /// The subcommand.
        command: &'static str,
    },
    /// An option that asks for TLS. To go on without it would send passwords in the clear.
    #[error(
        "[ERR] Option '--{0}': this tool does not speak TLS. Give it a plain port of the nodes, or a \
         tunnel to it (stunnel)."
    )]
    Tls(&'static str),
    /// An option without the value it needs.
    #[error("[ERR] Option '--{0}' needs a value")]
    NoValue(&'static str),
    /// A value that does not read.
    #[error("[ERR] Option '--{option}' does not take '{value}'")]
    Value {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
    },
    /// An option that is not optional.
    #[error("Option '--{option}' is required for subcommand '{command}'")]
    Required {
        /// The option.
        option: &'static str,
        /// The subcommand.
        command: &'static str,
    },
    /// Too few words, or too many.
    #[error("[ERR] Wrong number of arguments for specified sub command")]
    WordCount,
}

/// A command line that was understood.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Subcommand,
    /// To what.
    pub words: Vec<OsString>,
    options: BTreeMap<&'static str, Vec<String>>,
}

impl Invocation {
    /// Reads a command line, without the program's name. No words at all mean `Help`.
    ///
    /// # Errors
    /// See [`UsageError`].
    pub fn parse(args: &[OsString]) -> Result<Self, UsageError> {
        let mut options: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let mut args = args.iter().peekable();
        let Some(first) = args.next() else {
            return Ok(Self { command: Help, words: Vec::new(), options });
        };
        let shape = Shape::named(first)?;
        let mut words: Vec<OsString> = Vec::new();
        while let Some(arg) = args.next() {
            let verbatim = shape.command == Call && !words.is_empty();
            let Some(name) = option_name(arg).filter(|_| !verbatim) else {
                words.push(arg.clone());
                continue;
            };
            let (name, mut value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            if name == "help" {
                return Ok(Self { command: Help, words, options });
            }
            let option = Opt::find(name, shape)?;
            if option.value.is_empty() {
                options.entry(option.name).or_default();
                continue;
            }
            if value.is_none() {
                value = args.next().and_then(|arg| arg.to_str()).map(str::to_owned);
            }
            let values = options.entry(option.name).or_default();
            values.push(value.ok_or(UsageError::NoValue(option.name))?);
            // redis-cli takes several weights after one option.
            if option.name == "weight" {
                while let Some(more) = args.peek().and_then(|arg| arg.to_str())
                    && !more.starts_with('-')
                    && more.contains('=')
                {
                    values.push(more.to_owned());
                    args.next();
                }
            }
        }
        join_host_and_port(shape, &mut words);
        if words.len() < shape.words.0 || words.len() > shape.words.1 {
            return Err(UsageError::WordCount);
        }
        let invocation = Self { command: shape.command, words, options };
        if shape.command == Import && invocation.value("from").is_none() {
            return Err(UsageError::Required { option: "from", command: shape.name });
        }
        Ok(invocation)
    }

    /// Whether a flag was given.
    pub fn flag(&self, name: &'static str) -> bool {
        debug_assert!(OPTIONS.iter().any(|option| option.name == name), "no option {name}");
        self.options.contains_key(name)
    }

    /// An option's value; the last one if it was repeated.
    pub fn value(&self, name: &'static str) -> Option<&str> {
        self.values(name).last().map(String::as_str)
    }

    /// All values of an option.
    pub fn values(&self, name: &'static str) -> &[String] {
        debug_assert!(OPTIONS.iter().any(|option| option.name == name), "no option {name}");
        self.options.get(name).map_or(&[], Vec::as_slice)
    }

    /// An option's value as a number.
    ///
    /// # Errors
    /// It is none.
    pub fn number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, UsageError> {
        let number = |value: &str| {
            value.parse().map_err(|_| UsageError::Value { option: name, value: value.to_owned() })
        };
        self.value(name).map(number).transpose()
    }
}

impl Subcommand {
    /// The word for it.
    pub fn name(self) -> &'static str {
        SHAPES.iter().find(|shape| shape.command == self).map_or("", |shape| shape.name)
    }
}

impl Shape {
    fn named(word: &OsStr) -> Result<&'static Self, UsageError> {
        let word = word.to_string_lossy();
        // `--help` is what people try first.
        let name = if word == "--help" || word == "-h" { "help" } else { &*word };
        SHAPES
            .iter()
            .find(|shape| shape.name.eq_ignore_ascii_case(name))
            .ok_or_else(|| UsageError::Subcommand(word.to_lowercase()))
    }
}

impl Opt {
    fn find(name: &str, shape: &Shape) -> Result<&'static Self, UsageError> {
        if let Some(tls) = TLS_OPTIONS.iter().find(|option| **option == name) {
            return Err(UsageError::Tls(tls));
        }
        let plain = name.strip_prefix("cluster-").unwrap_or(name);
        OPTIONS
            .iter()
            .find(|option| option.name == plain)
            .filter(|option| option.commands.is_empty() || option.commands.contains(&shape.command))
            .ok_or_else(|| UsageError::Option { option: name.to_owned(), command: shape.name })
    }
}

/// An option's name without its dashes; `-a` is redis-cli's word for the password.
fn option_name(arg: &OsStr) -> Option<&str> {
    let text = arg.to_str()?;
    match text {
        "-a" => Some("pass"),
        _ => text.strip_prefix("--").filter(|name| !name.is_empty()),
    }
}

/// redis-cli takes `host port` as two words where one address is wanted.
fn join_host_and_port(shape: &Shape, words: &mut Vec<OsString>) {
    let is_port = |word: &OsString| word.to_str().is_some_and(|w| w.parse::<u16>().is_ok());
    let has_colon = |word: &OsString| word.to_string_lossy().contains(':');
    let takes_one = matches!(shape.command, Check | Info | Fix | Reshard | Import | Rebalance);
    if takes_one && words.len() == 2 && !has_colon(&words[0]) && is_port(&words[1]) {
        let port = words.remove(1);
        words[0].push(":");
        words[0].push(port);
    }
}

/// The usage text.
pub(super) fn usage() -> String {
    let mut text = String::from("Usage: keyway cluster <command> <options> <arguments ...>\n");
    for shape in SHAPES {
        text.push_str(&format!("\n  {:<14} {}\n", shape.name, shape.arguments));
        text.push_str(&format!("  {:<14} {}\n", "", shape.summary));
        let own = |option: &&Opt| option.commands.contains(&shape.command);
        for option in OPTIONS.iter().filter(own) {
            text.push_str(&option_line(option));
        }
    }
    text.push_str("\nWith every command:\n");
    for option in OPTIONS.iter().filter(|option| option.commands.is_empty()) {
        text.push_str(&option_line(option));
    }
    text.push_str(
        "\nOptions may stand before or after the addresses, and may be spelled as redis-cli spells\n\
         them (--cluster-replicas for --replicas). For check, fix, reshard, rebalance, del-node,\n\
         set-timeout, info, call, import and backup any working node of the cluster will do.\n",
    );
    text
}

fn option_line(option: &Opt) -> String {
    let left = format!("--{} {}", option.name, option.value);
    format!("  {:<14} {:<30} {}\n", "", left.trim_end(), option.summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation, UsageError> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Invocation::parse(&args)
    }

    fn words(invocation: &Invocation) -> Vec<&str> {
        invocation.words.iter().filter_map(|word| word.to_str()).collect()
    }

    #[test]
    fn both_spellings_mean_the_same() {
        for line in [
            "create --replicas 1 a:1 b:2",
            "CREATE --replicas 1 a:1 b:2",
            "create a:1 b:2 --cluster-replicas 1",
            "create --cluster-replicas=1 a:1 b:2 --verbose",
        ] {
            let invocation = parse(line).expect(line);
            assert_eq!(invocation.command, Create);
            assert_eq!(invocation.number::<usize>("replicas"), Ok(Some(1)), "{line}");
            assert_eq!(words(&invocation), ["a:1", "b:2"]);
        }
        let weights = "rebalance --weight a=1 --weight b=2 h:1";
        assert_eq!(parse(weights).expect(weights).values("weight"), ["a=1", "b=2"]);
        let weights = "rebalance h:1 --cluster-weight a=1 b=2 --cluster-use-empty-masters";
        let invocation = parse(weights).expect(weights);
        assert_eq!(invocation.values("weight"), ["a=1", "b=2"]);
        assert!(invocation.flag("use-empty-masters"));
        assert_eq!(words(&parse("check 127.0.0.1 7000").expect("two words")), ["127.0.0.1:7000"]);
    }

    #[test]
    fn what_call_calls_is_not_read_as_options() {
        let invocation = parse("call --only-masters h:1 config set save --yes").expect("call");
        assert_eq!(words(&invocation), ["h:1", "config", "set", "save", "--yes"]);
        assert!(invocation.flag("only-masters") && !invocation.flag("yes"));
    }

    #[test]
    fn mistakes_are_named_in_redis_tribs_words() {
        for (line, text) in [
            ("foo", "Unknown redis-trib subcommand 'foo'"),
            ("check --? h:1", "Unknown option '?' for command 'check'"),
            ("check --replicas 1 h:1", "Unknown option 'replicas' for command 'check'"),
            ("check", "[ERR] Wrong number of arguments for specified sub command"),
            ("add-node a:1", "[ERR] Wrong number of arguments for specified sub command"),
            ("import h:1", "Option '--from' is required for subcommand 'import'"),
            (
                "check h:1 --tls --cacert ca.crt",
                "[ERR] Option '--tls': this tool does not speak TLS. Give it a plain port of the \
                 nodes, or a tunnel to it (stunnel).",
            ),
            ("create a:1 --replicas", "[ERR] Option '--replicas' needs a value"),
        ] {
            assert_eq!(parse(line).expect_err(line).to_string(), text, "{line}");
        }
        let invocation = parse("reshard --slots many h:1").expect("read later");
        assert_eq!(
            invocation.number::<usize>("slots").expect_err("no number").to_string(),
            "[ERR] Option '--slots' does not take 'many'"
        );
    }

    #[test]
    fn the_usage_names_every_command_and_every_option() {
        let text = usage();
        for shape in SHAPES {
            assert!(text.contains(shape.name), "{}", shape.name);
        }
        for option in OPTIONS {
            assert!(text.contains(&format!("--{}", option.name)), "{}", option.name);
        }
        for line in ["", "--help", "check --help", "reshard h:1 --help"] {
            assert_eq!(parse(line).expect(line).command, Help, "{line}");
        }
    }
}
