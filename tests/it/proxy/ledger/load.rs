//! The eight clients: six that write, some one request at a time and some pipelined, and two that
//! take from queues.

use super::accounts::{Account, Book, End, Kind, Op};
use crate::support::{Client, Loss, Server, eventually};
use keyway::cluster::SlotSet;
use keyway::resp::{Reply, encode_request};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Those that write, and those that take.
pub(super) const WRITERS: usize = 6;
pub(super) const TAKERS: usize = 2;
pub(super) const CLIENTS: usize = WRITERS + TAKERS;

/// Accounts of each kind that a writer has: some in every shard's share.
const ACCOUNTS_EACH: usize = 16;
/// Queues, half of them for each of the takers.
const QUEUES: usize = 12;
/// Requests that a pipelining client sends at a time.
const DEPTH: usize = 8;
/// From one batch of a client to the next, at least: the machine has more to do than this.
const PACE: Duration = Duration::from_millis(3);
/// Batches between two WAITs of the client that asks for copies.
const WAIT_EVERY: u64 = 16;
/// Errors after which a client gives up.
const ERRORS_MAX: usize = 10;

/// INCR and RPUSH in one.
const SCRIPT: &str = "local n = redis.call('INCR', KEYS[1]) \
                      return {n, redis.call('RPUSH', KEYS[2], ARGV[1])}";

/// What ends a taker: nobody else writes it.
const END: &str = "end";

/// What the clients share: when to stop, and how far each has come.
pub(super) struct Load {
    begun: Instant,
    stop: AtomicBool,
    /// The test has failed: nobody waits for the end of the queues.
    given_up: AtomicBool,
    /// Each client's accounts, with nothing in them.
    names: Vec<Vec<Account>>,
    /// For each client, for each of its accounts: when the last request was sent that was
    /// acknowledged, in microseconds since the beginning.
    reached: Vec<Vec<AtomicU64>>,
}

impl Load {
    /// Before the first request.
    pub(super) fn new() -> Self {
        let names: Vec<Vec<Account>> = (0..CLIENTS).map(names).collect();
        let zeros = |accounts: &Vec<Account>| accounts.iter().map(|_| AtomicU64::new(0)).collect();
        let reached = names.iter().map(zeros).collect();
        Self {
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            names,
            reached,
        }
    }

    /// Tells the writers to stop.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Waits until every client has had a request on one of these slots acknowledged that it sent
    /// after this moment.
    ///
    /// # Panics
    /// When one has not within the time; it says which.
    pub(super) fn await_all(&self, slots: &SlotSet, since: Instant, within: Duration) {
        let since = self.micros(since);
        let behind = || -> Vec<usize> {
            let goes_on = |client: &usize| {
                let accounts = self.names[*client].iter().zip(&self.reached[*client]);
                let mut on_slots = accounts.filter(|(of, _)| slots.contains(of.slot)).peekable();
                // Whoever has nothing there is not concerned.
                on_slots.peek().is_none()
                    || on_slots.any(|(_, reached)| reached.load(Ordering::SeqCst) > since)
            };
            (0..CLIENTS).filter(|client| !goes_on(client)).collect()
        };
        let all = eventually(within, || behind().is_empty().then_some(()));
        assert!(all.is_some(), "after {within:?} clients {:?} have not gone on", behind());
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.begun).as_micros()).expect("not for so long")
    }

    fn note(&self, client: usize, account: usize, sent: Instant) {
        self.reached[client][account].store(self.micros(sent), Ordering::SeqCst);
    }
}

/// Tells all clients to stop also when the test fails: the scope waits for its threads.
pub(super) struct StopAtEnd<'a>(pub &'a Load);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
        self.0.given_up.store(true, Ordering::SeqCst);
    }
}

