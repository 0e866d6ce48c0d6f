//! What stands for a word of the grammar.
//!
//! Times to live are either long past or far away: a key that expires between the two servers'
//! answers would be a difference that says nothing. Offsets never make a value of many megabytes.

use super::groups::{SCRIPTS_THAT_CALL, SCRIPTS_THAT_GIVE};
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use std::sync::LazyLock;

/// The names that a grammar may use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Draw {
    Key,
    Value,
    Field,
    Integer,
    Float,
    Index,
    Offset,
    Count,
    Few,
    Seconds,
    Milliseconds,
    AtSeconds,
    AtMilliseconds,
    Pattern,
    Type,
    Cursor,
    Database,
    Text,
    Name,
    Slot,
    Bit,
    Width,
    Score,
    Weight,
    End,
    Lex,
    Id,
    NewId,
    RangeEnd,
    Group,
    Consumer,
    Idle,
    Longitude,
    Latitude,
    Radius,
    Unit,
    By,
    Get,
    Payload,
    Directive,
    Setting,
    Command,
    Script,
    Values,
}

impl Draw {
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "key" => Self::Key,
            "value" => Self::Value,
            "field" => Self::Field,
            "integer" => Self::Integer,
            "float" => Self::Float,
            "index" => Self::Index,
            "offset" => Self::Offset,
            "count" => Self::Count,
            "few" => Self::Few,
            "seconds" => Self::Seconds,
            "milliseconds" => Self::Milliseconds,
            "at-seconds" => Self::AtSeconds,
            "at-milliseconds" => Self::AtMilliseconds,
            "pattern" => Self::Pattern,
            "type" => Self::Type,
            "cursor" => Self::Cursor,
            "database" => Self::Database,
            "text" => Self::Text,
            "name" => Self::Name,
            "slot" => Self::Slot,
            "bit" => Self::Bit,
            "width" => Self::Width,
            "score" => Self::Score,
            "weight" => Self::Weight,
            "end" => Self::End,
            "lex" => Self::Lex,
            "id" => Self::Id,
            "new-id" => Self::NewId,
            "range-end" => Self::RangeEnd,
            "group" => Self::Group,
            "consumer" => Self::Consumer,
            "idle" => Self::Idle,
            "longitude" => Self::Longitude,
            "latitude" => Self::Latitude,
            "radius" => Self::Radius,
            "unit" => Self::Unit,
            "by" => Self::By,
            "get" => Self::Get,
            "payload" => Self::Payload,
            "directive" => Self::Directive,
            "setting" => Self::Setting,
            "command" => Self::Command,
            "script" => Self::Script,
            "values" => Self::Values,
            other => panic!("nothing is drawn for `{other}`"),
        }
    }

    pub(super) fn draw(self, rng: &mut impl Rng) -> Vec<u8> {
        match self {
            Self::Key => key(rng),
            Self::Value => value(rng),
            Self::Field => field(rng),
            Self::Integer => integer(rng),
            Self::Float => float(rng),
            Self::Index => match rng.random_range(0..20) {
                0 => extreme(rng),
                _ => number(rng.random_range(-30..30)),
            },
            Self::Offset => match rng.random_range(0..20) {
                0 => extreme(rng),
                1 => number(rng.random_range(0..3000)),
                _ => number(rng.random_range(0..80)),
            },
            Self::Count => match rng.random_range(0..20) {
                0 => extreme(rng),
                1 => number(-rng.random_range(1..5)),
                _ => number(rng.random_range(0..40)),
            },
            Self::Few => number(rng.random_range(-20..40)),
            Self::Seconds => lifetime(rng, 0, 1),
            Self::Milliseconds => lifetime(rng, 0, 1000),
            Self::AtSeconds => lifetime(rng, FAR_AWAY, 1),
            Self::AtMilliseconds => lifetime(rng, FAR_AWAY, 1000),
            Self::Pattern => pick(rng, PATTERNS),
            Self::Type => pick(rng, &["string", "hash", "STRING", "list", "zset", "nothing", ""]),
            Self::Cursor => b"0".to_vec(),
            Self::Database => match rng.random_range(0..20) {
                0 => junk(rng),
                _ => number(rng.random_range(0..4)),
            },
            Self::Text => text(rng),
            Self::Name => {
                pick(rng, &["worker", "a-b_c", "with space", "new\nline", "", "\x7f", "é"])
            }
            Self::Bit => match rng.random_range(0..30) {
                0 => pick(rng, &["-1", "4294967296", "9223372036854775807", "abc", ""]),
                1 => number(rng.random_range(0..20_000)),
                _ => number(rng.random_range(0..300)),
            },
            Self::Width => match rng.random_range(0..20) {
                0 => pick(rng, &["u64", "i65", "u0", "i", "8", "x8", "U8", "i64 ", "i08"]),
                1..3 => pick(rng, &["i64", "u63", "i1", "u1"]),
                even if even % 2 == 0 => format!("u{}", rng.random_range(1..64)).into_bytes(),
                _ => format!("i{}", rng.random_range(1..65)).into_bytes(),
            },
            Self::Score => score(rng),
            Self::Weight => match rng.random_range(0..10) {
                0 => pick(rng, &["inf", "-inf", "nan", "abc", "", " 1"]),
                _ => pick(rng, &["0", "1", "2", "3", "-1", "0.5"]),
            },
            Self::End => match rng.random_range(0..20) {
                0 => pick(rng, &["", "(", "(abc", "nan", " 1", "[1", "1e400", "((1", "1 "]),
                1..5 => pick(rng, &["-inf", "+inf", "(-inf", "(inf", "inf"]),
                even => {
                    let open = if even % 2 == 0 { &b"("[..] } else { b"" };
                    [open, &number(rng.random_range(-20..20))].concat()
                }
            },
            Self::Lex => match rng.random_range(0..20) {
                0 => pick(rng, &["", "a", "++", "-x", "1"]),
                1..6 => pick(rng, &["-", "+"]),
                even => [if even % 2 == 0 { &b"("[..] } else { b"[" }, &field(rng)].concat(),
            },
            Self::Id => stream_id(rng),
            Self::NewId => match rng.random_range(0..20) {
                0 => stream_id(rng),
                1 => b"9223372036854775807-*".to_vec(),
                2..5 => {
                    format!("{}-{}", rng.random_range(0..40), rng.random_range(0..9)).into_bytes()
                }
                5..7 => format!("{}", rng.random_range(0..600)).into_bytes(),
                _ => format!("{}-*", rng.random_range(0..40)).into_bytes(),
            },
            Self::RangeEnd => match rng.random_range(0..10) {
                0..2 => b"-".to_vec(),
                2..4 => b"+".to_vec(),
                4..6 => [b"(", &stream_id(rng)[..]].concat(),
                _ => stream_id(rng),
            },
            Self::Group => pick(rng, &["g", "g", "g", "g2", "", "g 3"]),
            Self::Consumer => pick(rng, &["c1", "c1", "c2", "c2", "c3", "", "17"]),
            // What nothing has waited for, or everything that was given such a time.
            Self::Idle => match rng.random_range(0..10) {
                0 => integer(rng),
                1..3 => number(rng.random_range(3_000_000..4_000_000)),
                3..5 => number(rng.random_range(1_000_000..2_000_000)),
                _ => b"0".to_vec(),
            },
            Self::Longitude => match rng.random_range(0..60) {
                0 => pick(rng, &["180", "-180", "0", "180.1", "abc", "nan", "1e400", ""]),
                _ => rng.random_range(-180.0..180.0_f64).to_string().into_bytes(),
            },
            Self::Latitude => match rng.random_range(0..60) {
                0 => pick(rng, &["85.05112878", "-85.05112878", "0", "85.06", "90", "abc", "inf"]),
                _ => rng.random_range(-85.0..85.0_f64).to_string().into_bytes(),
            },
            Self::Radius => match rng.random_range(0..20) {
                0 => pick(rng, &["0", "-1", "abc", "1e9", "inf", "nan", ""]),
                1..8 => number(rng.random_range(0..30_000)),
                _ => rng.random_range(0.0..6_000.0_f64).to_string().into_bytes(),
            },
            Self::Unit => match rng.random_range(0..10) {
                0 => pick(rng, &["m", "ft", "M", "yards", ""]),
                _ => pick(rng, &["km", "KM", "mi", "km", "Mi"]),
            },
            // What SORT looks up for an element.
            Self::By => pick(rng, &["k*", "k*", "k*->f1", "k*->f1", "k*->", "*", "k*->f*"]),
            Self::Get => pick(rng, &["k*", "#", "k*->f1", "k*->", "none", "k1", "->*", "k*->f2"]),
            Self::Payload => payload(rng),
            Self::Directive => pick(rng, DIRECTIVES),
            Self::Setting => match rng.random_range(0..10) {
                0 => integer(rng),
                1..4 => number(rng.random_range(0..200)),
                _ => pick(rng, SETTINGS),
            },
            Self::Command => pick(rng, COMMANDS),
            Self::Script => pick(rng, SCRIPTS_THAT_CALL),
            Self::Values => pick(rng, SCRIPTS_THAT_GIVE),
            Self::Slot => match rng.random_range(0..10) {
                0 => extreme(rng),
                1 => number(rng.random_range(16_380..16_390)),
                _ => number(rng.random_range(0..16_384)),
            },
        }
    }
}

