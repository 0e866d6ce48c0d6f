//! Keyspace notifications: after each command, whatever was published of it, in that order, on
//! both servers.

use super::exceptions;
use super::grammar::Line;
use super::groups::{self, Group};
use super::{COMMANDS, length};
use crate::support::{Client, Kind, Server, seed, shown};
use keyway::resp::Reply;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Groups whose commands change keys.
const GROUPS: &[&Group] = &[
    &groups::STRINGS,
    &groups::KEYS,
    &groups::HASHES,
    &groups::BITMAPS,
    &groups::SORTED_SETS,
    &groups::LISTS,
    &groups::SETS,
    &groups::HYPERLOGLOGS,
    &groups::GEO,
    &groups::STREAMS,
    &groups::SORT,
];

/// Once in so many commands the data starts anew, so that keys come into being and go.
const FLUSH_ONE_IN: u32 = 60;

/// One server, a client of it, and who listens there.
struct Side {
    client: Client,
    listener: Client,
}

impl Side {
    fn new(server: &Server, classes: &str) -> Self {
        let mut client = server.client();
        client.ok(&["CONFIG", "SET", "notify-keyspace-events", classes]);
        let mut listener = server.client();
        listener.call(&["PSUBSCRIBE", "__key*"]);
        Self { client, listener }
    }

    /// What was published since the last time: channel and message.
    fn events(&mut self) -> Vec<String> {
        self.client.integer(&["PUBLISH", "__key-end", ""]);
        let mut events = Vec::new();
        loop {
            let message = self.listener.reply();
            let Some([_, _, channel, message]) = message.as_array() else {
                panic!("no message of a pattern: {message:?}");
            };
            let text = |part: &Reply| part.as_bytes().expect("text").escape_ascii().to_string();
            if text(channel) == "__key-end" {
                return events;
            }
            events.push(format!("{} {}", text(channel), text(message)));
        }
    }

    fn start_over(&mut self) {
        self.client.call(&["FLUSHALL"]);
        self.events();
    }
}

fn compare(group: &Group, classes: &str) {
    let directives = ["--enable-debug-command", "yes"];
    let Some(reference) = Server::redis(&directives) else { return };
    let subject = Server::keyway_node(&directives);
    let mut sides = [Side::new(&reference, classes), Side::new(&subject, classes)];
    // Each command waits for what it published, and there are many groups.
    let commands = length(COMMANDS / 4, 20);
    let seed = seed();
    println!("events of {}: seed {seed}, {commands} commands", group.name);
    let mut rng = SmallRng::seed_from_u64(seed);
    let lines: Vec<Line> = group.lines.iter().map(|line| Line::parse(line)).collect();
    let mut differences = Vec::new();
    let mut told = 0;
    for index in 0..commands {
        if rng.random_ratio(1, FLUSH_ONE_IN) {
            sides.iter_mut().for_each(Side::start_over);
        }
        let line = &lines[rng.random_range(0..lines.len())];
        let command = line.command(&mut rng);
        if super::run::asks_for_too_much(&command) {
            continue;
        }
        let [one, other] = sides.each_mut().map(|side| {
            side.client.try_send(&command).expect("the server takes commands");
            side.client
                .try_reply_bytes()
                .unwrap_or_else(|loss| panic!("{}: {loss}", shown(&command)))
        });
        let [theirs, ours] = sides.each_mut().map(Side::events);
        if !line.rule.same(&one, &other) {
            // Replies are compared elsewhere; here the two servers have parted.
            sides.iter_mut().for_each(Side::start_over);
            continue;
        }
        told += theirs.len();
        if theirs != ours && !exceptions::allow_events(&command, &theirs, &ours) {
            differences.push(format!(
                "seed {seed} command {index}: {}\n  redis: {theirs:?}\n  ours:  {ours:?}",
                shown(&command)
            ));
            sides.iter_mut().for_each(Side::start_over);
            if differences.len() >= 20 {
                break;
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert!(told > commands / 20, "{told} events of {commands} commands compare nothing");
}

#[test]
fn events_are_those_of_redis() {
    for group in GROUPS {
        compare(group, "KEA");
    }
}

/// Those that `A` does not name: keys that come into being, and keys that are asked for in vain.
#[test]
fn events_of_the_keyspace_itself_are_those_of_redis() {
    // SORT BY looks keys up in the order of the elements, which a set has as it likes.
    for group in GROUPS.iter().filter(|group| group.name != groups::SORT.name) {
        compare(group, "KEAnm");
    }
}

/// Without their channels or their class, events are not published.
#[test]
fn events_are_published_as_far_as_they_are_asked_for() {
    for classes in ["", "A", "Kl", "E$", "Eg", "Kx"] {
        let subject = Server::keyway_node(&[]);
        let mut side = Side::new(&subject, classes);
        side.client.ok(&["SET", "k", "v", "PX", "1"]);
        side.client.integer(&["RPUSH", "l", "v"]);
        let gone = |side: &mut Side| side.client.integer(&["EXISTS", "k"]) == 0;
        crate::support::wait_for("k expires", std::time::Duration::from_secs(5), || {
            gone(&mut side)
        });
        let expected: &[&str] = match classes {
            "Kl" => &["__keyspace@0__:l rpush"],
            "E$" => &["__keyevent@0__:set k"],
            "Eg" => &["__keyevent@0__:expire k"],
            "Kx" => &["__keyspace@0__:k expired"],
            _ => &[],
        };
        assert_eq!(side.events(), expected, "{classes}");
    }
}

/// A key that was found past its time is told before what the command that found it did.
#[test]
fn a_key_that_expired_is_told_first() {
    let Some(reference) = Server::redis(&["--enable-debug-command", "yes"]) else { return };
    let subject = Server::keyway_node(&["--enable-debug-command", "yes"]);
    let mut seen = Vec::new();
    for server in [&reference, &subject] {
        assert!(matches!(server.kind(), Kind::Redis | Kind::Keyway));
        let mut side = Side::new(server, "KEAnm");
        side.client.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let mut events = Vec::new();
        for command in [
            &["SET", "k", "w"][..],
            &["GET", "k"],
            &["DEL", "k"],
            &["RENAME", "k", "l"],
            &["LPUSH", "k", "x"],
            &["EXISTS", "k", "k"],
            &["BLPOP", "k", "0.01"],
            &["COPY", "other", "k"],
        ] {
            side.start_over();
            side.client.ok(&["SET", "k", "v", "PX", "1"]);
            side.client.ok(&["SET", "other", "v"]);
            side.events();
            side.client.call(&["DEBUG", "SLEEP", "0.01"]);
            side.client.call(command);
            events.push((command, side.events()));
        }
        seen.push(events);
    }
    assert_eq!(seen[0], seen[1]);
}
