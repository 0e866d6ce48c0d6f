//! A line such as `SET key value [ NX | XX ] [ EX ttl | KEEPTTL ]` → commands that fit it, and
//! some that do not.

use super::compare::Rule;
use super::draw::{self, Draw};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// A count of minus four billion is answered in full, a string reaches to the bit that is set, a wait
/// may have no end, a server may become a replica, a log may be shown, and a time to live of 2^63
/// is long past in Redis. COMMAND counts keys by C's `atoi`, and has all to say where a name slips in.
/// Nothing odd may slip in there.
const ASKS_FOR_MUCH: &[&[u8]] = &[
    b"HRANDFIELD",
    b"ZRANDMEMBER",
    b"SETBIT",
    b"BITFIELD",
    b"CONFIG",
    b"BLPOP",
    b"BRPOP",
    b"BLMOVE",
    b"BRPOPLPUSH",
    b"BLMPOP",
    b"BZPOPMIN",
    b"BZPOPMAX",
    b"BZMPOP",
    b"WAIT",
    b"WAITAOF",
    b"DEBUG",
    b"REPLICAOF",
    b"SLAVEOF",
    b"SLOWLOG",
    b"RESTORE",
    b"COMMAND",
    b"RESTORE-ASKING",
];

/// The same for any command with one of these words, and for others: members of one score are in
/// an order of their own, which another score would spoil.
const KEEPS: &[&[u8]] = &[b"LEX", b"BLOCK", b"PAUSE", b"HISTOGRAM"];

/// One line of a group's grammar, parsed.
#[derive(Debug)]
pub(super) struct Line {
    /// As it was written.
    pub(super) text: &'static str,
    pub(super) rule: Rule,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Literal(&'static str),
    Draw(Draw),
    /// One of these.
    Choice(Vec<Vec<Part>>),
    /// One of these, or nothing.
    Maybe(Vec<Vec<Part>>),
    /// Once or more.
    Many(Box<Part>),
}

impl Line {
    /// Parses `parts [=> rule]`. Words in capitals stand for themselves, words in small
    /// letters name what is drawn; `[ a | b ]` may be left out, `( a | b )` not, `x+` repeats.
    ///
    /// # Panics
    /// When the line is not of that form: it is written in this repository.
    pub(super) fn parse(text: &'static str) -> Self {
        let (grammar, rule) = match text.split_once(" => ") {
            Some((grammar, rule)) => (grammar, Rule::parse(rule)),
            None => (text, Rule::Exact),
        };
        let mut words: Vec<&'static str> = grammar.split_whitespace().collect();
        words.reverse();
        let mut choices = parse_choices(&mut words, None);
        assert_eq!(choices.len(), 1, "a choice stands in brackets: {text}");
        Self { text, rule, parts: choices.remove(0) }
    }

    /// Draws one command, mostly one that fits the line.
    pub(super) fn command(&self, rng: &mut SmallRng) -> Vec<Vec<u8>> {
        let mut words = Vec::new();
        write(&self.parts, rng, &mut words);
        let spoils = !ASKS_FOR_MUCH.contains(&&words[0][..])
            && words[1..].iter().all(|word| !KEEPS.contains(&&word[..]));
        if spoils && rng.random_ratio(1, 8) {
            spoil(&mut words, rng);
        }
        if rng.random_ratio(1, 10) {
            for byte in &mut words[0] {
                if rng.random() {
                    byte.make_ascii_lowercase();
                }
            }
        }
        words
    }
}

fn parse_choices(words: &mut Vec<&'static str>, end: Option<&str>) -> Vec<Vec<Part>> {
    let mut choices = vec![Vec::new()];
    while let Some(word) = words.pop() {
        let current = choices.last_mut().expect("one at least");
        match word {
            "|" => choices.push(Vec::new()),
            "[" => current.push(Part::Maybe(parse_choices(words, Some("]")))),
            "(" => {
                let inside = Part::Choice(parse_choices(words, Some(")")));
                if words.last() == Some(&"+") {
                    words.pop();
                    current.push(Part::Many(Box::new(inside)));
                } else {
                    current.push(inside);
                }
            }
            word if Some(word) == end => return choices,
            ")+" if end == Some(")") => {
                words.push("+");
                return choices;
            }
            word => match word.strip_suffix('+') {
                Some(word) if !word.is_empty() => current.push(Part::Many(Box::new(one(word)))),
                _ => current.push(one(word)),
            },
        }
    }
    assert_eq!(end, None, "a bracket is not closed");
    choices
}

fn one(word: &'static str) -> Part {
    if word.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        Part::Draw(Draw::parse(word))
    } else {
        Part::Literal(word)
    }
}

fn write(parts: &[Part], rng: &mut SmallRng, words: &mut Vec<Vec<u8>>) {
    for part in parts {
        match part {
            Part::Literal(word) => words.push(word.as_bytes().to_vec()),
            Part::Draw(draw) => words.push(draw.draw(rng)),
            Part::Choice(choices) => {
                write(choices.choose(rng).expect("a choice is not empty"), rng, words);
            }
            Part::Maybe(choices) => {
                if rng.random_ratio(2, 5) {
                    write(choices.choose(rng).expect("a choice is not empty"), rng, words);
                }
            }
            Part::Many(part) => {
                let times = if rng.random_ratio(1, 40) { 60 } else { rng.random_range(1..=4) };
                for _ in 0..times {
                    write(std::slice::from_ref(part), rng, words);
                }
            }
        }
    }
}

/// Makes a command that does not fit its line, or hardly.
fn spoil(words: &mut Vec<Vec<u8>>, rng: &mut impl Rng) {
    let at = rng.random_range(0..words.len());
    match rng.random_range(0..4) {
        0 if words.len() > 1 => words.truncate(words.len() - 1),
        1 if at > 0 => words[at] = draw::junk(rng),
        2 if at > 0 => words.insert(at, draw::junk(rng)),
        _ => words.push(draw::junk(rng)),
    }
}
