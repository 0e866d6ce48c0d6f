//! Where our node answers otherwise on purpose. Each has its reason in docs/compatibility.md.

use super::compare::{Rule, parse};
use crate::support::Kind;
use keyway::resp::{Encoder, Protocol, Reply};

/// One kind of difference that is meant.
struct Exception {
    /// To which server.
    server: Kind,
    /// The command, or its first words, in capitals.
    command: &'static str,
    /// How each reply begins: an error's text, or a string's.
    theirs: &'static str,
    ours: &'static str,
}

const fn encoding(server: Kind, theirs: &'static str, ours: &'static str) -> Exception {
    Exception { server, command: "OBJECT ENCODING", theirs, ours }
}

/// An argument that an error repeats is text in ours: what is no UTF-8 in it is replaced. Errors may
/// also stand inside EXEC's array.
fn is_the_same_text(redis: &[u8], ours: &[u8]) -> bool {
    let is_error = |start: &[u8]| redis.windows(start.len()).any(|bytes| bytes == start);
    (is_error(b"-ERR ") || is_error(b"-NOGROUP "))
        && String::from_utf8_lossy(redis) == String::from_utf8_lossy(ours)
}

/// A reply as ours would repeat it in an error: text.
pub(super) fn as_text(redis: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(redis).into_owned().into_bytes()
}

/// SORT … BY a constant leaves a set in the order that it has.
fn is_an_unsorted_set(command: &[Vec<u8>], theirs: &[u8], ours: &[u8]) -> bool {
    let ordered = command.get(1).is_some_and(|key| key == b"LIST" || key == b"ZSET");
    let by = command.iter().any(|word| word.eq_ignore_ascii_case(b"BY"));
    let sorts = [&b"SORT"[..], b"SORT_RO"].iter().any(|name| command[0].eq_ignore_ascii_case(name));
    sorts && by && !ordered && Rule::Set.same(theirs, ours)
}

/// Redis 7.2 has listpacks where 7.0.15 has none; Valkey embeds other strings.
const EXCEPTIONS: &[Exception] = &[
    // Since 7.2 the arguments are read before the key is looked for.
    Exception { server: Kind::Redis, command: "BITCOUNT", theirs: "0", ours: "ERR" },
    Exception { server: Kind::Redis, command: "BITPOS", theirs: "0", ours: "ERR" },
    Exception { server: Kind::Redis, command: "BITPOS", theirs: "-1", ours: "ERR" },
    Exception { server: Kind::Redis, command: "BITCOUNT", theirs: "WRONGTYPE", ours: "ERR" },
    Exception { server: Kind::Redis, command: "BITPOS", theirs: "WRONGTYPE", ours: "ERR" },
    // WITHSCORE came with 7.2.
    Exception {
        server: Kind::Redis,
        command: "ZRANK",
        theirs: "ERR wrong number of arguments",
        ours: "ERR syntax",
    },
    Exception {
        server: Kind::Redis,
        command: "ZREVRANK",
        theirs: "ERR wrong number of arguments",
        ours: "ERR syntax",
    },
    encoding(Kind::Redis, "quicklist", "listpack"),
    encoding(Kind::Redis, "hashtable", "listpack"),
    encoding(Kind::Valkey, "embstr", "raw"),
    encoding(Kind::Valkey, "raw", "embstr"),
    // Redis 7.2 refuses the smallest 64-bit integer as a rank.
    Exception {
        server: Kind::Redis,
        command: "LPOS",
        theirs: "",
        ours: "ERR value is out of range, value must between",
    },
    // 7.0 names no command in quotes, and XREAD in either case.
    Exception {
        server: Kind::Redis,
        command: "XREAD",
        theirs: "ERR Unbalanced XREAD list of streams",
        ours: "ERR Unbalanced 'xread",
    },
    // Half a run at the end of a string that is no HyperLogLog any more: they read on behind it.
    Exception { server: Kind::Redis, command: "PFADD", theirs: "", ours: "INVALIDOBJ" },
    // Since 7.2 reading for a group makes the consumer, also where there is nothing to read.
    Exception { server: Kind::Redis, command: "XGROUP CREATECONSUMER", theirs: "1", ours: "0" },
    // Since 7.2 the last id does not go below one that was deleted.
    Exception {
        server: Kind::Redis,
        command: "XSETID",
        theirs: "",
        ours: "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
    },
    // Valkey reads no hexadecimal floats.
    Exception {
        server: Kind::Valkey,
        command: "ZADD",
        theirs: "ERR value is not a valid float",
        ours: "",
    },
    Exception {
        server: Kind::Valkey,
        command: "ZINCRBY",
        theirs: "ERR value is not a valid float",
        ours: "",
    },
    // Valkey takes other cursors: none with a sign, some with a space.
    Exception { server: Kind::Valkey, command: "SSCAN", theirs: "ERR invalid cursor", ours: "" },
    Exception { server: Kind::Valkey, command: "SSCAN", theirs: "", ours: "ERR invalid cursor" },
    // An index beyond 32 bits is cut to 32 bits there.
    Exception {
        server: Kind::Valkey,
        command: "LSET",
        theirs: "OK",
        ours: "ERR index out of range",
    },
    // Redis takes the smallest 64-bit integer as a count.
    Exception {
        server: Kind::Valkey,
        command: "LREM",
        theirs: "ERR value is out of range, value must between",
        ours: "",
    },
];

