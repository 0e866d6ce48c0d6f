//! Where our node answers otherwise on purpose. Each has its reason in docs/compatibility.md.

use super::compare::parse;
use keyway::resp::Reply;

/// One kind of difference that is meant.
struct Exception {
    /// The command, or its first words, in capitals.
    command: &'static str,
    /// How each reply begins: an error's text, or a string's.
    redis: &'static str,
    ours: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

/// An argument that an error repeats is text in ours: what is no UTF-8 in it is replaced. Errors may
/// also stand inside EXEC's array.
fn is_the_same_text(redis: &[u8], ours: &[u8]) -> bool {
    redis.windows(5).any(|bytes| bytes == b"-ERR ")
        && String::from_utf8_lossy(redis) == String::from_utf8_lossy(ours)
}

/// Whether this difference is one of those.
pub(super) fn is_meant(command: &[Vec<u8>], redis: &[u8], ours: &[u8]) -> bool {
    if is_the_same_text(redis, ours) {
        return true;
    }
    let line = command.join(&b' ').to_ascii_uppercase();
    EXCEPTIONS.iter().any(|exception| {
        line.starts_with(exception.command.as_bytes())
            && text(redis).starts_with(exception.redis)
            && text(ours).starts_with(exception.ours)
    })
}

fn text(reply: &[u8]) -> String {
    let bytes = match parse(reply) {
        Some(Reply::Error(text) | Reply::Simple(text) | Reply::Bulk(text)) => text,
        _ => return String::new(),
    };
    String::from_utf8_lossy(&bytes).into_owned()
}