/// The accounts of a client, with nothing in them.
fn names(client: usize) -> Vec<Account> {
    let queues = |take: bool| {
        (0..QUEUES).filter(move |queue| !take || client - WRITERS == queue % TAKERS).map(
            move |queue| {
                let kind = if take { Kind::Take } else { Kind::Queue };
                Account::new(kind, format!("queue-{queue}"))
            },
        )
    };
    if client >= WRITERS {
        return queues(true).collect();
    }
    let own = |kind| {
        (0..ACCOUNTS_EACH).map(move |n| Account::new(kind, format!("{client}-{kind:?}-{n}")))
    };
    Kind::OWN.into_iter().flat_map(own).chain(queues(false)).collect()
}

/// Writes until told to stop.
pub(super) fn write(proxy: &Server, client: usize, load: &Load) -> Book {
    // Of each sort some: one at a time and pipelined, both protocols.
    let depth = if client.is_multiple_of(2) { 1 } else { DEPTH };
    let mut connection = if client < 2 { proxy.client_resp3() } else { proxy.client() };
    let mut book =
        Book { client, depth, accounts: names(client), errors: Vec::new(), waits: [0; 2] };
    let mut number = 0;
    let mut batch: Vec<(usize, u64)> = Vec::new();
    let mut uncopied: Vec<(usize, usize)> = Vec::new();
    while !load.stop.load(Ordering::SeqCst) && book.errors.len() < ERRORS_MAX {
        let due = Instant::now() + PACE;
        batch.clear();
        let mut bytes = Vec::new();
        for _ in 0..depth {
            // A stride without a common factor goes over all accounts, kinds and slots mixed.
            let account = (number as usize * 37 + client) % book.accounts.len();
            batch.push((account, number));
            request(&mut bytes, &book.accounts[account], client, number);
            number += 1;
        }
        let sent = Instant::now();
        if let Err(error) = connection.try_send_raw(&bytes) {
            book.errors.push(format!("the proxy takes nothing: {error}"));
            break;
        }
        for &(account, number) in &batch {
            let kind = book.accounts[account].kind;
            match answer(&mut connection, kind) {
                Ok(end) => {
                    if end != End::InDoubt {
                        load.note(client, account, sent);
                    }
                    let op = Op { number, sent, answered: Instant::now(), end, copied: false };
                    book.accounts[account].ops.push(op);
                    uncopied.push((account, book.accounts[account].ops.len() - 1));
                }
                Err(error) => {
                    let tag = &book.accounts[account].tag;
                    book.errors.push(format!("client {client}, {kind:?} {tag}: {error}"));
                }
            }
        }
        if client == 0 && number.is_multiple_of(WAIT_EVERY) {
            wait_for_copies(&mut connection, &mut book, &mut uncopied);
        }
        // Not waiting for a fact: the pace of the load.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    book
}

/// Asks how many replicas have what this client wrote, and notes what is safe by that.
fn wait_for_copies(client: &mut Client, book: &mut Book, uncopied: &mut Vec<(usize, usize)>) {
    match client.try_call(&["WAIT", "1", "300"]) {
        Ok(Reply::Integer(0)) => {
            // Some may have died with their primary: later answers are about what comes after them.
            book.waits[1] += 1;
            uncopied.clear();
        }
        Ok(Reply::Integer(_)) => {
            book.waits[0] += 1;
            for (account, op) in uncopied.drain(..) {
                book.accounts[account].ops[op].copied = true;
            }
        }
        other => book.errors.push(format!("WAIT: {other:?}")),
    }
}

/// The request of one number to an account, or the four of a transaction.
fn request(out: &mut Vec<u8>, account: &Account, client: usize, number: u64) {
    let (count, items, number) = (account.count_key(), account.items_key(), number.to_string());
    match account.kind {
        Kind::Counter => encode_request(out, &["INCR", &count]),
        Kind::List => encode_request(out, &["RPUSH", &items, &number]),
        Kind::Set => encode_request(out, &["SADD", &items, &number]),
        Kind::Transaction => {
            encode_request(out, &["MULTI"]);
            encode_request(out, &["INCR", &count]);
            encode_request(out, &["RPUSH", &items, &number]);
            encode_request(out, &["EXEC"]);
        }
        Kind::Script => encode_request(out, &["EVAL", SCRIPT, "2", &count, &items, &number]),
        Kind::Queue => encode_request(out, &["RPUSH", &items, &format!("{client}:{number}")]),
        Kind::Take => unreachable!("takers write nothing"),
    }
}

/// What came for one request; whatever is neither an answer nor `INDOUBT` is an error.
fn answer(client: &mut Client, kind: Kind) -> Result<End, String> {
    let mut next = || client.try_reply().map_err(|loss| loss.to_string());
    if kind == Kind::Transaction {
        let [multi, first, second] = [next()?, next()?, next()?];
        let queued = Reply::simple("QUEUED");
        if multi != Reply::simple("OK") || first != queued || second != queued {
            let exec = next()?;
            return Err(format!("{multi:?}, {first:?}, {second:?}, {exec:?}"));
        }
    }
    let reply = next()?;
    if reply.as_error().is_some_and(|text| text.starts_with(b"INDOUBT ")) {
        return Ok(End::InDoubt);
    }
    let number = match (kind, &reply) {
        // One that was there already: it ran twice.
        (Kind::Set, Reply::Integer(1)) => Some(1),
        (Kind::Counter | Kind::List | Kind::Queue, Reply::Integer(number)) => Some(*number),
        (Kind::Transaction | Kind::Script, Reply::Array(both)) => match both.as_slice() {
            [Reply::Integer(count), Reply::Integer(len)] if count == len => Some(*count),
            _ => None,
        },
        _ => None,
    };
    number.map(End::Done).ok_or_else(|| format!("{reply:?}"))
}

/// Takes from its queues, each for a while, until the end is in one of them.
pub(super) fn take(proxy: &Server, client: usize, load: &Load) -> Book {
    let mut connection = proxy.client();
    let mut book =
        Book { client, depth: 1, accounts: names(client), errors: Vec::new(), waits: [0; 2] };
    // One waits as long as it takes, the other gives up and comes back.
    let timeout = if client.is_multiple_of(2) { "0" } else { "0.2" };
    for number in 0.. {
        if load.given_up.load(Ordering::SeqCst) {
            break;
        }
        let account = number as usize % book.accounts.len();
        let items = book.accounts[account].items_key();
        let sent = Instant::now();
        let end = match connection.try_call(&["BLPOP", &items, timeout]) {
            Ok(Reply::Array(pair)) => match pair.as_slice() {
                [key, element] if key.as_str() == Some(&items) => {
                    Ok(End::Took(element.as_str().unwrap_or_default().to_owned()))
                }
                _ => Err(format!("{pair:?}")),
            },
            Ok(Reply::Null | Reply::NullArray) => Ok(End::Nothing),
            Ok(Reply::Error(text)) if text.starts_with(b"INDOUBT ") => Ok(End::InDoubt),
            Ok(other) => Err(format!("{other:?}")),
            Err(Loss::TimedOut(_)) if load.given_up.load(Ordering::SeqCst) => break,
            Err(loss) => Err(loss.to_string()),
        };
        match end {
            Ok(End::Took(element)) if element == END => break,
            Ok(end) => {
                if matches!(end, End::Took(_) | End::Nothing) {
                    load.note(client, account, sent);
                }
                let op = Op { number, sent, answered: Instant::now(), end, copied: false };
                book.accounts[account].ops.push(op);
            }
            Err(error) => {
                book.errors.push(format!("client {client}, BLPOP {items}: {error}"));
                if book.errors.len() >= ERRORS_MAX {
                    break;
                }
            }
        }
    }
    book
}

/// Puts the end into every queue, so that a taker finds it wherever it waits.
pub(super) fn end_takers(client: &mut Client) {
    for queue in 0..QUEUES {
        let account = Account::new(Kind::Queue, format!("queue-{queue}"));
        client.integer(&["RPUSH", &account.items_key(), END]);
    }
}

/// What is left in a queue, without the ends that nobody took.
pub(super) fn is_end(element: &str) -> bool {
    element == END
}
