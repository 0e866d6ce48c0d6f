//! From the name in a request to its [`Spec`]: a hash table that the compiler fills, so that the
//! hot paths of proxy and node neither lock, allocate nor wait for a first use.

use std::fmt;

use super::spec::Spec;
use super::table::{ALL, COUNT};
use crate::resp::Request;

/// Slots of the hash table: a power of two, at most a quarter full.
const SLOTS: usize = 1024;

/// The longest name of a command; anything longer is unknown without a look.
const NAME_BYTES_MAX: usize = 24;

/// One slot of the table: a command, or nothing.
#[derive(Clone, Copy)]
struct Place {
    /// [`key`] of the name, of which a short one needs no further look.
    key: u64,
    /// Bytes of the name; 0 in an empty slot.
    len: u8,
    /// Where it is in [`ALL`].
    at: u16,
}

/// Where each command (not each subcommand) is in [`ALL`], by the hash of its name.
static INDEX: [Place; SLOTS] = index();

const fn index() -> [Place; SLOTS] {
    let mut slots = [Place { key: 0, len: 0, at: 0 }; SLOTS];
    let mut at = 0;
    while at < COUNT {
        let name = ALL[at].name.as_bytes();
        let key = key(name);
        let mut slot = slot(key, name.len());
        while slots[slot].len != 0 {
            slot = (slot + 1) % SLOTS;
        }
        assert!(name.len() <= NAME_BYTES_MAX);
        slots[slot] = Place { key, len: name.len() as u8, at: at as u16 };
        // Subcommands are found through their container.
        at += 1 + ALL[at].subcommand_count as usize;
    }
    slots
}

/// What a name of up to eight bytes is and a longer one begins with, without letter case. Together with its
/// length it says all about a short name: a few loads instead of a look at every byte.
#[inline(always)]
const fn key(name: &[u8]) -> u64 {
    let word = if let Some(first) = name.first_chunk::<8>() {
        u64::from_le_bytes(*first)
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32
    } else if let [first, .., last] = name {
        *first as u64 | (name[name.len() / 2] as u64) << 8 | (*last as u64) << 16
    } else if let [only] = name {
        *only as u64
    } else {
        0
    };
    lower_case(word)
}

/// Turns each of eight bytes that is `A` to `Z` into lower case.
#[inline(always)]
const fn lower_case(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & (EACH * 0x7f);
    let from_a = low + EACH * (0x80 - b'A' as u64);
    let past_z = low + EACH * (0x7f - b'Z' as u64);
    let is_upper = (from_a ^ past_z) & !word & (EACH * 0x80);
    word | is_upper >> 2
}

#[inline(always)]
const fn slot(key: u64, len: usize) -> usize {
    let mixed = (key ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - SLOTS.trailing_zeros())) as usize
}

/// The command of this name, in any letter case. Subcommands (`config|get`) are not found here:
/// see [`lookup_request`] and [`lookup_full_name`].
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Spec> {
    let (key, len) = (key(name), name.len());
    let mut slot = slot(key, len);
    loop {
        let place = &INDEX[slot];
        if place.key == key && usize::from(place.len) == len && len > 0 {
            let spec = &ALL[usize::from(place.at)];
            if len <= 8 || spec.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(spec);
            }
        } else if place.len == 0 {
            return None;
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// The command or subcommand of this name, as COMMAND INFO takes it: `get`, `config|get`.
pub fn lookup_full_name(name: &[u8]) -> Option<&'static Spec> {
    match memchr::memchr(b'|', name) {
        None => lookup(name),
        Some(at) => lookup_subcommand(lookup(&name[..at])?, &name[at + 1..]),
    }
}

/// The subcommand of `container` of this name, in any letter case.
pub fn lookup_subcommand(container: &Spec, name: &[u8]) -> Option<&'static Spec> {
    let prefix = container.name.len() + 1;
    container
        .subcommands()
        .iter()
        .find(|sub| sub.name.as_bytes()[prefix..].eq_ignore_ascii_case(name))
}

/// The command of a request, its subcommand if it names one, with an accepted number of arguments.
///
/// # Errors
/// What Redis would refuse before it looks at anything else; the error displays as Redis writes it.
#[inline]
pub fn lookup_request<'a>(request: &Request<'a>) -> Result<&'static Spec, UnknownCommand<'a>> {
    let unknown = || UnknownCommand::Name { request: *request };
    let mut spec = lookup(request.name()).ok_or_else(unknown)?;
    if spec.is_container()
        && let Some(name) = request.get(1)
    {
        spec = lookup_subcommand(spec, name)
            .ok_or(UnknownCommand::Subcommand { container: spec, name })?;
    }
    if !spec.arity.accepts(request.len()) {
        return Err(UnknownCommand::Arity { spec });
    }
    Ok(spec)
}

/// Why a request names nothing that can be run. `Display` is the text of the error reply, its
/// code included, word for word as Redis has it; non-UTF-8 bytes come out lossily, so replies are
/// better written with [`UnknownCommand::write`].
#[derive(Clone, Copy, Debug)]
pub enum UnknownCommand<'a> {
    /// No command of that name.
    Name {
        /// The request: the error quotes its name and some of its arguments.
        request: Request<'a>,
    },
    /// The container has no such subcommand.
    Subcommand {
        /// The container.
        container: &'static Spec,
        /// The subcommand as it was written.
        name: &'a [u8],
    },
    /// Too many or too few arguments.
    Arity {
        /// What was called.
        spec: &'static Spec,
    },
}

