//! A request as a log of slow ones shows it: enough to know it by, and no more.

use super::Spec;
use super::shown::{REDACTED, is_secret};
use crate::resp::Request;

/// Arguments that are shown; the last says how many there were more.
const ARGS_MAX: usize = 32;
/// Bytes that are shown of each argument.
const ARG_BYTES_MAX: usize = 128;

/// A request's arguments, secrets and too many left out and long ones cut, in the words of Redis's
/// SLOWLOG.
pub fn shortened(spec: &Spec, request: &Request<'_>) -> Vec<Vec<u8>> {
    let whole = request.len();
    let kept = if whole > ARGS_MAX { ARGS_MAX - 1 } else { whole };
    let shorten = |arg: &[u8]| match arg.get(..ARG_BYTES_MAX) {
        Some(head) if arg.len() > ARG_BYTES_MAX => {
            let rest = format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX);
            [head, rest.as_bytes()].concat()
        }
        _ => arg.to_vec(),
    };
    let mut args: Vec<Vec<u8>> = request
        .args_from(0)
        .take(kept)
        .enumerate()
        .map(
            |(place, arg)| {
                if is_secret(spec, request, place) { REDACTED.to_vec() } else { shorten(arg) }
            },
        )
        .collect();
    if kept < whole {
        args.push(format!("... ({} more arguments)", whole - kept).into_bytes());
    }
    args
}
