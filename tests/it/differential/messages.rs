//! Publish and subscribe: one client's command, and all that comes of it for every client. Beside
//! Valkey, since from 7.2 on a client's own message comes behind the reply.

use super::compare::{Rule, parse};
use super::exceptions::as_text;
use super::grammar::Line;
use super::groups::MESSAGES;
use super::{COMMANDS, length};
use crate::support::{Client, Kind, Server, seed, shown};
use keyway::resp::Reply;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

type Command = Vec<Vec<u8>>;

/// What one client sends at once.
struct Step {
    client: usize,
    rule: Rule,
    commands: Vec<Command>,
}

impl Step {
    fn draw(rng: &mut SmallRng, lines: &[Line]) -> Self {
        let client = rng.random_range(0..MESSAGES.clients);
        let line = lines.choose(rng).expect("there are lines");
        let mut commands = vec![line.command(rng)];
        let word = |command: &Command, at: usize, is: &str| {
            command.get(at).is_some_and(|word| word.eq_ignore_ascii_case(is.as_bytes()))
        };
        let mut rule = line.rule;
        let [first] = &commands[..] else { unreachable!("one was drawn") };
        let replies = word(first, 0, "CLIENT") && word(first, 1, "REPLY");
        let (off, skips) = (replies && word(first, 2, "OFF"), replies && word(first, 2, "SKIP"));
        if off || skips {
            // What is in an order of the server's own may be said aloud, if the word before is wrong;
            // and who subscribes in silence in RESP2 may not ask for replies again.
            let quiet = lines.choose(rng).expect("there are lines");
            let says = quiet.rule == Rule::Exact
                && !quiet.text.starts_with("CLIENT")
                && !quiet.text.contains("SUBSCRIBE");
            commands.push(if says { quiet.command(rng) } else { vec![b"PING".to_vec()] });
        } else if rule == Rule::Exact && may_be_queued(line, first) && rng.random_ratio(1, 8) {
            commands.insert(0, vec![b"MULTI".to_vec()]);
            for _ in 0..rng.random_range(0..3) {
                let line = lines.choose(rng).expect("there are lines");
                let command = line.command(rng);
                if line.rule == Rule::Exact && may_be_queued(line, &command) {
                    commands.push(command);
                }
            }
            commands.push(vec![b"EXEC".to_vec()]);
            rule = Rule::Exact;
        }
        if off {
            commands.push(["CLIENT", "REPLY", "ON"].map(|word| word.as_bytes().to_vec()).into());
        }
        Self { client, rule, commands }
    }

    /// Whether it ends all of a client's subscriptions of a kind, in whatever order.
    fn ends_all(&self) -> bool {
        self.commands.iter().any(ends_all)
    }
}

fn ends_all(command: &Command) -> bool {
    let name = command[0].to_ascii_uppercase();
    command.len() == 1 && name.ends_with(b"UNSUBSCRIBE")
}

/// Valkey queues no CLIENT REPLY; and what says several things within EXEC says them in an order.
fn may_be_queued(line: &Line, command: &Command) -> bool {
    !line.text.starts_with("CLIENT") && !ends_all(command)
}

/// A server with its clients: the first half begins in RESP2, the second in RESP3.
struct Side {
    clients: Vec<Client>,
}

impl Side {
    fn new(server: &Server) -> Self {
        let half = MESSAGES.clients / 2;
        let client = |at| if at < half { server.client() } else { server.client_resp3() };
        Self { clients: (0..MESSAGES.clients).map(client).collect() }
    }

    /// Takes the step; what every client was sent since, until it was asked for a mark.
    fn take(&mut self, step: &Step, serial: usize, story: &str) -> Vec<Vec<Vec<u8>>> {
        for command in &step.commands {
            self.clients[step.client].try_send(command).expect("the server takes commands");
        }
        let mark = format!("mark-{serial}-");
        let everyone = 0..self.clients.len();
        let others = everyone.clone().filter(|client| *client != step.client);
        let mut sent = vec![Vec::new(); self.clients.len()];
        for client in [step.client].into_iter().chain(others) {
            self.clients[client].try_send(&["PING", &mark]).expect("the server takes commands");
            loop {
                let bytes = self.clients[client].try_reply_bytes();
                let bytes = bytes.unwrap_or_else(|loss| panic!("client {client}: {loss}: {story}"));
                if bytes.windows(mark.len()).any(|part| part == mark.as_bytes()) {
                    break;
                }
                sent[client].push(bytes);
            }
        }
        sent
    }
}

/// Messages for several patterns of one client come in an order of the server's own, and so do the
/// ends of all subscriptions.
fn is_same(step: &Step, theirs: &[Vec<u8>], ours: &[Vec<u8>]) -> bool {
    let same =
        |theirs: &Vec<u8>, ours: &Vec<u8>| step.rule.same(theirs, ours) || as_text(theirs) == *ours;
    if theirs.len() != ours.len() {
        return false;
    }
    if theirs.iter().zip(ours).all(|(theirs, ours)| same(theirs, ours)) {
        return true;
    }
    let is_pattern = |bytes: &&Vec<u8>| bytes.windows(8).any(|part| part == b"pmessage");
    let free = step.ends_all() || theirs.iter().filter(is_pattern).count() > 1;
    free && sorted(theirs) == sorted(ours)
}

/// Without the numbers of what is left.
fn sorted(replies: &[Vec<u8>]) -> Vec<String> {
    let mut texts: Vec<String> = replies
        .iter()
        .map(|bytes| match parse(bytes) {
            Some(Reply::Push(parts) | Reply::Array(parts)) => {
                let counts = matches!(parts.last(), Some(Reply::Integer(_)));
                format!("{:?}", &parts[..parts.len() - usize::from(counts)])
            }
            other => format!("{other:?}"),
        })
        .collect();
    texts.sort();
    texts
}

#[test]
fn messages_reach_whom_they_reach_beside_valkey() {
    let Some(reference) = Server::valkey(&[]) else { return };
    let subject = Server::node(Kind::Keyway, &[]).expect("ours is there");
    let mut sides = [Side::new(&reference), Side::new(&subject)];
    let steps = length(COMMANDS / 2, 1);
    let seed = seed();
    println!("messages: seed {seed}, {steps} steps");
    let lines: Vec<Line> = MESSAGES.lines.iter().map(|line| Line::parse(line)).collect();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut recent: Vec<String> = Vec::new();
    let mut pushed = 0;
    for serial in 0..steps {
        let step = Step::draw(&mut rng, &lines);
        let commands: Vec<String> = step.commands.iter().map(|c| shown(c)).collect();
        recent.push(format!("{}: {}", step.client, commands.join("; ")));
        let story = recent[recent.len().saturating_sub(12)..].join("\n  ");
        let story = format!("seed {seed} step {serial}:\n  {story}");
        let [theirs, ours] = sides.each_mut().map(|side| side.take(&step, serial, &story));
        for client in 0..MESSAGES.clients {
            let text = |sent: &[Vec<u8>]| {
                let sent = sent.iter().map(|bytes| format!("    {}", bytes.escape_ascii()));
                sent.collect::<Vec<String>>().join("\n")
            };
            assert!(
                is_same(&step, &theirs[client], &ours[client]),
                "{story}\nwhat client {client} was sent by valkey:\n{}\nby ours:\n{}",
                text(&theirs[client]),
                text(&ours[client]),
            );
            pushed += if client == step.client { 0 } else { theirs[client].len() };
        }
    }
    assert!(pushed > steps / 20, "{pushed} messages of {steps} steps compare nothing");
}
