//! Scripts: EVAL and its kin, and SCRIPT.

use super::help;
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::resp::Request;
use crate::script::ScriptName;

pub(super) const HANDLERS: Handlers = &[
    ("eval", eval),
    ("eval_ro", eval),
    ("evalsha", evalsha),
    ("evalsha_ro", evalsha),
    ("script|exists", exists),
    ("script|flush", flush),
    ("script|help", help),
    ("script|kill", kill),
    ("script|load", load),
];

/// Where the keys of a script begin among the arguments.
const FIRST_KEY: usize = 3;

type Done = Result<(), CommandError>;

fn eval(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let keys = count_keys(request)?;
    let name = ctx.load_script(request.arg(1))?;
    ctx.run_script(name, keys, request)
}

fn evalsha(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    const UNKNOWN: CommandError =
        CommandError::line("NOSCRIPT No matching script. Please use EVAL.");
    if request.arg(1).len() != ScriptName::LENGTH {
        return Err(UNKNOWN);
    }
    let keys = count_keys(request)?;
    let name = ScriptName::parse(request.arg(1));
    let known = name.filter(|name| ctx.server.scripts.declared(name).is_some());
    let name = known.ok_or(UNKNOWN)?;
    ctx.run_script(name, keys, request)
}

/// How many of the arguments behind their number are keys.
fn count_keys(request: &Request<'_>) -> Result<usize, CommandError> {
    let keys = integer(request.arg(2))?;
    if keys > (request.len() - FIRST_KEY) as i64 {
        return Err(CommandError::line("ERR Number of keys can't be greater than number of args"));
    }
    usize::try_from(keys).map_err(|_| CommandError::line("ERR Number of keys can't be negative"))
}

fn load(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let name = ctx.load_script(request.arg(2))?;
    ctx.out.bulk(name.as_str());
    Ok(())
}

fn exists(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    ctx.out.array(request.len() - 2);
    for name in request.args_from(2) {
        let name = ScriptName::parse(name);
        let known = name.is_some_and(|name| ctx.server.scripts.declared(&name).is_some());
        ctx.out.integer(i64::from(known));
    }
    Ok(())
}

/// All at once either way: what there is to free is the interpreter's, which is of this thread.
fn flush(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let how = match request.len() {
        2 => true,
        3 => ["sync", "async"].iter().any(|word| is(request.arg(2), word)),
        _ => false,
    };
    if !how {
        return Err(CommandError::line("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    ctx.server.scripts.flush();
    ctx.out.ok();
    Ok(())
}

fn kill(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    ctx.server.scripts.kill()?;
    ctx.out.ok();
    Ok(())
}

impl Ctx<'_> {
    fn load_script(&mut self, body: &[u8]) -> Result<ScriptName, CommandError> {
        self.server.scripts.load(body).map_err(|line| {
            let line = String::from_utf8_lossy(&line).into_owned();
            CommandError::Other(line.into())
        })
    }
}
