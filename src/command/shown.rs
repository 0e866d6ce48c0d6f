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
        quote(out, if is_secret(spec, request, place) { REDACTED } else { arg });
    }
}

/// Parameters of CONFIG SET whose values are secrets.
const SECRETS: &[&str] =
    &["requirepass", "masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass"];
/// Where MIGRATE's options begin: behind the host, the port, a key, the database and the timeout.
const MIGRATE_OPTIONS: usize = 6;

/// What stands in the place of a secret.
pub(super) const REDACTED: &[u8] = b"(redacted)";

/// Whether an argument is a password, or stands beside one.
pub(super) fn is_secret(spec: &Spec, request: &Request<'_>, place: usize) -> bool {
    let is = |at: usize, word: &str| request.arg(at).eq_ignore_ascii_case(word.as_bytes());
    let behind = |word: &str, first: usize, within: usize| {
        (first..place).any(|at| is(at, word) && place - at <= within)
    };
    match spec.name {
        "auth" => place > 0,
        "hello" => behind("auth", 1, 2),
        "migrate" => behind("auth", MIGRATE_OPTIONS, 1) || behind("auth2", MIGRATE_OPTIONS, 2),
        "config|set" => place >= 3 && SECRETS.iter().any(|name| is(place - 1, name)),
        "acl|setuser" => place >= 2,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{lookup_request, shortened};
    use crate::resp::OwnedRequest;

    #[test]
    fn secrets_are_shown_to_nobody() {
        for (given, shown) in [
            ("AUTH secret", "AUTH *"),
            ("auth alice secret", "auth * *"),
            ("HELLO 3 AUTH alice secret SETNAME x", "HELLO 3 AUTH * * SETNAME x"),
            ("CONFIG SET requirepass secret maxmemory 0", "CONFIG SET requirepass * maxmemory 0"),
            ("CONFIG SET maxmemory 0 MASTERAUTH secret", "CONFIG SET maxmemory 0 MASTERAUTH *"),
            ("CONFIG GET requirepass", "CONFIG GET requirepass"),
            ("ACL SETUSER alice on >secret", "ACL SETUSER * * *"),
            (
                "MIGRATE auth auth2 auth auth 10 AUTH secret",
                "MIGRATE auth auth2 auth auth 10 AUTH *",
            ),
            (
                "MIGRATE h 1 k 0 10 COPY AUTH2 u secret KEYS",
                "MIGRATE h 1 k 0 10 COPY AUTH2 * * KEYS",
            ),
            ("SET auth secret", "SET auth secret"),
        ] {
            let words: Vec<&str> = given.split(' ').collect();
            let request = OwnedRequest::from_args(&words);
            let request = request.as_request();
            let spec = lookup_request(&request).expect("a command");
            let kept = shortened(spec, &request).join(&b' ');
            assert_eq!(String::from_utf8_lossy(&kept).replace("(redacted)", "*"), shown);
            let mut line = Vec::new();
            write_monitored(&mut line, spec, &request, 0, 0, &"peer");
            let line = String::from_utf8_lossy(&line).replace("(redacted)", "*").replace('"', "");
            assert_eq!(line, format!("0.000000 [0 peer] {shown}"));
        }
    }
}