/// The year 2096, in seconds: whatever is added to it does not pass during a test.
const FAR_AWAY: i64 = 4_000_000_000;

const PATTERNS: &[&str] = &[
    "*",
    "k*",
    "*1",
    "k?",
    "k[0-4]",
    "k[^0-4]",
    "k[4-0]",
    "?",
    "",
    "k\\1",
    "k1*",
    "**",
    "*k*1*",
    "[",
    "[k",
    "k[1",
    "[^k]*",
    "\\",
    "k\\*",
    "f*",
    "f[1-3]",
    "*{*",
    "[a-z][0-9]",
    "[]*",
    "[^]*",
    "nothing",
    "K*",
    "[\\k]*",
    "[k\\-]1",
];

/// What CONFIG GET is asked for: names and patterns of what every server has.
const DIRECTIVES: &[&str] = &[
    "hash-max-listpack-entries",
    "hash-max-ziplist-value",
    "HASH-max-*",
    "?ash-max-listpack-*",
    "maxmemory",
    "maxmemory-policy",
    "list-compress-depth",
    "notify-keyspace-events",
    "slowlog-*",
    "stream-node-max-?????",
    "appendfsync",
    "[z]set*",
    "nothing",
    "nothing*",
    "",
];

/// What CONFIG SET is given.
const SETTINGS: &[&str] = &[
    "yes",
    "no",
    "YES",
    "1kb",
    "1 kb",
    "2MB",
    "3gb",
    "4g",
    "1.5mb",
    "-1",
    "-5",
    "-6",
    "10%",
    "everysec",
    "ALWAYS",
    "noeviction",
    "allkeys-lfu",
    "volatile-ttl",
    "KEA",
    "gxE",
    "m n",
    "k1 k2",
    "",
];

