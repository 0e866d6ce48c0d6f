//! Balances the books: what the nodes hold against what the clients were told.
//!
//! A request that was acknowledged has its effect once. One that ended `INDOUBT` has it once or not
//! at all. What was acknowledged and is *exposed* (see [`super::faults`]) may be missing, and with it
//! everything behind it that the same primary took: what a replica has is always a beginning.

use super::accounts::{Account, Book, End, Kind, Op};
use super::faults::Fault;
use super::load::is_end;
use crate::support::Client;
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong, and what the cluster lost.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Each is a failure.
    pub wrong: Vec<String>,
    /// Acknowledged effects that died with a primary before it had copied them.
    pub lost_by_cluster: usize,
    /// `INDOUBT`s whose effect is there, and is not there.
    pub in_doubt: [usize; 2],
}

/// Which fault may have cost this its effect.
fn exposure(faults: &[Fault], account: &Account, op: &Op) -> Option<usize> {
    if op.copied {
        return None;
    }
    faults.iter().position(|fault| fault.exposes(account.slot, op.sent, op.answered))
}

impl Audit {
    /// Holds all books against what the nodes have.
    pub(super) fn of(books: &[Book], faults: &[Fault], client: &mut Client) -> Self {
        let mut audit = Self::default();
        for book in books {
            audit.wrong.extend(book.errors.iter().cloned());
            for account in &book.accounts {
                audit.in_doubt_is_due(book, account, faults);
                if account.kind.counts() {
                    audit.counts(account, faults, client);
                }
                if matches!(account.kind, Kind::List | Kind::Transaction | Kind::Script) {
                    let items = list(client, &account.items_key());
                    audit.items(account, faults, &items, true);
                }
                if account.kind == Kind::Set {
                    let members = client.call(&["SMEMBERS", &account.items_key()]);
                    let mut items = numbers(&texts(&members));
                    items.sort_unstable();
                    audit.items(account, faults, &items, false);
                }
            }
        }
        for book in books {
            for taken in book.accounts.iter().filter(|account| account.kind == Kind::Take) {
                let left = client.call(&["LRANGE", &taken.items_key(), "0", "-1"]);
                let left = texts(&left).into_iter().filter(|text| !is_end(text)).collect();
                audit.queue(taken, books, faults, left);
            }
        }
        audit
    }

    /// `INDOUBT` comes only to what was under way on a connection that died.
    fn in_doubt_is_due(&mut self, book: &Book, account: &Account, faults: &[Fault]) {
        for op in account.ops.iter().filter(|op| op.end == End::InDoubt) {
            let due = faults.iter().any(|fault| {
                fault.what.breaks() && fault.meets(account.slot, op.sent, op.answered)
            });
            if !due {
                let begun: Vec<_> = faults
                    .iter()
                    .map(|fault| (fault.what, fault.slots.contains(account.slot)))
                    .collect();
                self.wrong.push(format!(
                    "client {}, {:?} {}: INDOUBT on a healthy connection, after {:?}; {begun:?}",
                    book.client,
                    account.kind,
                    account.tag,
                    op.answered - op.sent,
                ));
            }
        }
    }

    /// The number in each answer is one more than the one before, less what the cluster lost, and
    /// more by what was in doubt and ran.
    fn counts(&mut self, account: &Account, faults: &[Fault], client: &mut Client) {
        let (mut low, mut high) = (0, 0);
        // For each fault: what was there before the first request that it exposed.
        let mut before: BTreeMap<usize, i64> = BTreeMap::new();
        for op in &account.ops {
            let exposed = exposure(faults, account, op);
            for (&fault, &value) in &before {
                if exposed != Some(fault) {
                    low = low.min(value);
                }
            }
            before.retain(|fault, _| exposed == Some(*fault));
            if let Some(fault) = exposed {
                before.entry(fault).or_insert(low);
            }
            match op.end {
                End::Done(value) => {
                    if value <= low || value > high + 1 {
                        self.wrong.push(format!(
                            "{:?} {}: number {} was answered with {value}, not {} to {}",
                            account.kind,
                            account.tag,
                            op.number,
                            low + 1,
                            high + 1,
                        ));
                    }
                    (low, high) = (value, value);
                }
                End::InDoubt => high += 1,
                End::Took(_) | End::Nothing => {}
            }
        }
        low = before.values().copied().fold(low, i64::min);
        let value = match account.kind {
            Kind::List => client.integer(&["LLEN", &account.items_key()]),
            _ => {
                let text = client.call(&["GET", &account.count_key()]);
                text.as_str().map_or(0, |text| text.parse().expect("a counter"))
            }
        };
        if value < low || value > high {
            self.wrong.push(format!(
                "{:?} {}: is {value} in the end, not {low} to {high}",
                account.kind, account.tag
            ));
        }
    }

