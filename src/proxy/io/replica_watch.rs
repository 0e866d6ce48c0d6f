//! Asks nodes how well they replicate, while clients may be sent to replicas.

use super::worker::now;
use crate::cluster::Endpoint;
use crate::net::{Client, ClientOptions, Credentials};
use crate::proxy::Options;
use crate::proxy::core::Shared;
use crate::proxy::replicas::{ReadFrom, Replicas, Told};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often nodes are asked: who will not do any more is known within a second.
const EVERY: Duration = Duration::from_millis(500);

/// When what is known by then counts, though some have not answered.
const SOON: Duration = Duration::from_millis(250);

/// Asks until it is aborted; not at all where nothing is read from replicas.
pub(super) async fn run(options: Arc<Options>, shared: Arc<Shared>) {
    if options.read_from == ReadFrom::Primary {
        return;
    }
    let mut replicas = Replicas::default();
    let mut clients: BTreeMap<Endpoint, Client> = BTreeMap::new();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        replicas.members(shared.map.replicas());
        let nodes = replicas.to_ask();
        clients.retain(|node, _| nodes.contains(node));
        // All at once, and each for itself: one that is silent keeps nobody from hearing that
        // another lags.
        let mut asks = JoinSet::new();
        for node in nodes {
            let (options, client) = (options.clone(), clients.remove(&node));
            asks.spawn(async move {
                let asked = now();
                let answer = ask(&options, client, &node).await;
                (node, asked, now().saturating_duration_since(asked), answer)
            });
        }
        let soon = tokio::time::Instant::now() + SOON;
        let mut told_soon = false;
        while !asks.is_empty() {
            let answer = match told_soon {
                true => asks.join_next().await,
                false => match tokio::time::timeout_at(soon, asks.join_next()).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        told_soon = true;
                        shared.reads.store(Arc::new(replicas.targets(options.max_lag, now())));
                        continue;
                    }
                },
            };
            match answer {
                Some(Ok((node, asked, took, Some((client, told))))) => {
                    replicas.answered(&node, told, asked, took);
                    clients.insert(node, client);
                }
                Some(Ok((node, _, _, None))) => replicas.did_not_answer(&node),
                Some(Err(error)) => tracing::error!(%error, "a node could not be asked"),
                None => {}
            }
        }
        shared.reads.store(Arc::new(replicas.targets(options.max_lag, now())));
    }
}

async fn ask(options: &Options, client: Option<Client>, node: &Endpoint) -> Option<(Client, Told)> {
    let mut client = match client {
        Some(client) => client,
        None => {
            let how = ClientOptions {
                connect_timeout: options.connect_timeout.min(options.suspect_after * 2),
                command_timeout: options.suspect_after * 2,
                credentials: Credentials {
                    user: options.backend_user.clone(),
                    password: options.backend_password.clone(),
                },
            };
            Client::connect(&node.host, node.port, &how).await.ok()?
        }
    };
    let questions = [vec!["INFO", "replication"], vec!["INFO", "persistence"]];
    let replies = client.call_all(&questions).await.ok()?;
    let text: String = replies.iter().filter_map(|reply| reply.as_str()).collect();
    Some((client, Told::parse(&text)))
}
