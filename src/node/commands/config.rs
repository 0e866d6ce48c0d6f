//! CONFIG: the parameters of a running node.

use super::help;
use crate::node::args::is;
use crate::node::call::{Ctx, Handlers};
use crate::node::directives::{self, Refusal};
use crate::node::error::CommandError;
use crate::node::persistence::LOADING;
use crate::node::rewrite::{Which, rewritten};
use crate::node::settings::Allowed;
use crate::resp::Request;
use crate::value::{Case, glob_match};

pub(super) const HANDLERS: Handlers = &[
    ("config|get", get),
    ("config|help", help),
    ("config|resetstat", resetstat),
    ("config|rewrite", rewrite),
    ("config|set", set),
];

/// Each parameter that any of the patterns matches, once, under the name that matched.
fn get(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let hidden = |name: &str| directives::directive(name).is_some_and(|found| found.is_hidden);
    let is_pattern = |word: &[u8]| word.iter().any(|byte| b"*?[".contains(byte));
    let asks_for = |word: &[u8], name: &str| {
        if is_pattern(word) {
            !hidden(name) && glob_match(word, name.as_bytes(), Case::Ignored)
        } else {
            is(word, name)
        }
    };
    let asked_by = |name: &str| request.args_from(2).find(|word| asks_for(word, name));
    let found: Vec<_> = ctx.server.directives.matching(|name| asked_by(name).is_some()).collect();
    ctx.out.map(found.len());
    for (name, value) in found {
        // A name is written as the client has written it.
        let asked = asked_by(name).filter(|word| !is_pattern(word));
        ctx.out.bulk(asked.unwrap_or(name.as_bytes()));
        ctx.out.bulk(value);
    }
    Ok(())
}

/// Several parameters at once: all change, or none.
fn set(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    if request.len() % 2 == 1 {
        return Err(CommandError::Arity("config|set"));
    }
    let words: Vec<String> =
        request.args_from(2).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
    for name in words.iter().step_by(2) {
        let Some(directive) = directives::directive(name) else { continue };
        let allowed = ctx.server.settings.protected_config_allowed;
        if directive.is_protected() && !ctx.may(allowed) {
            return Err(failed(name, "can't set protected config"));
        }
        let server = &ctx.server;
        let loads = server.persistence.loading.is_some()
            || server.replication.is_loading()
            || server.replication.is_loading_beside();
        if directive.waits_for_load() && loads {
            return Err(LOADING);
        }
    }
    let pairs = words.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
    match ctx.server.configure(pairs) {
        Ok(()) => {
            ctx.keyspace.set_limits(ctx.server.settings.type_limits());
            ctx.keyspace.set_usage_policy(ctx.server.settings.usage);
            ctx.server.listen(ctx.keyspace);
            ctx.out.ok();
        }
        Err(Refusal::Unknown(name)) => {
            return Err(CommandError::err(format!(
                "Unknown option or number of arguments for CONFIG SET - '{name}'"
            )));
        }
        Err(Refusal::Invalid { name, reason }) => return Err(failed(&name, &reason)),
    }
    Ok(())
}

fn failed(name: &str, reason: &str) -> CommandError {
    CommandError::err(format!(
        "CONFIG SET failed (possibly related to argument '{name}') - {reason}"
    ))
}

fn resetstat(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.server.reset_stats();
    ctx.keyspace.reset_stats();
    ctx.out.ok();
    Ok(())
}

fn rewrite(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<(), CommandError> {
    ctx.rewrite_config(Which::Changed)
}

impl Ctx<'_> {
    /// Keeps what the file says, comments included, and changes only what differs from it.
    pub(super) fn rewrite_config(&mut self, which: Which) -> Result<(), CommandError> {
        let Some(path) = &self.server.config_file else {
            return Err(CommandError::line("ERR The server is running without a config file"));
        };
        let host = &self.server.host;
        let outcome = host.read_config(path).and_then(|old| {
            host.replace_config(path, &rewritten(&old, &self.server.directives, which))
        });
        outcome.map_err(|error| {
            tracing::warn!(%error, "CONFIG REWRITE failed");
            CommandError::err(format!("Rewriting config file: {error}"))
        })?;
        self.out.ok();
        Ok(())
    }

    /// Whether this client may do what only some may.
    pub(super) fn may(&self, allowed: Allowed) -> bool {
        match allowed {
            Allowed::No => false,
            Allowed::Yes => true,
            Allowed::Local => self.session.is_local(),
        }
    }
}
