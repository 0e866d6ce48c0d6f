//! `import`: a standalone server's keys → the cluster.
//!
//! The source moves its keys itself, by MIGRATE; the tool only tells it which key goes to which
//! node. Keys of one owner go together. A key that the cluster has already stops nothing: it is
//! named, stays where it was, and the exit status tells.

use super::failure::Failure;
use super::moves::{MoveOptions, auth_of};
use super::nodes::{Cluster, Node, connect};
use super::prompt;
use super::tool::{Tool, parse_endpoint};
use crate::admin::check::check;
use crate::admin::slot_move::{Route, bytes_of};
use crate::cluster::{NodeId, Slot};
use crate::net::Credentials;
use crate::secret::Secret;
use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Keys per SCAN, as redis-trib has it.
const SCAN_COUNT: &str = "1000";

/// `import`.
pub(super) async fn import(tool: &mut Tool) -> Result<(), Failure> {
    let options = MoveOptions::of(&tool.invocation)?;
    let from = parse_endpoint(tool.invocation.value("from").unwrap_or_default())?;
    let entry = tool.endpoint(0)?;
    tool.say(format!(">>> Importing data from {from} to cluster {entry}"));
    let mut cluster = tool.load_settled(0).await?;
    let checkup = tool.check(&cluster);
    if !checkup.uncovered().is_empty() || !check(&cluster.snapshot).is_well() {
        return Err(Failure::new("*** Please fix your cluster problems before importing")
            .fix(format!("keyway cluster fix {entry}")));
    }
    let mut client = tool.client.clone();
    client.credentials = source_credentials(tool)?;
    client.command_timeout += Duration::from_millis(u64::from(options.timeout_ms)) * 2;
    tool.say(format!(">>> Connecting to the source Redis instance {from}"));
    let mut source = connect(&from, &client).await?;
    let info = source.text(&["INFO", "cluster"]).await?;
    if info.lines().any(|line| line == "cluster_enabled:1") {
        return Err(Failure::error("The source node should not be a cluster node."));
    }
    let keys = source.keys().await?;
    tool.say(format!("*** Importing {keys} keys from DB 0"));
    if tool.is_dry() {
        return Ok(());
    }
    let words = Words {
        copy: tool.invocation.flag("copy"),
        replace: tool.invocation.flag("replace"),
        routes: routes(&mut cluster, options.timeout_ms),
    };
    let mut failed = 0;
    let mut moved = 0;
    let mut cursor = Bytes::from_static(b"0");
    loop {
        let reply =
            source.call(&[b"SCAN", cursor.as_ref(), b"COUNT", SCAN_COUNT.as_bytes()]).await?;
        let items = reply.as_array().unwrap_or_default();
        let [next, keys] = items else {
            return Err(Failure::at(&from, "SCAN gave no cursor"));
        };
        cursor = Bytes::copy_from_slice(next.as_bytes().unwrap_or(b"0"));
        for (owner, keys) in by_owner(&cluster, bytes_of(keys))? {
            let (good, bad) = words.send(tool, &mut source, owner, keys).await?;
            moved += good;
            failed += bad;
        }
        if cursor.as_ref() == b"0" {
            break;
        }
    }
    tool.note("result", json!({"moved": moved, "failed": failed}));
    if failed > 0 {
        return Err(Failure::error(format!("{failed} keys were not imported.")));
    }
    Ok(())
}

fn source_credentials(tool: &Tool) -> Result<Credentials, Failure> {
    let invocation = &tool.invocation;
    let password = if invocation.flag("from-askpass") {
        Some(prompt::ask_password("Please input the source's password: ")?)
    } else {
        invocation.value("from-pass").map(str::to_owned)
    };
    Ok(Credentials {
        user: invocation.value("from-user").map(str::to_owned),
        password: password.map(Secret::new),
    })
}

fn routes(cluster: &mut Cluster, timeout_ms: u32) -> BTreeMap<NodeId, (Route, String)> {
    let auth = auth_of(&cluster.options().credentials);
    let ids: Vec<NodeId> = cluster.snapshot.primaries().map(|node| node.id()).collect();
    let route = |id: NodeId| {
        let node = cluster.node(id);
        let (host, port) = (node.address(), node.endpoint.port);
        let route = Route { host, port, timeout_ms, auth: auth.clone() };
        (id, (route, node.endpoint.to_string()))
    };
    ids.into_iter().map(route).collect()
}

fn by_owner(cluster: &Cluster, keys: Vec<Bytes>) -> Result<BTreeMap<NodeId, Vec<Bytes>>, Failure> {
    let mut by_owner: BTreeMap<NodeId, Vec<Bytes>> = BTreeMap::new();
    for key in keys {
        let slot = Slot::of(&key);
        let owner = cluster.snapshot.claimants(slot).first().map(|node| node.id());
        let owner = owner.ok_or_else(|| Failure::error(format!("Slot {slot} has no owner.")))?;
        by_owner.entry(owner).or_default().push(key);
    }
    Ok(by_owner)
}

/// How keys are sent.
struct Words {
    copy: bool,
    replace: bool,
    routes: BTreeMap<NodeId, (Route, String)>,
}

impl Words {
    /// Sends keys, together at first; what a node refuses is tried alone, so that each key has
    /// its own answer. Gives how many went over and how many did not.
    async fn send(
        &self,
        tool: &mut Tool,
        source: &mut Node,
        owner: NodeId,
        keys: Vec<Bytes>,
    ) -> Result<(u64, u64), Failure> {
        let (route, name) = &self.routes[&owner];
        // Of copies, those that went over with a batch that failed would fail the second time.
        let together = !self.copy || self.replace;
        if together && self.send_together(tool, source, owner, &keys).await? {
            return Ok((keys.len() as u64, 0));
        }
        let (mut good, mut bad) = (0, 0);
        for key in keys {
            let reply = source.ask(&self.migrate(route, std::slice::from_ref(&key))).await?;
            let text = match reply.as_error() {
                Some(text) => {
                    bad += 1;
                    String::from_utf8_lossy(text).into_owned()
                }
                // Or NOKEY: it went over with the batch, or has expired.
                None => {
                    good += 1;
                    "OK".to_owned()
                }
            };
            tool.say(format!("Migrating {} to {name}: {text}", key.escape_ascii()));
        }
        Ok((good, bad))
    }

    /// Whether all of them went over. Those that did not are still at the source.
    async fn send_together(
        &self,
        tool: &mut Tool,
        source: &mut Node,
        owner: NodeId,
        keys: &[Bytes],
    ) -> Result<bool, Failure> {
        let (route, name) = &self.routes[&owner];
        let reply = source.ask(&self.migrate(route, keys)).await?;
        if reply.as_error().is_some() {
            return Ok(false);
        }
        for key in keys {
            tool.say(format!("Migrating {} to {name}: OK", key.escape_ascii()));
        }
        Ok(true)
    }

    fn migrate(&self, route: &Route, keys: &[Bytes]) -> Vec<Bytes> {
        let mut args = crate::admin::slot_move::migrate(route, keys, self.replace);
        if self.copy {
            // After the timeout, before everything else.
            args.insert(6, Bytes::from_static(b"COPY"));
        }
        args
    }
}
