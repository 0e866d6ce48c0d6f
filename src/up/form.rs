//! From nodes that have just started to a cluster that agrees.

use super::folder::{Folder, Size};
use super::nodes::NodeProcess;
use crate::admin::Snapshot;
use crate::admin::io::{CreateOptions, Failure, Silent, connect, create};
use crate::clock::Now;
use crate::cluster::{Endpoint, Slot};
use crate::net::{Client, ClientOptions};
use anyhow::{Result, anyhow, bail};
use std::time::Duration;

/// How long a node may take to answer after it was started; the machine may be busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long the nodes may take to agree.
const AGREE_WITHIN: Duration = Duration::from_secs(30);
/// How often we ask.
const POLL: Duration = Duration::from_millis(50);
/// How often nodes that knew each other are told where the others are by now.
const MEET_AGAIN: Duration = Duration::from_secs(2);

/// Waits for every node, and makes a cluster of them: a new one, or last time's.
///
/// # Errors
/// A node that ends or does not answer; nodes that do not come to agree.
pub(super) async fn form(nodes: &mut [NodeProcess], folder: &mut Folder, size: Size) -> Result<()> {
    for node in nodes.iter_mut() {
        answers(node).await?;
    }
    let endpoints: Vec<Endpoint> = nodes.iter().map(|node| node.endpoint.clone()).collect();
    if folder.formed {
        return rejoin(&endpoints, folder).await;
    }
    let options = CreateOptions {
        replicas: usize::from(size.replicas),
        primaries_min: 1,
        join_timeout: AGREE_WITHIN,
        ..CreateOptions::default()
    };
    create(&endpoints, &options, &mut Silent).await.map_err(|failure| anyhow!(failure.text))?;
    folder.set_formed(size)?;
    Ok(())
}

/// Waits for a node's first answer.
async fn answers(node: &mut NodeProcess) -> Result<()> {
    let deadline = Now::read().instant + ANSWER_WITHIN;
    loop {
        if node.ended().is_some() || Now::read().instant > deadline {
            bail!(
                "node {} ({}) did not start; the end of {}:\n{}",
                node.number,
                node.endpoint,
                node.log_path().display(),
                node.last_words()
            );
        }
        let options = ClientOptions {
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(1),
            ..ClientOptions::default()
        };
        let endpoint = &node.endpoint;
        if let Ok(mut client) = Client::connect(&endpoint.host, endpoint.port, &options).await
            && client.call(&["PING"]).await.is_ok_and(|reply| reply.as_error().is_none())
        {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Brings nodes that know each other together again, wherever their ports are this time.
async fn rejoin(endpoints: &[Endpoint], folder: &Folder) -> Result<()> {
    let start = Now::read().instant;
    let mut met = 0;
    loop {
        let waited = Now::read().instant.duration_since(start);
        let missing = match view(endpoints).await {
            Ok(snapshot) => {
                let strangers = strangers(&snapshot);
                if waited >= MEET_AGAIN * met {
                    met += 1;
                    introduce(&strangers).await;
                }
                match strangers.first() {
                    Some((node, other)) => Some(format!("{node} does not reach {other}")),
                    None => disagreement(&snapshot),
                }
            }
            // What a node says while it finds the others may be half a sentence: no error yet.
            Err(failure) => Some(failure.text),
        };
        let Some(missing) = missing else { return Ok(()) };
        if waited > AGREE_WITHIN {
            bail!(
                "the nodes of {} do not agree after {} s: {missing}. Remove that folder to begin \
                 anew",
                folder.path().display(),
                AGREE_WITHIN.as_secs()
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn view(endpoints: &[Endpoint]) -> Result<Snapshot, Failure> {
    let mut nodes = Vec::new();
    for endpoint in endpoints {
        nodes.push(connect(endpoint, &ClientOptions::default()).await?.view().await?);
    }
    Ok(Snapshot { nodes, unreachable: Vec::new() })
}

/// Which node does not reach which other where that one is by now.
fn strangers(snapshot: &Snapshot) -> Vec<(Endpoint, Endpoint)> {
    let mut found = Vec::new();
    for node in &snapshot.nodes {
        for other in snapshot.nodes.iter().filter(|other| other.id() != node.id()) {
            let reaches = node.others.iter().any(|line| {
                let port = line.endpoint.as_ref().map(|endpoint| endpoint.port);
                line.id == other.id() && line.connected && port == Some(other.endpoint.port)
            });
            if !reaches {
                found.push((node.endpoint.clone(), other.endpoint.clone()));
            }
        }
    }
    found
}

/// What the nodes do not agree about, if anything.
fn disagreement(snapshot: &Snapshot) -> Option<String> {
    let covered = snapshot.covered().len();
    match (covered == Slot::COUNT, snapshot.agrees()) {
        (false, _) => Some(format!("{covered} of {} slots have an owner", Slot::COUNT)),
        (true, false) => Some("they name different owners of slots".to_owned()),
        (true, true) => None,
    }
}

/// Tells nodes where others are. One that does not answer is told again later.
async fn introduce(strangers: &[(Endpoint, Endpoint)]) {
    for (node, other) in strangers {
        let Ok(mut node) = connect(node, &ClientOptions::default()).await else { continue };
        let port = other.port.to_string();
        if let Err(failure) = node.call(&["CLUSTER", "MEET", &other.host, &port]).await {
            tracing::debug!(%other, error = failure.text, "MEET failed");
        }
    }
}