/// Names of commands as COMMAND is asked about them.
const COMMANDS: &[&str] = &[
    "get",
    "GET",
    "xgroup|create",
    "lpush",
    "config|rewrite|now",
    "config|nothing",
    "get|x",
    "nothing",
    "object|encoding",
    "zadd",
    "",
];

/// A value as DUMP writes it, whole or with a byte that is not its own.
fn payload(rng: &mut impl Rng) -> Vec<u8> {
    static PAYLOADS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let lines = include_str!("payloads.txt").lines().filter(|line| !line.starts_with('#'));
        let byte = |pair: &[u8]| {
            let digits = std::str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(digits, 16).expect("hexadecimal digits")
        };
        lines.map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
    });
    let mut payload = PAYLOADS.choose(rng).expect("some").clone();
    match rng.random_range(0..30) {
        0 => payload.truncate(rng.random_range(0..payload.len())),
        1 => {
            let at = rng.random_range(0..payload.len());
            payload[at] ^= rng.random_range(1..=255);
        }
        2 => payload.push(0),
        _ => {}
    }
    payload
}

/// So few keys that commands meet each other's values.
fn key(rng: &mut impl Rng) -> Vec<u8> {
    match rng.random_range(0..40) {
        0 => Vec::new(),
        1 => b"k{}\r\n\0\xff".to_vec(),
        2 => vec![b'k'; 600],
        _ => format!("k{}", rng.random_range(0..12)).into_bytes(),
    }
}

fn stream_id(rng: &mut impl Rng) -> Vec<u8> {
    const ODD: &[&str] = &[
        "",
        "-",
        "*",
        "$",
        ">",
        "(",
        "5-*",
        "-5",
        "5-",
        "05-01",
        " 5",
        "5--1",
        "5--01",
        "18446744073709551615-18446744073709551615",
        "18446744073709551615",
        "18446744073709551616-0",
        "0-0",
        "0-1",
        "5-1-1",
        "a-b",
    ];
    match rng.random_range(0..16) {
        0 => pick(rng, ODD),
        1..5 => number(rng.random_range(0..40)),
        _ => format!("{}-{}", rng.random_range(0..40), rng.random_range(0..3)).into_bytes(),
    }
}

fn field(rng: &mut impl Rng) -> Vec<u8> {
    match rng.random_range(0..40) {
        0 => Vec::new(),
        1 => b"f\r\n\0\xff".to_vec(),
        2 => vec![b'f'; 64],
        3 => vec![b'f'; 65],
        4 => number(rng.random_range(-5..5)),
        5..8 => format!("f{}", rng.random_range(0..1000)).into_bytes(),
        _ => format!("f{}", rng.random_range(0..10)).into_bytes(),
    }
}