/// Whether this difference to a server is one of those.
pub(super) fn is_meant(server: Kind, command: &[Vec<u8>], theirs: &[u8], ours: &[u8]) -> bool {
    if is_the_same_text(theirs, ours) || is_an_unsorted_set(command, theirs, ours) {
        return true;
    }
    let line = command.join(&b' ').to_ascii_uppercase();
    EXCEPTIONS.iter().any(|exception| {
        exception.server == server
            && line.starts_with(exception.command.as_bytes())
            && text(theirs).starts_with(exception.theirs)
            && text(ours).starts_with(exception.ours)
    })
}

/// Whether a command picks members by chance and takes them out: what is left differs, too. The
/// grammar does not have it, but its commands are also drawn with a word too few.
pub(super) fn parts_by_chance(command: &[Vec<u8>], theirs: &[u8], ours: &[u8]) -> bool {
    // An id that follows the clock comes from `*`, which the grammar has only among odd words.
    let clock = command[0].eq_ignore_ascii_case(b"XADD") && command.iter().any(|arg| arg == b"*");
    (clock || command[0].eq_ignore_ascii_case(b"SPOP")) && theirs[0] == ours[0] && theirs[0] != b'-'
}

/// Whether two encodings of the same value are the same, or differ as they are meant to.
pub(super) fn allow_encodings(server: Kind, theirs: &Reply, ours: &Reply) -> bool {
    let command = ["OBJECT", "ENCODING"].map(|word| word.as_bytes().to_vec());
    let bytes = |reply: &Reply| {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, Protocol::Resp2).reply(reply);
        bytes
    };
    theirs == ours || is_meant(server, &command, &bytes(theirs), &bytes(ours))
}

fn text(reply: &[u8]) -> String {
    let bytes = match parse(reply) {
        Some(Reply::Integer(number)) => return number.to_string(),
        Some(Reply::Error(text) | Reply::Simple(text) | Reply::Bulk(text)) => text,
        _ => return String::new(),
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where our node publishes other events on purpose: since Redis 7.2 the commands that claim entries
/// tell of a consumer that they make, and XREADGROUP makes one even if there is nothing to read.
pub(super) fn allow_events(command: &[Vec<u8>], theirs: &[String], ours: &[String]) -> bool {
    let claims = ["XCLAIM", "XAUTOCLAIM", "XREADGROUP"];
    let other = |event: &&String| !event.contains("xgroup-createconsumer");
    claims.iter().any(|name| command[0].eq_ignore_ascii_case(name.as_bytes()))
        && ours.iter().filter(other).eq(theirs.iter().filter(other))
        && theirs.iter().all(|event| ours.contains(event))
}
