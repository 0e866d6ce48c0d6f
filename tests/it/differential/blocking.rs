//! Clients that wait for keys, beside others: the same steps on both servers, one at a time. After
//! each step it is known who waits, and what everyone else was answered.

use super::{COMMANDS, length};
use crate::support::{Client, Server, seed, shown, wait_for};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Clients that may wait.
const CLIENTS: usize = 4;
/// Where differences would tell nothing more.
const WITHIN: Duration = Duration::from_secs(8);

type Command = Vec<String>;

/// What happens next.
#[derive(Debug)]
enum Step {
    /// A client sends this: one command, or a transaction.
    Send(usize, Vec<Command>),
    /// Another client ends a wait.
    Unblock(usize, bool),
    /// A client that waits goes away, and comes again.
    Leave(usize),
}

fn words(text: &str) -> Command {
    text.split(' ').map(str::to_owned).collect()
}

fn key(rng: &mut SmallRng) -> &'static str {
    ["a", "b", "c", "d"].choose(rng).expect("some")
}

fn side(rng: &mut SmallRng) -> &'static str {
    ["LEFT", "RIGHT"].choose(rng).expect("some")
}

fn waits(rng: &mut SmallRng) -> Command {
    let (one, two, three) = (key(rng), key(rng), key(rng));
    words(&match rng.random_range(0..12) {
        0 => format!("BLPOP {one} 0"),
        1 => format!("BLPOP {one} {two} {three} 0"),
        2 => format!("BRPOP {one} {two} 0"),
        3 => format!("BLMOVE {one} {two} {} {} 0", side(rng), side(rng)),
        4 => format!("BRPOPLPUSH {one} {two} 0"),
        5 => format!("BLMPOP 0 2 {one} {two} {} COUNT {}", side(rng), rng.random_range(1..4)),
        6 => format!("BZPOPMIN {one} {two} 0"),
        7 => format!("BZPOPMAX {one} 0"),
        8 => format!("BZMPOP 0 2 {one} {two} MIN COUNT {}", rng.random_range(1..4)),
        9 => format!("XREAD BLOCK 0 STREAMS {one} $"),
        10 => format!("XREAD COUNT 2 BLOCK 0 STREAMS {one} {}-0", rng.random_range(0..2000)),
        _ => format!("XREADGROUP GROUP g me COUNT 1 BLOCK 0 STREAMS {one} >"),
    })
}

fn writes(rng: &mut SmallRng, serial: usize) -> Vec<Command> {
    let (one, two) = (key(rng), key(rng));
    let command = words(&match rng.random_range(0..22) {
        0..3 => format!("RPUSH {one} {serial}"),
        3 => format!("LPUSH {one} {serial} x{serial} y{serial}"),
        4..6 => format!("ZADD {one} {serial} m{serial} 0 n{serial}"),
        6 => format!("DEL {one} {two}"),
        7 => format!("SET {one} text"),
        8 => format!("RENAME {one} {two}"),
        9 => format!("COPY {one} {two} REPLACE"),
        10 => format!("LPOP {one}"),
        11 => format!("LMOVE {one} {two} LEFT RIGHT"),
        12 => format!("EXPIRE {one} -1"),
        13 => format!("ZUNIONSTORE {one} 1 {two}"),
        14 => format!("ZPOPMIN {one}"),
        // What SWAPDB brings comes to Redis in the order of a hash table: it is not drawn.
        15 | 16 => format!("MOVE {one} 1"),
        17 => "FLUSHALL".to_owned(),
        18 | 19 => format!("XADD {one} {}-1 f {serial}", serial + 1),
        20 => format!("XGROUP CREATE {one} g 0 MKSTREAM"),
        _ => format!("XGROUP DESTROY {one} g"),
    });
    // Redis lets go on waiting who waits for a sorted set that is stored over something else.
    let stores = command[0] == "ZUNIONSTORE";
    let first = stores.then(|| words(&format!("DEL {one}")));
    first.into_iter().chain([command]).collect()
}