/// How many bytes of a name, and of all the arguments together, an error quotes.
const QUOTED_BYTES: usize = 128;

impl UnknownCommand<'_> {
    /// Appends the error's text, code first, to `out`. It may hold CR and LF of the client's:
    /// `resp::Encoder::error` turns them into spaces, as Redis does.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Name { request } => {
                out.extend_from_slice(b"ERR unknown command '");
                out.extend_from_slice(quoted(request.name(), QUOTED_BYTES));
                out.extend_from_slice(b"', with args beginning with: ");
                let start = out.len();
                for arg in request.args_from(1) {
                    let used = out.len() - start;
                    if used >= QUOTED_BYTES {
                        break;
                    }
                    out.push(b'\'');
                    out.extend_from_slice(quoted(arg, QUOTED_BYTES - used));
                    out.extend_from_slice(b"' ");
                }
            }
            Self::Subcommand { container, name } => {
                out.extend_from_slice(b"ERR unknown subcommand '");
                out.extend_from_slice(quoted(name, QUOTED_BYTES));
                out.extend_from_slice(b"'. Try ");
                out.extend(container.name.bytes().map(|byte| byte.to_ascii_uppercase()));
                out.extend_from_slice(b" HELP.");
            }
            Self::Arity { spec } => {
                out.extend_from_slice(b"ERR wrong number of arguments for '");
                out.extend_from_slice(spec.name.as_bytes());
                out.extend_from_slice(b"' command");
            }
        }
    }
}

impl fmt::Display for UnknownCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl std::error::Error for UnknownCommand<'_> {}

/// The part of `text` that Redis's printf would show: up to `max` bytes, and to the first NUL.
fn quoted(text: &[u8], max: usize) -> &[u8] {
    let text = &text[..text.len().min(max)];
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for spec in ALL.iter() {
            assert_eq!(lookup_full_name(spec.name.as_bytes()).map(Spec::id), Some(spec.id()));
            let upper = spec.name.to_ascii_uppercase();
            assert_eq!(lookup_full_name(upper.as_bytes()).map(Spec::id), Some(spec.id()));
        }
    }

    #[test]
    fn what_is_no_command_is_not_found() {
        for name in ["", "ge", "gett", "config|get", "get\0", "config|", "georadiusbymember_rox"] {
            assert!(lookup(name.as_bytes()).is_none(), "{name:?}");
        }
        assert!(lookup(&[b'a'; 10_000]).is_none());
        // A bit that is letter case in letters is something else elsewhere.
        assert!(lookup(b"PING@").is_none() && lookup(b"fcall\x7fro").is_none());
        assert!(lookup(b"zrangebyscore\x00").is_none());
        assert!(lookup(b"eval\x7fro").is_none());
        assert!(lookup_full_name(b"config|get|x").is_none());
    }

    fn text(args: &[&[u8]]) -> String {
        let request = OwnedRequest::from_args(args);
        match lookup_request(&request.as_request()) {
            Ok(spec) => spec.name.to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_request_is_resolved_or_refused_in_redis_words() {
        let long = [b'x'; 200];
        let table: &[(&[&[u8]], &str)] = &[
            (&[b"GET", b"k"], "get"),
            (&[b"Config", b"Get", b"x"], "config|get"),
            (&[b"COMMAND"], "command"),
            (&[b"foo"], "ERR unknown command 'foo', with args beginning with: "),
            (
                &[b"foo", b"a", b"b"],
                "ERR unknown command 'foo', with args beginning with: 'a' 'b' ",
            ),
            (&[b"foo\0bar", b"a\0b"], "ERR unknown command 'foo', with args beginning with: 'a' "),
            (&[b""], "ERR unknown command '', with args beginning with: "),
            (&[b"GET"], "ERR wrong number of arguments for 'get' command"),
            (&[b"CONFIG"], "ERR wrong number of arguments for 'config' command"),
            (&[b"CONFIG", b"GET"], "ERR wrong number of arguments for 'config|get' command"),
            (&[b"config", b"nO"], "ERR unknown subcommand 'nO'. Try CONFIG HELP."),
        ];
        for (args, expected) in table {
            assert_eq!(text(args), *expected);
        }
        let x128 = "x".repeat(128);
        assert_eq!(
            text(&[&long, b"ab", &long, b"c"]),
            format!(
                "ERR unknown command '{x128}', with args beginning with: 'ab' '{}' ",
                &x128[5..]
            )
        );
        assert_eq!(
            text(&[b"acl", &long]),
            format!("ERR unknown subcommand '{x128}'. Try ACL HELP.")
        );
    }

    /// `cargo test --release --lib command::lookup -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement: run it alone"]
    #[allow(clippy::disallowed_methods, reason = "it measures")]
    fn a_lookup_takes_less_than_20_ns() {
        let names: Vec<&[u8]> = vec![b"GET", b"set", b"MGET", b"hset", b"ZRANGEBYSCORE", b"EXPIRE"];
        let rounds = 2_000_000;
        let start = std::time::Instant::now();
        for _ in 0..rounds {
            for name in &names {
                std::hint::black_box(lookup(std::hint::black_box(name)));
            }
        }
        let each = start.elapsed().as_nanos() as f64 / (rounds * names.len()) as f64;
        println!("{each:.1} ns a lookup");
        assert!(each < 20.0 || cfg!(debug_assertions), "{each:.1} ns a lookup");
    }
}
