//! A command as MONITOR shows it: which are shown at all, and what of them is a secret.

use super::{Flags, Spec};
use crate::resp::Request;
use std::fmt::Display;
use std::io::Write;

/// Whether MONITOR shows this command. Commands for operators are not shown; scripts are, though
/// they skip it (in Redis they show themselves, before what they call).
pub fn is_monitored(spec: &Spec) -> bool {
    let skips = spec.flags.contains(Flags::SKIP_MONITOR) && !spec.runs_script();
    !skips && !spec.flags.contains(Flags::ADMIN) && spec.name != "quit"
}

/// Appends a line of MONITOR, without its `+` and line end: `seconds.micros [database peer] "…" …`.
/// Passwords are left out. All of it is printable ASCII.
pub fn write_monitored(
    out: &mut Vec<u8>,
    spec: &Spec,
    request: &Request<'_>,
    unix_us: u64,
    database: u32,
    peer: &dyn Display,
) {
    let (seconds, micros) = (unix_us / 1_000_000, unix_us % 1_000_000);
    write!(out, "{seconds}.{micros:06} [{database} {peer}]").expect("a vector takes all");
    for (place, arg) in request.args_from(0).enumerate() {
        out.push(b' ');
        if is_secret(spec, request, place) {
            out.extend_from_slice(b"\"(redacted)\"");
        } else {
            quote(out, arg);
        }
    }
}

/// Whether an argument is a password, or stands beside one.
fn is_secret(spec: &Spec, request: &Request<'_>, place: usize) -> bool {
    let behind = |word: &str, within: usize| {
        (1..place)
            .any(|at| request.arg(at).eq_ignore_ascii_case(word.as_bytes()) && place - at <= within)
    };
    match spec.name {
        "auth" => place > 0,
        "hello" => behind("auth", 2),
        "migrate" => behind("auth", 1) || behind("auth2", 2),
        _ => false,
    }
}

/// Text in quotes, what cannot be printed as an escape.
fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => write!(out, "\\x{byte:02x}").expect("a vector takes all"),
        }
    }
    out.push(b'"');
}