impl Step {
    fn draw(rng: &mut SmallRng, serial: usize, waiting: &[bool]) -> Self {
        let client = rng.random_range(0..CLIENTS);
        if waiting[client] {
            return match rng.random_range(0..4) {
                0 => Self::Unblock(client, rng.random()),
                1 => Self::Leave(client),
                // The last client never waits: whoever waits can be served.
                _ => Self::Send(CLIENTS, writes(rng, serial)),
            };
        }
        match rng.random_range(0..4) {
            0 | 1 => Self::Send(client, vec![waits(rng)]),
            2 => Self::Send(client, writes(rng, serial)),
            _ => {
                let mut commands = vec![words("MULTI")];
                for at in 0..rng.random_range(1..6) {
                    let waits_too = rng.random_ratio(1, 5);
                    let serial = serial * 10 + at;
                    if waits_too {
                        commands.push(waits(rng));
                    } else {
                        commands.extend(writes(rng, serial));
                    }
                }
                commands.push(words("EXEC"));
                Self::Send(CLIENTS, commands)
            }
        }
    }
}

/// A server with its clients.
struct Side<'a> {
    server: &'a Server,
    resp3: bool,
    control: Client,
    clients: Vec<(Client, String)>,
    waiting: Vec<bool>,
}

impl<'a> Side<'a> {
    fn new(server: &'a Server, resp3: bool) -> Self {
        let mut control = server.client();
        control.ok(&["FLUSHALL"]);
        let clients = (0..=CLIENTS).map(|_| Self::connect(server, resp3)).collect();
        Self { server, resp3, control, clients, waiting: vec![false; CLIENTS + 1] }
    }

    fn connect(server: &Server, resp3: bool) -> (Client, String) {
        let mut client = if resp3 { server.client_resp3() } else { server.client() };
        client.set_timeout(WITHIN);
        let id = client.integer(&["CLIENT", "ID"]).to_string();
        (client, id)
    }

    /// What a client is doing, as the server sees it; nothing if it is gone.
    fn line(&mut self, id: &str) -> String {
        self.control.text(&["CLIENT", "LIST", "ID", id])
    }

    fn is_blocked(&mut self, client: usize) -> bool {
        let id = self.clients[client].1.clone();
        self.line(&id).contains(" flags=b ")
    }

    /// Takes the step; the replies that came of it, each with whose it is.
    fn take(&mut self, step: &Step) -> Vec<(usize, String)> {
        match step {
            Step::Send(client, commands) => {
                for command in commands {
                    self.clients[*client].0.try_send(command).expect("the server takes commands");
                }
                // What comes before the last command's reply comes in any case.
                let mut replies: Vec<(usize, String)> =
                    commands[1..].iter().map(|_| (*client, self.reply(*client))).collect();
                self.waiting[*client] = true;
                self.await_idle(*client, &commands[commands.len() - 1][0]);
                replies.extend(self.settle());
                return replies;
            }
            Step::Unblock(client, with_error) => {
                let id = self.clients[*client].1.clone();
                let how = if *with_error { "ERROR" } else { "TIMEOUT" };
                assert_eq!(self.control.integer(&["CLIENT", "UNBLOCK", &id, how]), 1);
            }
            Step::Leave(client) => {
                let new = Self::connect(self.server, self.resp3);
                let (_, id) = std::mem::replace(&mut self.clients[*client], new);
                self.waiting[*client] = false;
                wait_for("the server to miss the client", WITHIN, || self.line(&id).is_empty());
            }
        }
        self.settle()
    }

    fn reply(&mut self, client: usize) -> String {
        let reply = self.clients[client].0.try_reply_bytes();
        reply.expect("a reply in time").escape_ascii().to_string()
    }

