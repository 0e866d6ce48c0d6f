//! `call` and `set-timeout`: the same to every node.

use super::failure::Failure;
use super::nodes::Node;
use super::tool::Tool;
use crate::admin::plan::{Plan, Step};
use crate::admin::snapshot::NodeView;
use crate::cluster::NodeId;
use crate::resp::Reply;
use serde_json::json;
use std::os::unix::ffi::OsStrExt;

/// redis-trib refuses less: a node that is busy for a moment would be held for dead.
const TIMEOUT_MS_MIN: u64 = 100;

/// The directive of `set-timeout`.
const TIMEOUT: &str = "cluster-node-timeout";

/// The same command to each of these nodes, as a plan.
fn calls<'a>(nodes: impl Iterator<Item = &'a NodeView>, command: &str) -> Plan {
    let call =
        |node: &NodeView| Step::Call { node: node.endpoint.clone(), command: command.to_owned() };
    Plan { steps: nodes.map(call).collect() }
}

/// `set-timeout`.
pub(super) async fn set_timeout(tool: &mut Tool) -> Result<(), Failure> {
    let word = tool.invocation.words[1].to_string_lossy().into_owned();
    let timeout: u64 = word
        .parse()
        .map_err(|_| Failure::error(format!("'{word}' is not a number of milliseconds")))?;
    if timeout < TIMEOUT_MS_MIN {
        return Err(Failure::new(
            "Setting a node timeout of less than 100 milliseconds is a bad idea.",
        ));
    }
    let mut cluster = tool.load(0).await?;
    tool.say(">>> Reconfiguring node timeout in every cluster node...");
    let command = format!("CONFIG SET {TIMEOUT} {timeout}");
    if tool.only_shows_steps(&calls(cluster.snapshot.nodes.iter(), &command)) {
        return Ok(());
    }
    let ids: Vec<NodeId> = cluster.snapshot.nodes.iter().map(NodeView::id).collect();
    let (mut done, mut failed) = (0, 0);
    for id in ids {
        let node = cluster.node(id);
        let endpoint = node.endpoint.clone();
        match set_timeout_of(node, timeout).await {
            Ok(note) => {
                tool.say(format!("*** New timeout set for {endpoint}"));
                if let Some(note) = note {
                    tool.say(format!("[WARNING] {endpoint} forgets it when it restarts: {note}"));
                }
                done += 1;
            }
            Err(failure) => {
                tool.say(failure.text);
                failed += 1;
            }
        }
    }
    tool.say(format!(">>> New node timeout set. {done} OK, {failed} ERR."));
    tool.note("result", json!({"ok": done, "failed": failed}));
    if failed == 0 { Ok(()) } else { Err(Failure::silent()) }
}

/// Sets it, and writes it to the node's file; says why the latter failed, if it did.
async fn set_timeout_of(node: &mut Node, timeout: u64) -> Result<Option<String>, Failure> {
    node.call(&["CONFIG", "SET", TIMEOUT, &timeout.to_string()]).await?;
    let reply = node.ask(&["CONFIG", "REWRITE"]).await?;
    Ok(reply.as_error().map(|text| String::from_utf8_lossy(text).into_owned()))
}

/// `call`.
pub(super) async fn call(tool: &mut Tool) -> Result<(), Failure> {
    let mut args: Vec<Vec<u8>> =
        tool.invocation.words[1..].iter().map(|word| word.as_bytes().to_vec()).collect();
    args[0].make_ascii_uppercase();
    let shown: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
    let shown = shown.join(" ");
    let mut cluster = tool.load(0).await?;
    tool.say(format!(">>> Calling {shown}"));
    let only_primaries = tool.invocation.flag("only-masters");
    let only_replicas = tool.invocation.flag("only-replicas");
    let wanted = |node: &&NodeView| {
        !(only_primaries && node.own.is_replica() || only_replicas && node.own.is_primary())
    };
    if tool.only_shows_steps(&calls(cluster.snapshot.nodes.iter().filter(wanted), &shown)) {
        return Ok(());
    }
    let ids: Vec<NodeId> = cluster.snapshot.nodes.iter().filter(wanted).map(NodeView::id).collect();
    let mut failed = false;
    let mut results = Vec::new();
    for id in ids {
        let node = cluster.node(id);
        let text = match node.ask(&args).await {
            Ok(reply) => {
                failed |= reply.as_error().is_some();
                plain(&reply)
            }
            Err(failure) => {
                failed = true;
                failure.text
            }
        };
        let endpoint = node.endpoint.clone();
        tool.say(format!("{endpoint}: {text}"));
        results.push(json!({"node": endpoint.to_string(), "reply": text}));
    }
    tool.note("result", json!(results));
    if failed { Err(Failure::silent()) } else { Ok(()) }
}

/// A reply as text: elements on lines of their own.
fn plain(reply: &Reply) -> String {
    match reply {
        Reply::Integer(number) => number.to_string(),
        Reply::Boolean(value) => value.to_string(),
        Reply::Null | Reply::NullArray => "(nil)".to_owned(),
        Reply::Error(text) | Reply::Double(text) | Reply::BigNumber(text) => {
            String::from_utf8_lossy(text).into_owned()
        }
        Reply::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{} {}", plain(key), plain(value)));
            pairs.collect::<Vec<_>>().join("\n")
        }
        reply => match (reply.as_bytes(), reply.as_array()) {
            (Some(bytes), _) => String::from_utf8_lossy(bytes).trim_end().to_owned(),
            (None, Some(items)) => items.iter().map(plain).collect::<Vec<_>>().join("\n"),
            (None, None) => String::new(),
        },
    }
}