    /// The numbers in a list or a set: each at most once, in their order, all that must be there.
    fn items(&mut self, account: &Account, faults: &[Fault], items: &[u64], atomic: bool) {
        let name = format!("{:?} {}", account.kind, account.tag);
        if let Some(pair) = items.windows(2).find(|pair| pair[0] >= pair[1]) {
            self.wrong.push(format!("{name}: {} stands before {}", pair[0], pair[1]));
        }
        let there: BTreeSet<u64> = items.iter().copied().collect();
        let known: BTreeSet<u64> = account.ops.iter().map(|op| op.number).collect();
        for number in there.difference(&known) {
            self.wrong.push(format!("{name}: {number} was never written"));
        }
        let mut lost_from: BTreeMap<usize, u64> = BTreeMap::new();
        for op in &account.ops {
            let is_there = there.contains(&op.number);
            if op.end == End::InDoubt {
                self.in_doubt[usize::from(!is_there)] += 1;
                continue;
            }
            let exposed = exposure(faults, account, op);
            match (is_there, exposed) {
                (true, Some(fault)) if lost_from.contains_key(&fault) => {
                    let lost = lost_from[&fault];
                    self.wrong.push(format!("{name}: {lost} is missing, and {} is not", op.number));
                }
                (true, _) => {}
                (false, Some(fault)) => {
                    self.lost_by_cluster += 1;
                    lost_from.entry(fault).or_insert(op.number);
                }
                (false, None) => {
                    let near: Vec<String> = faults
                        .iter()
                        .filter(|fault| fault.slots.contains(account.slot))
                        .map(|fault| fault.beside(op.sent, op.answered))
                        .collect();
                    let copied = if op.copied { ", and WAIT had counted it" } else { "" };
                    self.wrong.push(format!("{name}: {} is missing{copied}; {near:?}", op.number));
                }
            }
        }
        if atomic && account.kind != Kind::List {
            // Both of a pair, or none: the counter was held against the same answers.
            let done = account.ops.iter().rev().find_map(|op| match op.end {
                End::Done(value) if exposure(faults, account, op).is_none() => Some((op, value)),
                _ => None,
            });
            if let Some((last, value)) = done {
                let until = items.iter().filter(|&&number| number <= last.number).count();
                if i64::try_from(until).ok() != Some(value) {
                    self.wrong.push(format!("{name}: {until} items, and {value} counted"));
                }
            }
        }
    }

    /// What was put into a queue was taken once, in each writer's order, or is still there.
    fn queue(&mut self, taken: &Account, books: &[Book], faults: &[Fault], left: Vec<String>) {
        let name = format!("queue {}", taken.tag);
        let mut put: BTreeMap<String, (&Op, bool)> = BTreeMap::new();
        for book in books {
            for account in book.accounts.iter() {
                if account.kind == Kind::Queue && account.tag == taken.tag {
                    for op in &account.ops {
                        let exposed = exposure(faults, account, op).is_some();
                        put.insert(format!("{}:{}", book.client, op.number), (op, exposed));
                    }
                }
            }
        }
        // In the order in which they were taken; those that are left come after them.
        let mut seen: BTreeMap<&str, bool> = BTreeMap::new();
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        let takes = taken.ops.iter().filter_map(|op| match &op.end {
            End::Took(element) => Some((element.as_str(), exposure(faults, taken, op).is_some())),
            _ => None,
        });
        for (element, exposed) in takes.chain(left.iter().map(|text| (text.as_str(), false))) {
            if !put.contains_key(element) {
                self.wrong.push(format!("{name}: {element} was never put there"));
                continue;
            }
            // Taken, and the taking lost with the primary: the next has it again.
            let undone = seen.insert(element, exposed);
            if undone == Some(false) {
                self.wrong.push(format!("{name}: {element} was taken twice"));
            }
            let (writer, number) = element.split_once(':').expect("writer and number");
            let number: u64 = number.parse().expect("a number");
            let before = last.insert(writer, number);
            if undone.is_none() && before.is_some_and(|before| before >= number) {
                self.wrong.push(format!("{name}: {element} came after {before:?}"));
            }
        }
        // What nobody got may have gone with an answer that was lost: one for each.
        let mut doubts = taken.ops.iter().filter(|op| op.end == End::InDoubt).count();
        for (element, (op, exposed)) in &put {
            let is_there = seen.contains_key(element.as_str());
            if op.end == End::InDoubt {
                self.in_doubt[usize::from(!is_there)] += 1;
            } else if !is_there && *exposed {
                self.lost_by_cluster += 1;
            } else if !is_there && doubts > 0 {
                doubts -= 1;
            } else if !is_there {
                self.wrong.push(format!("{name}: {element} is missing"));
            }
        }
    }
}

fn texts(reply: &keyway::resp::Reply) -> Vec<String> {
    let items = match reply {
        keyway::resp::Reply::Array(items) | keyway::resp::Reply::Set(items) => items.as_slice(),
        other => panic!("not a list: {other:?}"),
    };
    items.iter().map(|item| item.as_str().expect("text").to_owned()).collect()
}

fn numbers(texts: &[String]) -> Vec<u64> {
    texts.iter().map(|text| text.parse().expect("a number")).collect()
}

fn list(client: &mut Client, key: &str) -> Vec<u64> {
    numbers(&texts(&client.call(&["LRANGE", key, "0", "-1"])))
}
