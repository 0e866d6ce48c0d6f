//! What no grammar draws: every command that the node runs, and every word of its arguments, is
//! drawn by some line, or stands here with its reason.

use super::groups;
use keyway::command::syntax::Argument;
use keyway::command::{Group, Spec, all, describe};
use std::collections::BTreeSet;

/// Commands that are compared with real servers elsewhere, or are not alike on purpose. A name
/// that ends with `|*` stands for all of a container's subcommands.
const ELSEWHERE: &[(&str, &str)] = &[
    ("migrate", "tests/it/migrate.rs: it needs a second server"),
    ("psync", "tests/it/replication"),
    ("replconf", "tests/it/replication"),
    ("sync", "tests/it/replication"),
    ("shutdown", "tests/it/saving.rs: it ends the server"),
    ("save", "tests/it/saving.rs"),
    ("bgsave", "tests/it/saving.rs"),
    ("bgrewriteaof", "tests/it/append.rs"),
    ("config|rewrite", "tests/it/node.rs: it needs a file"),
    ("monitor", "tests/it/node.rs: what it shows has times"),
    ("quit", "transcripts: it ends the connection"),
    ("pfselftest", "Redis's own suite: half a second each"),
    ("memory|malloc-stats", "it speaks of the allocator"),
    ("memory|stats", "it has the figures that the node has"),
    ("object|help", "the text of a HELP is ours"),
    ("client|help", "the text of a HELP is ours"),
    ("command|help", "the text of a HELP is ours"),
    ("config|help", "the text of a HELP is ours"),
    ("latency|help", "the text of a HELP is ours"),
    ("memory|help", "the text of a HELP is ours"),
    ("pubsub|help", "the text of a HELP is ours"),
    ("script|help", "the text of a HELP is ours"),
    ("slowlog|help", "the text of a HELP is ours"),
    ("xgroup|help", "the text of a HELP is ours"),
    ("xinfo|help", "the text of a HELP is ours"),
];

/// Words of arguments, the same.
const WORDS_ELSEWHERE: &[(&str, &str, &str)] =
    &[("xadd", "*", "an id of the clock: transcripts/streams.txt")];

/// The words of a line that can be drawn as they stand.
fn words(line: &'static str) -> Vec<&'static str> {
    line.split(" => ").next().unwrap_or(line).split_whitespace().collect()
}

/// Whether a line draws this command.
fn draws(words: &[&str], spec: &Spec) -> bool {
    let is = |word: &&str, name: &str| word.eq_ignore_ascii_case(name);
    match spec.subcommand_name() {
        None => is(&words[0], spec.name),
        Some(sub) => {
            // The subcommand, or one of several.
            let one_of = words.get(1).is_some_and(|word| *word == "(");
            let end = if one_of { words.iter().position(|word| *word == ")") } else { Some(2) };
            is(&words[0], spec.container_name())
                && words[1..].iter().take(end.unwrap_or(2) - 1).any(|word| is(word, sub))
        }
    }
}

fn tokens(arguments: &[Argument], found: &mut BTreeSet<&'static str>) {
    for argument in arguments {
        found.extend(argument.token.filter(|token| !token.is_empty()));
        tokens(&argument.arguments, found);
    }
}

#[test]
fn every_option_of_every_command_is_drawn() {
    let lines: Vec<Vec<&str>> = groups::lines().map(words).collect();
    let mut wrong = Vec::new();
    let mut used: BTreeSet<&(&str, &str, &str)> = BTreeSet::new();
    for spec in all() {
        // The bus has tests of its own.
        let is_meant = !spec.is_container() && spec.group != Group::Cluster;
        if !is_meant || !keyway::node::runs(spec) {
            continue;
        }
        let drawn: Vec<&Vec<&str>> = lines.iter().filter(|line| draws(line, spec)).collect();
        let elsewhere = ELSEWHERE.iter().any(|(name, _)| *name == spec.name);
        if drawn.is_empty() != elsewhere {
            wrong.push(format!("{}: drawn by {} lines", spec.name, drawn.len()));
        }
        let mut options = BTreeSet::new();
        tokens(&describe::arguments(spec), &mut options);
        for option in options.into_iter().filter(|_| !drawn.is_empty()) {
            let known =
                WORDS_ELSEWHERE.iter().find(|known| known.0 == spec.name && known.1 == option);
            used.extend(known);
            let is_drawn = drawn.iter().any(|line| {
                line[1..].iter().any(|word| word.trim_end_matches('+').eq_ignore_ascii_case(option))
            });
            if is_drawn == known.is_some() {
                wrong.push(format!("{} {option}: drawn: {is_drawn}", spec.name));
            }
        }
    }
    assert_eq!(used.len(), WORDS_ELSEWHERE.len(), "some words are none: {used:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
