//! Transcripts: `tests/transcripts/*.txt`, commands and the replies they must get, run on stock
//! servers, on our node and through the proxy.
//!
//! `KEYWAY_REWRITE=1 cargo test --test it transcript` writes the replies anew from stock servers;
//! the difference is reviewed like code. `tests/transcripts/README.md` has the grammar.

mod run;
mod script;
mod text;

use crate::support::{Cluster, Keyway, Kind, Server};
use run::{Failure, Place};
use script::{Script, Subject};
use std::path::PathBuf;

fn scripts() -> Vec<Script> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the transcripts are there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no transcript was found");
    paths.into_iter().map(Script::read).collect()
}

/// Whether this run writes the answers instead of checking them.
fn rewriting() -> bool {
    std::env::var_os("KEYWAY_REWRITE").is_some_and(|value| value == "1")
}

/// Runs every script that speaks of `subject`, each in an empty place of its own making.
fn run_all(subject: Subject, mut place: impl FnMut(&Script) -> Option<Place>) {
    let mut failures: Vec<Failure> = Vec::new();
    let mut steps = 0;
    for mut script in scripts().into_iter().filter(|script| script.subjects.contains(&subject)) {
        let Some(mut place) = place(&script) else { return };
        let rewrite = rewriting() && subject == Subject::Redis;
        let run = run::run(&mut script, subject, &mut place, rewrite);
        steps += run.steps;
        failures.extend(run.failures);
        if rewrite {
            script.write();
        }
    }
    assert!(steps > 0, "no step was run on {subject:?}");
    let texts: Vec<String> = failures.iter().map(Failure::to_string).collect();
    assert!(texts.is_empty(), "{} of {steps} steps differ:\n{}", texts.len(), texts.join("\n"));
}

/// One node of a kind, or as many as the script names, in a cluster.
fn place_of(kinds: &'static [Kind]) -> impl FnMut(&Script) -> Option<Place> {
    let directives: &[&str] = &["--enable-debug-command", "yes"];
    move |script| {
        if script.nodes.is_empty() {
            return Some(Place::Alone(Server::node(kinds[0], directives)?));
        }
        let kinds: Vec<Kind> = kinds.iter().copied().cycle().take(script.nodes.len()).collect();
        Some(Place::Cluster { cluster: Cluster::of(&kinds, 0, directives)?, proxy: None })
    }
}

#[test]
fn transcripts_hold_on_redis() {
    run_all(Subject::Redis, place_of(&[Kind::Redis]));
}

#[test]
fn transcripts_hold_on_valkey() {
    run_all(Subject::Valkey, place_of(&[Kind::Valkey]));
}

#[test]
fn transcripts_hold_on_our_node() {
    run_all(Subject::Node, place_of(&[Kind::Keyway]));
}

#[test]
fn transcripts_hold_on_a_cluster_of_ours_and_stock_nodes() {
    run_all(Subject::Mixed, place_of(&[Kind::Keyway, Kind::Redis]));
}

#[test]
fn transcripts_hold_through_the_proxy() {
    run_all(Subject::Proxy, |_| {
        let cluster = Cluster::redis(3, 0)?;
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        Some(Place::Cluster { cluster, proxy: Some(proxy) })
    });
}
