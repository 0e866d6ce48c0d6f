//! Which nodes a scar is tried on.
//!
//! An ordinary run tries each on the one kind that it names, so that all kinds are used and no time is spent
//! twice; `KEYWAY_NODES` (`redis`, `valkey`, `keyway`, `all`, or several with commas) says otherwise for all of
//! them: `make scars` is `all`.

use super::reach_all;
use crate::support::{Cluster, Keyway, Kind, Server};
use std::io::Write;

const ALL: [Kind; 3] = [Kind::Redis, Kind::Valkey, Kind::Keyway];

/// What part of a scar is left out for a kind that does not know what it takes: everything that is left out
/// is named here.
const LACKING: &[(Kind, &str)] = &[(Kind::Keyway, "tracking")];

/// Those to try a scar on whose own is this one.
///
/// # Panics
/// When `KEYWAY_NODES` names none that there is.
pub(crate) fn kinds(own: Kind) -> Vec<Kind> {
    let Ok(names) = std::env::var("KEYWAY_NODES") else { return vec![own] };
    names.split(',').flat_map(named).collect()
}

fn named(name: &str) -> Vec<Kind> {
    match name {
        "redis" => vec![Kind::Redis],
        "valkey" => vec![Kind::Valkey],
        "keyway" => vec![Kind::Keyway],
        "all" => ALL.to_vec(),
        other => panic!("KEYWAY_NODES={other} is none of redis, valkey, keyway, all"),
    }
}

/// Clusters of those kinds, one after the other.
pub(super) fn clusters(
    own: Kind,
    primaries: usize,
    replicas: usize,
) -> impl Iterator<Item = Cluster> {
    kinds(own).into_iter().filter_map(move |kind| {
        let cluster = Cluster::of(&vec![kind; primaries], replicas, &[])?;
        // Shown when the test fails.
        println!("on nodes of {kind:?}:");
        Some(cluster)
    })
}

/// Three primaries of each of those kinds, and a proxy that has reached all of them.
pub(super) fn with_proxy(own: Kind, yaml: &str) -> impl Iterator<Item = (Cluster, Server)> {
    clusters(own, 3, 0).map(move |cluster| {
        let proxy = Keyway::proxy_with(&cluster.seeds(), yaml);
        reach_all(&cluster, &proxy);
        (cluster, proxy)
    })
}

/// Whether nodes of a kind know what a part of a scar takes. Where they do not, it is said that it is left out.
pub(crate) fn knows(kind: Kind, what: &str) -> bool {
    let lacks = LACKING.contains(&(kind, what));
    if lacks {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        // Not `eprintln!`, which is held back when the test passes.
        let _ = writeln!(std::io::stderr(), "skipped: {what} in {test} ({kind:?} has none)");
    }
    !lacks
}
