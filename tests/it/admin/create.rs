//! Forming clusters of real nodes.

use crate::support::{Kind, Server};
use keyway::admin::io::{CreateOptions, Recorded, create};
use keyway::cluster::Endpoint;

const DIRECTIVES: &[&str] = &["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];

fn servers(kind: Kind, count: usize) -> Option<Vec<Server>> {
    (0..count).map(|_| Server::node(kind, DIRECTIVES)).collect()
}

fn endpoints(servers: &[Server]) -> Vec<Endpoint> {
    servers.iter().map(|server| Endpoint::new("127.0.0.1", server.port())).collect()
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// The moment `create` returns, nobody may find the cluster half made.
fn a_created_cluster_is_whole_on_every_node(kind: Kind) {
    let Some(servers) = servers(kind, 6) else { return };
    let mut report = Recorded::default();
    let options = CreateOptions { replicas: 1, ..CreateOptions::default() };
    let snapshot = on_runtime(create(&endpoints(&servers), &options, &mut report));
    let snapshot = snapshot.unwrap_or_else(|failure| panic!("{failure}\n{}", report.text));
    assert_eq!(snapshot.primaries().count(), 3);
    for server in &servers {
        let mut client = server.client();
        let nodes = client.text(&["CLUSTER", "NODES"]);
        assert_eq!(nodes.lines().count(), 6, "{nodes}");
        assert_eq!(nodes.matches("slave").count(), 3, "{nodes}");
        assert!(client.text(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    }
    assert!(report.text.contains("\nWaiting for the cluster to join."), "{}", report.text);
}

#[test]
fn a_created_cluster_of_redis_is_whole_on_every_node() {
    a_created_cluster_is_whole_on_every_node(Kind::Redis);
}

#[test]
fn a_created_cluster_of_valkey_is_whole_on_every_node() {
    a_created_cluster_is_whole_on_every_node(Kind::Valkey);
}

#[test]
fn a_node_that_is_not_empty_is_refused_before_anything_is_changed() {
    let Some(servers) = servers(Kind::Redis, 3) else { return };
    servers[2].client().ok(&["CLUSTER", "ADDSLOTS", "0"]);
    let mut report = Recorded::default();
    let result = on_runtime(create(&endpoints(&servers), &CreateOptions::default(), &mut report));
    let failure = result.expect_err("a node with a slot is not empty");
    assert_eq!(
        failure.text,
        format!(
            "[ERR] Node 127.0.0.1:{} is not empty. Either the node already knows other nodes \
             (check with CLUSTER NODES) or contains some key in database 0.",
            servers[2].port()
        )
    );
    let info = servers[0].client().text(&["CLUSTER", "INFO"]);
    assert!(info.contains("cluster_slots_assigned:0"), "{info}");
}
