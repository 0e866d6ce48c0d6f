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

/// How often nodes are asked.
const EVERY: Duration = Duration::from_secs(1);

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
        for node in nodes {
            let asked = now();
            match ask(&options, &mut clients, &node).await {
                Some(told) => {
                    replicas.answered(&node, told, asked, now().saturating_duration_since(asked));
                }
                None => {
                    clients.remove(&node);
                    replicas.did_not_answer(&node);
                }
            }
        }
        shared.reads.store(Arc::new(replicas.targets(options.max_lag, now())));
    }
}

async fn ask(
    options: &Options,
    clients: &mut BTreeMap<Endpoint, Client>,
    node: &Endpoint,
) -> Option<Told> {
    if !clients.contains_key(node) {
        let how = ClientOptions {
            connect_timeout: options.connect_timeout.min(options.suspect_after * 2),
            command_timeout: options.suspect_after * 2,
            credentials: Credentials {
                user: options.backend_user.clone(),
                password: options.backend_password.clone(),
            },
        };
        let client = Client::connect(&node.host, node.port, &how).await.ok()?;
        clients.insert(node.clone(), client);
    }
    let client = clients.get_mut(node)?;
    let questions = [vec!["INFO", "replication"], vec!["INFO", "persistence"]];
    let replies = client.call_all(&questions).await.ok()?;
    let text: String = replies.iter().filter_map(|reply| reply.as_str()).collect();
    Some(Told::parse(&text))
}
