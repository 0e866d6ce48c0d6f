//! The same commands, drawn at random from a grammar per group, to our node and to
//! `redis-server` 7.0.15; the replies must be the same byte for byte.
//!
//! A group is a list of lines of grammar in `groups.rs`: to add a command, add a line; to add a
//! group, add a `Group` and one `#[test]` here. `KEYWAY_DIFF_COMMANDS=100000` runs longer,
//! `KEYWAY_SEED=…` draws the same commands again. What differs on purpose is in
//! `exceptions.rs` with its reason, and in docs/compatibility.md.

mod blocking;
mod compare;
mod coverage;
mod draw;
mod events;
mod exceptions;
mod grammar;
mod groups;
mod messages;
mod run;

use crate::support::{Kind, Server, number_from_env, seed};
use groups::Group;
use run::Pair;

/// Commands per group in an ordinary run.
const COMMANDS: usize = 5_000;

/// Commands of all data types at random, for tests of what carries them elsewhere. Sorted sets are
/// left out on request: Redis 7.0 writes scores with other digits than later versions.
pub(crate) fn random_commands(seed: u64, count: usize, sorted_sets: bool) -> Vec<Vec<Vec<u8>>> {
    use rand::seq::IndexedRandom;
    use rand::{SeedableRng, rngs::SmallRng};
    let groups = [&groups::STRINGS, &groups::KEYS, &groups::HASHES, &groups::LISTS, &groups::SETS];
    let lines = groups.into_iter().flat_map(|group| group.lines);
    let lines = lines.chain(groups::SORTED_SETS.lines.iter().filter(|_| sorted_sets));
    let lines: Vec<_> = lines.map(|line| grammar::Line::parse(line)).collect();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut commands = Vec::new();
    while commands.len() < count {
        let line = lines.choose(&mut rng).expect("there are lines");
        let command = line.command(&mut rng);
        if !run::asks_for_too_much(&command) {
            commands.push(command);
        }
    }
    commands
}

/// Runs one group against Redis and another server, and panics with the differences.
fn compare(group: &Group, ours: Kind) {
    compare_with(Kind::Redis, group, ours);
}

/// The same with a reference of another kind.
fn compare_with(reference: Kind, group: &Group, ours: Kind) {
    compare_in_length(reference, group, ours, length(COMMANDS, 1));
}

/// How many commands to draw: `ordinary`, or in a longer run what was asked for over `share`.
fn length(ordinary: usize, share: usize) -> usize {
    number_from_env("KEYWAY_DIFF_COMMANDS").map_or(ordinary, |asked| asked as usize / share)
}

/// The same with so many commands.
fn compare_in_length(reference: Kind, group: &Group, ours: Kind, commands: usize) {
    let directives = ["--enable-debug-command", "yes", "--rdbcompression", "no"];
    let Some(reference) = Server::node(reference, &directives) else { return };
    let Some(subject) = Server::node(ours, &directives) else { return };
    let seed = seed();
    println!("{}: seed {seed}, {commands} commands", group.name);
    let report = Pair::new(&reference, &subject, group, seed).run(commands);
    assert!(
        report.differences.is_empty(),
        "{} of {commands} commands differ; again with KEYWAY_SEED={seed} \
         KEYWAY_DIFF_COMMANDS={commands} cargo test --test it differential::{}\n\n{}",
        report.differences.len(),
        group.name,
        report.differences.join("\n\n"),
    );
    if commands >= 4 * COMMANDS {
        // A grammar whose commands never succeed compares nothing but error texts. In a short run
        // a line may be drawn too seldom to succeed once.
        assert!(report.never_fine.is_empty(), "never without an error: {:?}", report.never_fine);
    }
}

/// The generator, the comparison and the grammar against a server that must be the same.
#[test]
fn redis_does_not_differ_from_itself() {
    for group in groups::ALL {
        compare_in_length(Kind::Redis, group, Kind::Redis, length(COMMANDS / 5, 20));
    }
}

#[test]
fn strings() {
    compare(&groups::STRINGS, Kind::Keyway);
}

#[test]
fn hyperloglogs() {
    compare(&groups::HYPERLOGLOGS, Kind::Keyway);
}

#[test]
fn geo() {
    compare(&groups::GEO, Kind::Keyway);
}

#[test]
fn sort() {
    compare(&groups::SORT, Kind::Keyway);
}

#[test]
fn bitmaps() {
    compare(&groups::BITMAPS, Kind::Keyway);
}

#[test]
fn keys() {
    compare(&groups::KEYS, Kind::Keyway);
}

#[test]
fn hashes() {
    compare(&groups::HASHES, Kind::Keyway);
}

#[test]
fn sorted_sets() {
    compare(&groups::SORTED_SETS, Kind::Keyway);
}

/// Ranks have scores since 7.2.
#[test]
fn sorted_sets_like_valkey() {
    compare_with(Kind::Valkey, &groups::RANKS, Kind::Keyway);
}

#[test]
fn dumped() {
    compare(&groups::DUMPED, Kind::Keyway);
}

#[test]
fn server() {
    compare(&groups::SERVER, Kind::Keyway);
}

#[test]
fn connection_like_valkey() {
    compare_with(Kind::Valkey, &groups::CONNECTION_SINCE_7_2, Kind::Keyway);
}

#[test]
fn scripts() {
    compare(&groups::SCRIPTS, Kind::Keyway);
}

#[test]
fn transactions() {
    compare(&groups::TRANSACTIONS, Kind::Keyway);
}

#[test]
fn scan() {
    compare(&groups::SCAN, Kind::Keyway);
}

#[test]
fn connection() {
    compare(&groups::CONNECTION, Kind::Keyway);
}

#[test]
fn lists() {
    compare(&groups::LISTS, Kind::Keyway);
}

/// Redis 7.2 has small lists as listpacks, which Redis 7.0.15 has not and Valkey has.
#[test]
fn lists_like_valkey() {
    compare_with(Kind::Valkey, &groups::LISTS, Kind::Keyway);
}

#[test]
fn streams() {
    compare(&groups::STREAMS, Kind::Keyway);
}

/// Redis 7.2 makes the consumer of every XREADGROUP, and shows when one was last active.
#[test]
fn streams_like_valkey() {
    compare_with(Kind::Valkey, &groups::STREAMS, Kind::Keyway);
}

#[test]
fn streams_are_shown_like_valkey_shows_them() {
    compare_with(Kind::Valkey, &groups::STREAMS_SHOWN, Kind::Keyway);
}

/// Byte for byte.
#[test]
fn streams_are_dumped() {
    compare(&groups::STREAMS_DUMPED, Kind::Keyway);
}

#[test]
fn groups_lag_behind_streams() {
    compare(&groups::STREAMS_LAG, Kind::Keyway);
}

#[test]
fn sets() {
    compare(&groups::SETS, Kind::Keyway);
}

#[test]
fn sets_like_valkey() {
    compare_with(Kind::Valkey, &groups::SETS, Kind::Keyway);
}
