//! `rename-command`: commands that clients call by another name, or not at all.
//!
//! Only clients are concerned. What comes from a primary or from the append-only file says what the
//! commands are called, and so does what goes on to replicas: files and replicas stay readable
//! whatever the names are.

use super::call::Ctx;
use super::directive_values::WRONG_COUNT;
use super::execute::Ran;
use super::session::Role;
use crate::command::{self, Spec, UnknownCommand};
use crate::resp::{OwnedRequest, Request};
use std::collections::BTreeMap;

/// Names, in lower case, that are not what the table of commands says.
#[derive(Debug, Default)]
pub(super) struct Renames {
    /// The command that is meant; none if that name is not known any longer.
    names: BTreeMap<String, Option<&'static Spec>>,
}

/// What a client means by a name.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// What the table says.
    Usual,
    /// This command.
    Other(&'static Spec),
    /// Nothing.
    Nothing,
}

impl Renames {
    /// Reads one directive: the old name and the new one, which is empty where there is to be none.
    pub(super) fn load(&mut self, words: &[&str]) -> Result<(), String> {
        let [old, new] = words else { return Err(WRONG_COUNT.to_owned()) };
        let (old, new) = (old.to_ascii_lowercase(), new.to_ascii_lowercase());
        let named = match self.names.get(&old) {
            Some(renamed) => *renamed,
            None => command::lookup(old.as_bytes()),
        };
        let Some(spec) = named else { return Err("No such command in rename-command".to_owned()) };
        let is_taken = match self.names.get(&new) {
            Some(taken) => taken.is_some(),
            None => command::lookup(new.as_bytes()).is_some(),
        };
        if is_taken {
            return Err("Target command name already exists".to_owned());
        }
        self.names.insert(old, None);
        if !new.is_empty() {
            self.names.insert(new, Some(spec));
        }
        Ok(())
    }

    /// Whether every command has its usual name.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn meaning(&self, name: &[u8]) -> Meaning {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        match self.names.get(&name) {
            None => Meaning::Usual,
            Some(None) => Meaning::Nothing,
            Some(Some(spec)) => Meaning::Other(spec),
        }
    }

    /// The name that the table has for what clients call so; nothing if they call nothing so.
    pub(super) fn meant<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        match self.meaning(name) {
            Meaning::Usual => name,
            Meaning::Other(spec) => spec.name.as_bytes(),
            Meaning::Nothing => b"",
        }
    }
}

impl Ctx<'_> {
    /// Runs a request of which the name may mean something else to clients.
    #[cold]
    pub(super) fn execute_renamed(&mut self, request: &Request<'_>) -> Ran {
        if self.session.role == Role::Primary {
            return self.execute_named(request);
        }
        match self.server.renames.meaning(request.name()) {
            Meaning::Usual => self.execute_named(request),
            Meaning::Other(spec) => {
                let mut args: Vec<&[u8]> = request.args_from(0).collect();
                args[0] = spec.name.as_bytes();
                self.execute_named(&OwnedRequest::from_args(&args).as_request())
            }
            Meaning::Nothing => {
                let mut line = Vec::new();
                UnknownCommand::Name { request: *request }.write(&mut line);
                self.refuse(None, &line);
                Ran::Yes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::node::tests::Node;

    #[test]
    fn a_command_is_called_by_its_new_name_or_not_at_all() {
        let directives =
            [("rename-command", "FLUSHALL "), ("rename-command", "GET fetch"), ("port", "7000")];
        let mut node = Node::new(&directives);
        let mut client = node.client();
        let unknown = |name| format!("-ERR unknown command '{name}', with args beginning with: ");
        assert_eq!(node.replies(&mut client, "SET k v"), "+OK|");
        assert_eq!(node.replies(&mut client, "Fetch k"), "$1|v|");
        assert_eq!(node.replies(&mut client, "get k"), unknown("get") + "'k' |");
        assert_eq!(node.replies(&mut client, "flushall"), unknown("flushall") + "|");
        // One that is unknown spoils a transaction.
        node.replies(&mut client, "MULTI");
        node.replies(&mut client, "GET k");
        assert!(node.replies(&mut client, "EXEC").starts_with("-EXECABORT"));
    }

    #[test]
    fn names_must_be_there_and_free() {
        let mut renames = super::Renames::default();
        for (words, outcome) in [
            (&["get"][..], Err("wrong number of arguments")),
            (&["nope", "x"], Err("No such command in rename-command")),
            (&["get", "set"], Err("Target command name already exists")),
            (&["get", "Fetch"], Ok(())),
            (&["GET", "other"], Err("No such command in rename-command")),
            (&["mget", "fetch"], Err("Target command name already exists")),
            (&["mget", "get"], Ok(())),
            (&["fetch", "again"], Ok(())),
        ] {
            assert_eq!(renames.load(words), outcome.map_err(str::to_owned), "{words:?}");
        }
    }
}
