//! Bytes that no friendly client sends: garbage, headers over the limit, frames cut anywhere,
//! other protocols. `corpus.txt` has them, one a line.
//!
//! After each, the server is the same process and takes the next client; what it answers is what
//! `redis-server` 7.0.15 answers, where that one is at hand.

use crate::support::{Client, Cluster, Keyway, Server, expand_big, unescape};
use std::time::Duration;

/// One line of the corpus.
struct Input {
    line: usize,
    text: &'static str,
    bytes: Vec<u8>,
    /// Whether the answer is the server's own affair.
    free: bool,
}

fn corpus() -> Vec<Input> {
    let lines = include_str!("corpus.txt").lines().enumerate();
    let inputs: Vec<Input> = lines
        .filter(|(_, text)| !text.is_empty() && !text.starts_with("# "))
        .map(|(index, text)| {
            let (free, text) = match text.strip_prefix("~ ") {
                Some(rest) => (true, rest),
                None => (false, text),
            };
            Input { line: index + 1, text, bytes: unescape(&expand_big(text)), free }
        })
        .collect();
    assert!(inputs.len() >= 250, "{} inputs", inputs.len());
    inputs
}

/// How long a server may take to answer and to close, once the client has sent everything.
const WITHIN: Duration = Duration::from_secs(5);

/// Sends chunks, says that this was all, and takes what comes until the server closes.
fn converse(server: &Server, chunks: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut client = server.client();
    for chunk in chunks {
        if client.try_send_raw(chunk).is_err() {
            // It has closed already: its answer may still be there.
            break;
        }
    }
    client.finish_sending();
    client.read_to_end(WITHIN)
}

/// Longest input that is cut at every byte; longer ones are cut at some.
const CUT_ALL: usize = 120;

/// Sends the whole corpus, each input also cut in two and byte by byte.
fn survives(server: &mut Server, reference: Option<&Server>) {
    let mut failures = Vec::new();
    for input in corpus() {
        let (whole, closed) = converse(server, &[&input.bytes]);
        if !closed {
            failures.push(format!("line {}: {}: not closed", input.line, input.text));
        }
        let expected = match reference {
            Some(reference) if !input.free => converse(reference, &[&input.bytes]).0,
            _ => whole.clone(),
        };
        if whole != expected {
            failures.push(format!(
                "line {}: {}\n  expected {}\n  got      {}",
                input.line,
                input.text,
                shown(&expected),
                shown(&whole)
            ));
        }
        server.assert_well(input.text);
        if input.free {
            continue;
        }
        let step = 1 + input.bytes.len() / CUT_ALL;
        for cut in (1..input.bytes.len()).step_by(step) {
            let (head, tail) = input.bytes.split_at(cut);
            let (got, closed) = converse(server, &[head, tail]);
            if got != whole || !closed {
                failures.push(format!(
                    "line {}: {} cut at byte {cut}\n  expected {}\n  got      {}",
                    input.line,
                    input.text,
                    shown(&whole),
                    shown(&got)
                ));
                break;
            }
        }
        if input.bytes.len() <= CUT_ALL {
            let bytes: Vec<&[u8]> = input.bytes.chunks(1).collect();
            let (got, _) = converse(server, &bytes);
            if got != whole {
                failures.push(format!(
                    "line {}: {} byte by byte: {}",
                    input.line,
                    input.text,
                    shown(&got)
                ));
            }
        }
        server.assert_well(input.text);
        assert!(failures.len() < 40, "{}", failures.join("\n"));
    }
    assert!(failures.is_empty(), "{} inputs:\n{}", failures.len(), failures.join("\n"));
}

fn shown(bytes: &[u8]) -> String {
    let cut = bytes.len().min(300);
    format!("{} ({} bytes)", bytes[..cut].escape_ascii(), bytes.len())
}

#[test]
fn redis_survives_the_corpus() {
    let Some(mut server) = Server::redis(&[]) else { return };
    survives(&mut server, None);
}

#[test]
fn our_node_survives_the_corpus() {
    let mut server = Server::keyway_node(&[]);
    survives(&mut server, Server::redis(&[]).as_ref());
}

#[test]
fn the_proxy_survives_the_corpus() {
    let Some(cluster) = Cluster::redis(2, 0) else { return };
    let mut proxy = Keyway::proxy(&cluster.seeds(), &[]);
    survives(&mut proxy, Server::redis(&[]).as_ref());
    drop(Client::connect(proxy.port()));
}
