//! One run of the tool: what was asked for, how nodes are reached, and where words go.

use super::failure::Failure;
use super::join;
use super::nodes::Cluster;
use super::prompt;
use super::report::{Recorded, Report, Silent, Terminal};
use crate::admin::check::{Checkup, check};
use crate::admin::options::{Invocation, Subcommand};
use crate::admin::plan::Plan;
use crate::cluster::{Endpoint, NodeId};
use crate::net::{ClientOptions, Credentials};
use crate::secret::Secret;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long nodes may take to know a newcomer or to agree, before the tool gives up waiting.
pub(super) const AGREE_WITHIN: Duration = Duration::from_secs(60);

/// How long nodes that merely have not heard of the latest change are waited for.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// Where words go: to people, or into a document.
#[derive(Debug)]
enum Voice {
    Terminal(Terminal),
    Document(Recorded),
}

/// One run.
#[derive(Debug)]
pub(super) struct Tool {
    /// The command line.
    pub(super) invocation: Invocation,
    /// How nodes are spoken to.
    pub(super) client: ClientOptions,
    voice: Voice,
    document: Map<String, Value>,
}

impl Tool {
    /// Prepares a run; asks for a password if that was wanted.
    pub(super) fn new(invocation: Invocation) -> Result<Self, Failure> {
        let voice = if invocation.flag("json") {
            Voice::Document(Recorded::default())
        } else {
            Voice::Terminal(Terminal::new())
        };
        let client = ClientOptions::default();
        let mut tool = Self { invocation, client, voice, document: Map::new() };
        let password = if tool.invocation.flag("askpass") {
            Some(prompt::ask_password("Please input a password: ")?)
        } else {
            let given = tool.invocation.value("pass").map(str::to_owned);
            given.or_else(|| std::env::var("REDISCLI_AUTH").ok().filter(|text| !text.is_empty()))
        };
        tool.client.credentials = Credentials {
            user: tool.invocation.value("user").map(str::to_owned),
            password: password.map(Secret::new),
        };
        Ok(tool)
    }

    /// Where words go.
    pub(super) fn report(&mut self) -> &mut dyn Report {
        match &mut self.voice {
            Voice::Terminal(terminal) => terminal,
            Voice::Document(recorded) => recorded,
        }
    }

    /// Says a line.
    pub(super) fn say(&mut self, text: impl AsRef<str>) {
        self.report().line(text.as_ref());
    }

    /// A word of the command line, as an address.
    pub(super) fn endpoint(&self, word: usize) -> Result<Endpoint, Failure> {
        let text = self.invocation.words[word].to_string_lossy();
        parse_endpoint(&text)
    }

    /// The cluster that a word of the command line names a node of.
    pub(super) async fn load(&mut self, word: usize) -> Result<Cluster, Failure> {
        let entry = self.endpoint(word)?;
        let client = self.client.clone();
        Cluster::load(&entry, &client, self.report()).await
    }

    /// The same for commands that change something, and want nodes that agree: those which do not often
    /// only wait for the next gossip.
    pub(super) async fn load_settled(&mut self, word: usize) -> Result<Cluster, Failure> {
        let mut cluster = self.load(word).await?;
        // Whether they agree in the end is what the check will say.
        let _ = join::until(&mut cluster, SETTLE_WITHIN, &mut Silent, join::all_agree).await;
        Ok(cluster)
    }

    /// The check that every changing command begins with, said aloud.
    pub(super) fn check(&mut self, cluster: &Cluster) -> Checkup {
        let checkup = check(&cluster.snapshot);
        for line in checkup.preamble() {
            self.say(line);
        }
        self.say(format!(">>> Performing Cluster Check (using node {})", cluster.entry));
        for node in &cluster.snapshot.nodes {
            self.say(cluster.snapshot.describe(node));
        }
        for line in checkup.report(&cluster.entry) {
            self.say(line);
        }
        checkup
    }

    /// Whether the plan is only to be seen; then it was shown, and is part of the document.
    pub(super) fn only_shows(&mut self, plan: &Plan) -> bool {
        self.note("plan", plan.to_json());
        self.is_dry()
    }

    /// The same for plans that are not part of what is said in any case: then their steps are.
    pub(super) fn only_shows_steps(&mut self, plan: &Plan) -> bool {
        let only = self.only_shows(plan);
        for step in plan.steps.iter().filter(|_| only) {
            self.say(step.to_string());
        }
        only
    }

    /// Whether nothing may be changed.
    pub(super) fn is_dry(&self) -> bool {
        self.invocation.command == Subcommand::Rebalance && self.invocation.flag("simulate")
            || self.invocation.flag("dry-run")
    }

    /// Asks for a `yes`, unless `--yes` gave it.
    pub(super) fn confirm(&mut self, question: &str) -> Result<bool, Failure> {
        if self.invocation.flag("yes") {
            return Ok(true);
        }
        Ok(self.ask(question)?.eq_ignore_ascii_case("yes"))
    }

    /// Asks a question.
    pub(super) fn ask(&mut self, question: &str) -> Result<String, Failure> {
        if matches!(self.voice, Voice::Document(_)) {
            return Err(Failure::error("With --json nothing is asked: give --yes or --dry-run."));
        }
        prompt::ask(self.report(), question)
    }

    /// Adds to the document of `--json`.
    pub(super) fn note(&mut self, name: &str, value: Value) {
        self.document.insert(name.to_owned(), value);
    }

    /// Says how the run ended; true if it ended well.
    pub(super) fn finish(mut self, result: Result<(), Failure>) -> bool {
        if let Err(failure) = &result
            && !failure.text.is_empty()
        {
            self.say(&failure.text);
            if let Some(fix) = &failure.fix {
                self.say(format!("    fix: {fix}"));
            }
        }
        if self.is_dry() && result.is_ok() {
            self.say("*** Dry run: nothing was changed.");
        }
        if let Voice::Document(recorded) = self.voice {
            self.document.insert("command".to_owned(), json!(self.invocation.command.name()));
            self.document.insert("ok".to_owned(), json!(result.is_ok()));
            if let Err(failure) = &result {
                self.document.insert("error".to_owned(), json!(failure.text));
                self.document.insert("fix".to_owned(), json!(failure.fix));
            }
            let lines: Vec<&str> = recorded.text.lines().collect();
            self.document.insert("log".to_owned(), json!(lines));
            Terminal::new().line(&Value::Object(self.document).to_string());
        }
        result.is_ok()
    }
}

/// Reads an address in redis-trib's words.
pub(super) fn parse_endpoint(text: &str) -> Result<Endpoint, Failure> {
    Endpoint::parse(text).map_err(|_| {
        Failure::new(format!("Invalid IP or Port (given as {text}) - use IP:Port format"))
    })
}

/// Finds a node by its whole id. A shortened id is not guessed at, but told in full.
pub(super) fn find_id(
    text: &str,
    ids: &[NodeId],
    unknown: impl FnOnce() -> String,
) -> Result<NodeId, Failure> {
    let wanted = text.trim().to_ascii_lowercase();
    if let Some(id) = ids.iter().find(|id| id.as_str() == wanted) {
        return Ok(*id);
    }
    let mut similar =
        ids.iter().filter(|id| !wanted.is_empty() && id.as_str().starts_with(&wanted));
    let failure = Failure::new(unknown());
    Err(match (similar.next(), similar.next()) {
        (Some(id), None) => failure.fix(format!("give the whole id: {id}")),
        _ => failure,
    })
}