fn value(rng: &mut impl Rng) -> Vec<u8> {
    match rng.random_range(0..16) {
        0 => Vec::new(),
        1 => b"\0\r\n\xff*1\r\n".to_vec(),
        2 => vec![b'v'; *[43, 44, 45, 63, 64, 65].choose(rng).expect("some")],
        3 => vec![b'w'; rng.random_range(0..2000)],
        4..7 => number(rng.random_range(-1000..100_000)),
        7 => integer(rng),
        8 | 9 => float(rng),
        10 => text(rng),
        _ => format!("value{}", rng.random_range(0..100)).into_bytes(),
    }
}

/// Text over few letters, so that two of them have something in common.
fn score(rng: &mut impl Rng) -> Vec<u8> {
    match rng.random_range(0..20) {
        0 => pick(rng, &["inf", "-inf", "-0", "abc", "", "nan", "1e20", "123456789012", "0x1p3"]),
        1..5 => (f64::from(rng.random_range(-80..80)) / 8.0).to_string().into_bytes(),
        _ => number(rng.random_range(-20..20)),
    }
}

fn text(rng: &mut impl Rng) -> Vec<u8> {
    let len = rng.random_range(0..40);
    (0..len).map(|_| b'a' + rng.random_range(0..4)).collect()
}

fn integer(rng: &mut impl Rng) -> Vec<u8> {
    match rng.random_range(0..12) {
        0 => extreme(rng),
        1 => junk(rng),
        2 => number(rng.random()),
        _ => number(rng.random_range(-1000..1000)),
    }
}

fn float(rng: &mut impl Rng) -> Vec<u8> {
    const ODD: &[&str] = &[
        "0.1",
        "-0",
        "-0.0",
        "1e3",
        "1E-7",
        "1e17",
        "1e-17",
        "123456789.123456789",
        "3.0",
        "5.0e3",
        "0x1p3",
        "1e308",
        "-1e308",
        "1e4932",
        "1e-4940",
        "inf",
        "-inf",
        "+inf",
        "infinity",
        "nan",
        "-nan",
        "1.",
        ".5",
        "+1.5",
        " 1",
        "1 ",
        "1,5",
        "1e",
        "e1",
        "0.30000000000000004",
        "10000000000000000000000",
        "99999999999999999",
        "0.00000000000000001",
        "1.7976931348623157e308",
        "4.9e-324",
    ];
    match rng.random_range(0..4) {
        0 => pick(rng, ODD),
        1 => number(rng.random_range(-100..100)),
        2 => format!("{:.3}", rng.random_range(-1000.0..1000.0_f64)).into_bytes(),
        _ => format!("{}", rng.random_range(-10.0..10.0_f64)).into_bytes(),
    }
}

/// A time from `start` on: far away, or long past, or none at all. In units of 1/`unit` second.
fn lifetime(rng: &mut impl Rng, start: i64, unit: i64) -> Vec<u8> {
    match rng.random_range(0..20) {
        0 => number(0),
        1 => number(-rng.random_range(1..100_000)),
        2 => pick(
            rng,
            &[
                "9223372036854775807",
                "9223372036854775",
                "-9223372036854775808",
                "abc",
                "1.5",
                "",
                " 9999",
            ],
        ),
        _ => number((start + rng.random_range(10_000..10_000_000)) * unit),
    }
}

/// Numbers at which something overflows. None is a size that a server would take memory for.
fn extreme(rng: &mut impl Rng) -> Vec<u8> {
    const EXTREME: &[&str] = &[
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "4294967296",
        "2147483648",
        "-2147483649",
        "4611686018427387904",
        "99999999999999999999999",
        "-1",
        "0",
    ];
    pick(rng, EXTREME)
}

/// What fits nowhere.
pub(super) fn junk(rng: &mut impl Rng) -> Vec<u8> {
    const JUNK: &[&str] = &[
        "",
        " ",
        "abc",
        "1.5",
        "-0",
        "01",
        "+1",
        " 1",
        "1 ",
        "NX",
        "XX",
        "EX",
        "GET",
        "COUNT",
        "MATCH",
        "WITHVALUES",
        "1e3",
        "\r\n",
        "a\r\n+INJECTED\r\n",
        "k1",
        "*",
        "'",
        "\"",
        "0x10",
    ];
    match rng.random_range(0..4) {
        0 => extreme(rng),
        // Without NUL, at which Redis ends what it repeats in an error, and a number.
        1 => (0..rng.random_range(1..20)).map(|_| rng.random_range(1..=255)).collect(),
        _ => pick(rng, JUNK),
    }
}

fn number(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn pick(rng: &mut impl Rng, from: &[&str]) -> Vec<u8> {
    from.choose(rng).expect("something to pick from").as_bytes().to_vec()
}