    /// Waits until the server has seen what a client sent: it then waits, or has run it.
    fn await_idle(&mut self, client: usize, command: &str) {
        // A subcommand's name goes on behind a bar.
        let name = format!(" cmd={}", command.to_ascii_lowercase());
        let ran = [format!("{name} "), format!("{name}|")];
        let id = self.clients[client].1.clone();
        wait_for("the server to take the command", WITHIN, || {
            let line = self.line(&id);
            ran.iter().any(|ran| line.contains(ran))
                && (line.contains(" flags=b ") || line.contains(" tot-mem="))
        });
    }

    /// The replies of all who waited and wait no longer.
    fn settle(&mut self) -> Vec<(usize, String)> {
        let mut replies = Vec::new();
        for client in 0..=CLIENTS {
            if self.waiting[client] && !self.is_blocked(client) {
                self.waiting[client] = false;
                replies.push((client, self.reply(client)));
            }
        }
        replies
    }

    fn data(&mut self) -> Vec<String> {
        let mut data = Vec::new();
        for database in ["0", "1"] {
            self.control.ok(&["SELECT", database]);
            for key in ["a", "b", "c", "d"] {
                let kind = self.control.text(&["TYPE", key]);
                let content = match kind.as_str() {
                    "list" => self.control.call(&["LRANGE", key, "0", "-1"]),
                    "stream" => self.control.call(&["XRANGE", key, "-", "+"]),
                    "zset" => self.control.call(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
                    _ => self.control.call(&["GET", key]),
                };
                data.push(format!("{database} {key}: {kind} {content:?}"));
            }
        }
        self.control.ok(&["SELECT", "0"]);
        data
    }
}

/// Whether the same client got the same reply. Who waits with XREADGROUP for a stream that goes is
/// told by Redis 7.2, and by ours, what the command would be told now.
fn is_same(theirs: &(usize, String), ours: &(usize, String)) -> bool {
    let gone = [
        "-UNBLOCKED the stream key no longer exists",
        "-NOGROUP the consumer group this client was blocked on no longer exists",
    ];
    let told = ["-NOGROUP No such key", "-WRONGTYPE Operation"];
    theirs == ours
        || theirs.0 == ours.0
            && gone.iter().any(|gone| theirs.1.starts_with(gone))
            && told.iter().any(|told| ours.1.starts_with(told))
}

fn compare(resp3: bool) {
    let Some(reference) = Server::redis(&[]) else { return };
    let subject = Server::keyway_node(&[]);
    let mut sides = [Side::new(&reference, resp3), Side::new(&subject, resp3)];
    let steps = length(COMMANDS / 4, 1);
    let seed = seed();
    println!("blocking: seed {seed}, {steps} steps");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut recent: Vec<String> = Vec::new();
    let (mut blocked, mut served) = (0, 0);
    for serial in 0..steps {
        let step = Step::draw(&mut rng, serial, &sides[0].waiting);
        recent.push(match &step {
            Step::Send(client, commands) => {
                let commands: Vec<String> = commands.iter().map(|c| shown(c)).collect();
                format!("{client}: {}", commands.join("; "))
            }
            other => format!("{other:?}"),
        });
        let from = recent.len().saturating_sub(30);
        let story = || format!("seed {seed} step {serial}:\n  {}", recent[from..].join("\n  "));
        let [theirs, ours] = sides.each_mut().map(|side| side.take(&step));
        let same = theirs.len() == ours.len()
            && theirs.iter().zip(&ours).all(|(theirs, ours)| is_same(theirs, ours));
        assert!(same, "{}\n redis: {theirs:?}\n ours: {ours:?}", story());
        let [theirs, ours] = sides.each_mut().map(|side| (side.waiting.clone(), side.data()));
        assert_eq!(theirs, ours, "{}", story());
        blocked += theirs.0.iter().filter(|waits| **waits).count();
        served += usize::from(matches!(step, Step::Send(CLIENTS, _)));
    }
    assert!(blocked > steps / 2 && served > steps / 10, "too few wait or are served");
}

#[test]
fn waiting_clients_are_served_as_by_redis() {
    compare(false);
}

#[test]
fn waiting_clients_are_served_as_by_redis_in_resp3() {
    compare(true);
}
