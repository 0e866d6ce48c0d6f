//! A transcript as lines, some of which are steps.

use std::path::PathBuf;

/// What a script can be run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Redis,
    Valkey,
    Node,
    /// A cluster of nodes of ours beside stock ones.
    Mixed,
    /// Through the proxy, in front of stock primaries.
    Proxy,
}

impl Subject {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "redis" => Self::Redis,
            "valkey" => Self::Valkey,
            "node" => Self::Node,
            "mixed" => Self::Mixed,
            "proxy" => Self::Proxy,
            _ => return None,
        })
    }
}

/// One file.
#[derive(Debug)]
pub(super) struct Script {
    path: PathBuf,
    /// Where it holds.
    pub(super) subjects: Vec<Subject>,
    /// The names of the cluster's nodes; none for a server alone.
    pub(super) nodes: Vec<String>,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug)]
pub(super) enum Line {
    /// A comment, an empty line, a heading: kept as it is.
    Other(String),
    Step(Step),
}

/// How a step's command is given and its reply taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// The command's words.
    Call,
    /// Bytes as they are: one string.
    Raw,
    /// Again and again until the reply is as expected.
    Until,
}

/// One line `[subjects] connection verb> command | reply`.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) number: usize,
    /// The text up to and including `>`.
    prompt: String,
    /// Empty for all of the script's.
    pub(super) only: Vec<Subject>,
    /// The connection, or the node. Empty for the one that needs no name.
    pub(super) connection: String,
    pub(super) verb: Verb,
    pub(super) command: String,
    pub(super) reply: String,
}

impl Script {
    pub(super) fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).expect("a readable transcript");
        let mut script = Self {
            path,
            subjects: vec![Subject::Redis, Subject::Valkey, Subject::Node],
            nodes: Vec::new(),
            lines: Vec::new(),
        };
        for (index, text) in text.lines().enumerate() {
            let line = script.line(index + 1, text);
            script.lines.push(line);
        }
        script
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().expect("a file has a name").to_string_lossy().into_owned()
    }

    fn line(&mut self, number: usize, text: &str) -> Line {
        let wrong = |why: &str| -> ! { panic!("{}:{number}: {why}: {text}", self.name()) };
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.split_first() {
            None => return Line::Other(text.to_owned()),
            Some((first, _)) if first.starts_with('#') => return Line::Other(text.to_owned()),
            Some((&"servers", rest)) => {
                self.subjects = rest
                    .iter()
                    .map(|word| Subject::parse(word).unwrap_or_else(|| wrong("unknown server")))
                    .collect();
                return Line::Other(text.to_owned());
            }
            Some((&"nodes", rest)) => {
                self.nodes = rest.iter().map(|&name| name.to_owned()).collect();
                return Line::Other(text.to_owned());
            }
            Some(_) => {}
        }
        let Some((head, body)) = text.split_once('>') else { wrong("no `>`") };
        let (mut only, mut connection, mut verb) = (Vec::new(), String::new(), Verb::Call);
        let mut head_words = head;
        if let Some(rest) = head.strip_prefix('[') {
            let Some((inside, rest)) = rest.split_once(']') else { wrong("no `]`") };
            only = inside
                .split_whitespace()
                .map(|word| Subject::parse(word).unwrap_or_else(|| wrong("unknown server")))
                .collect();
            head_words = rest;
        }
        for word in head_words.split_whitespace() {
            match word {
                "raw" => verb = Verb::Raw,
                "until" => verb = Verb::Until,
                "on" => {}
                name => connection = name.to_owned(),
            }
        }
        let (command, reply) = split_reply(body);
        Line::Step(Step {
            number,
            prompt: format!("{head}>"),
            only,
            connection,
            verb,
            command: command.trim().to_owned(),
            reply: reply.trim().to_owned(),
        })
    }

    /// Writes the file again, the replies in one column per block.
    pub(super) fn write(&self) {
        const WIDEST: usize = 46;
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Other(line) => text.push_str(line),
                Line::Step(step) => {
                    let left = format!("{} {}", step.prompt, step.command);
                    text.push_str(&format!("{left:WIDEST$} | {}", step.reply));
                }
            }
            text.push('\n');
        }
        std::fs::write(&self.path, text).expect("the transcript can be written");
    }
}

/// The command and the reply: what stands before and after the first ` | ` outside quotes.
fn split_reply(body: &str) -> (&str, &str) {
    let bytes = body.as_bytes();
    let (mut quoted, mut at) = (false, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'|' if !quoted && at > 0 && bytes[at - 1] == b' ' => {
                return (&body[..at], &body[at + 1..]);
            }
            _ => {}
        }
        at += 1;
    }
    (body, "")
}
