//! Drives [`Refresher`]: asks nodes for the topology and publishes what they say.

use super::worker::now;
use crate::cluster::{Endpoint, View};
use crate::net::{Client, ClientOptions, Credentials};
use crate::proxy::Options;
use crate::proxy::core::Shared;
use crate::proxy::map::Reading;
use crate::proxy::refresh::Refresher;
use std::sync::Arc;
use tokio::sync::Notify;

/// Reads the topology until it is aborted.
pub(super) async fn run(options: Arc<Options>, shared: Arc<Shared>) {
    let wanted = Arc::new(Notify::new());
    let wake = wanted.clone();
    shared.map.on_refresh_wanted(Box::new(move || wake.notify_one()));
    let mut refresher = Refresher::new(&options, now());
    let mut somebody = true;
    loop {
        let asked = shared.map.take_refresh_wanted();
        let at = refresher.next(asked);
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = wanted.notified(), if !asked => continue,
        }
        let began = now();
        let members = {
            let topology = shared.map.current().load();
            let members = topology.nodes().filter(|(_, node)| node.id.is_some());
            members.map(|(_, node)| node.endpoint.clone()).collect()
        };
        let mut covered = None;
        let mut last_error = String::new();
        for endpoint in refresher.begin(members, began) {
            match ask(&options, &shared, &endpoint).await {
                Ok(view) => {
                    covered = Some(view.slots_covered());
                    publish(&options, &shared, view, &endpoint, began);
                    break;
                }
                Err(error) => {
                    tracing::debug!(node = %endpoint, %error, "no topology from this node");
                    last_error = format!("{endpoint}: {error}");
                    refresher.did_not_answer(&endpoint, now());
                }
            }
        }
        if covered.is_none() && somebody {
            tracing::warn!(error = %last_error, "no node tells the topology");
        } else if covered.is_some() && !somebody {
            tracing::info!("the topology can be read again");
        }
        somebody = covered.is_some();
        shared.map.count_refresh(somebody);
        refresher.ended(covered, now());
    }
}

fn publish(
    options: &Options,
    shared: &Shared,
    mut view: View,
    from: &Endpoint,
    began: std::time::Instant,
) {
    for node in &mut view.nodes {
        node.endpoint = options.mapped(node.endpoint.clone());
    }
    match shared.map.publish(&view, from, began, now()) {
        Reading::Unchanged => {}
        Reading::Changed(changes) => {
            for change in changes.iter().take(CHANGES_LOGGED) {
                tracing::info!(from = %from, "topology: {change}");
            }
            if changes.len() > CHANGES_LOGGED {
                let more = changes.len() - CHANGES_LOGGED;
                tracing::info!(from = %from, "topology: {more} more ranges changed owner");
            }
        }
        Reading::Doubted => {
            tracing::warn!(from = %from, "a node tells an older topology: not believed");
        }
    }
}

/// A slot map can have 16,384 ranges; the log gets the first few.
const CHANGES_LOGGED: usize = 20;

/// Asks one node, within the time that a live one needs.
async fn ask(options: &Options, shared: &Shared, node: &Endpoint) -> Result<View, String> {
    let client = ClientOptions {
        connect_timeout: options.connect_timeout.min(options.suspect_after * 2),
        command_timeout: options.suspect_after * 2,
        credentials: Credentials {
            user: options.backend_user.clone(),
            password: options.backend_password.clone(),
        },
    };
    let mut client =
        Client::connect(&node.host, node.port, &client).await.map_err(|error| error.to_string())?;
    let questions = [
        vec!["CLUSTER", "NODES"],
        vec!["CLUSTER", "SLOTS"],
        vec!["INFO", "server"],
        vec!["CONFIG", "GET", "cluster-databases"],
    ];
    let replies = client.call_all(&questions).await.map_err(|error| error.to_string())?;
    let [nodes, slots, info, databases] = &replies[..] else {
        return Err("too few replies".to_owned());
    };
    let text = nodes.as_str().ok_or_else(|| match nodes.as_error() {
        Some(error) => String::from_utf8_lossy(error).into_owned(),
        None => "CLUSTER NODES is not text".to_owned(),
    })?;
    let mut view = View::parse(text, &node.host).map_err(|error| error.to_string())?;
    if let Err(error) = view.prefer_endpoints(slots, &node.host) {
        tracing::debug!(node = %node, %error, "its addresses are taken from CLUSTER NODES");
    }
    let version = info.as_str().and_then(|info| {
        let line = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        line.map(|version| version.trim().to_owned())
    });
    if let Some(version) = version {
        shared.map.set_version(node, &version);
    }
    // A node that has no such setting, or does not tell it to us, has one database.
    let count = databases.as_array().and_then(|pair| pair.get(1)?.as_str()?.parse().ok());
    shared.map.set_databases(count.unwrap_or(1));
    Ok(view)
}
