//! The table `redis`, by which scripts ask for what an interpreter has none of.

use super::conversation::Conversation;
use super::failure::{self, Raised, refusal};
use super::reply::write_number;
use super::{Call, Feeds, LogLevel, ScriptName, Step, convert};
use crate::REDIS_VERSION;
use crate::resp::{OwnedRequest, Protocol, Request, Span};
use mlua::{Lua, MultiValue, Scope, Table, Value};

const REPL_AOF: i64 = 1;
const REPL_REPLICA: i64 = 2;
/// From here on a number has more than the 17 figures that are shown.
const FIGURES_17: u64 = 1 << 53;
const ARGUMENTS: &str = "Lua redis lib command arguments must be strings or integers";
const NO_ARGUMENT: &str = "Please specify at least one argument for this redis lib call";

/// The library's functions and constants.
pub(super) fn create<'scope, 'env: 'scope>(
    lua: &Lua,
    scope: &'scope Scope<'scope, 'env>,
    talk: &'env Conversation<'env>,
) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, value) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", REPL_AOF),
        ("REPL_SLAVE", REPL_REPLICA),
        ("REPL_REPLICA", REPL_REPLICA),
        ("REPL_ALL", REPL_AOF | REPL_REPLICA),
        ("REDIS_VERSION_NUM", version_number()),
    ] {
        table.raw_set(name, value)?;
    }
    table.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    let call = move |lua: &Lua, arguments: MultiValue| match call(lua, talk, arguments)? {
        Ok(value) => Ok(value),
        Err(raised) => Err(raised.into()),
    };
    table.raw_set("call", scope.create_function(call)?)?;
    let pcall = move |lua: &Lua, arguments: MultiValue| match call_caught(lua, talk, arguments)? {
        Ok(value) => Ok(value),
        Err(Raised::Table { text, counted }) => {
            Ok(Value::Table(failure::table(lua, &text, counted)?))
        }
        Err(killed) => Err(killed.into()),
    };
    table.raw_set("pcall", scope.create_function(pcall)?)?;
    table.raw_set("acl_check_cmd", scope.create_function(move |_, values| knows(talk, values))?)?;
    table.raw_set("log", scope.create_function(move |lua, values| log(lua, talk, values))?)?;
    let set_resp = move |lua: &Lua, values| set_resp(lua, talk, values);
    table.raw_set("setresp", scope.create_function(set_resp)?)?;
    let set_repl = move |lua: &Lua, values| set_repl(lua, talk, values);
    table.raw_set("set_repl", scope.create_function(set_repl)?)?;
    table.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    table.raw_set("error_reply", lua.create_function(error_reply)?)?;
    table.raw_set("status_reply", lua.create_function(status_reply)?)?;
    table.raw_set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
    table.raw_set("breakpoint", lua.create_function(|_, ()| Ok(false))?)?;
    table.raw_set("debug", lua.create_function(|_, ()| Ok(()))?)?;
    Ok(table)
}

/// A version's three numbers in a byte each.
fn version_number() -> i64 {
    REDIS_VERSION.split('.').fold(0, |all, part| all << 8 | part.parse::<i64>().unwrap_or(0))
}

/// What calls come to: a value, or an error that is raised or returned.
type Called = Result<Value, Raised>;

fn call_caught(lua: &Lua, talk: &Conversation<'_>, arguments: MultiValue) -> mlua::Result<Called> {
    call(lua, talk, arguments)
}

fn call(lua: &Lua, talk: &Conversation<'_>, arguments: MultiValue) -> mlua::Result<Called> {
    let request = match request(&arguments) {
        Ok(request) => request,
        Err(problem) => return Ok(Err(own(problem))),
    };
    drop(arguments);
    let protocol = talk.state.protocol.get();
    let step = Step::Call(Call { request, protocol, feeds: talk.state.feeds.get() });
    talk.ask(step)?;
    let reply = talk.state.reply.borrow();
    if let Some(line) = reply.strip_suffix(b"\r\n").filter(|line| line.starts_with(b"-")) {
        return Ok(Err(Raised::Table { text: failure::with_code(line), counted: true }));
    }
    convert::to_lua(lua, &reply).map(Ok)
}

fn own(problem: &str) -> Raised {
    Raised::Table { text: format!("ERR {problem}").into_bytes(), counted: false }
}

/// The command that arguments are. Numbers keep all their figures.
fn request(arguments: &MultiValue) -> Result<OwnedRequest, &'static str> {
    if arguments.is_empty() {
        return Err(NO_ARGUMENT);
    }
    let mut frame = Vec::with_capacity(128);
    let mut spans = Vec::with_capacity(arguments.len());
    let mut figures = itoa::Buffer::new();
    let mut text = Vec::new();
    head(&mut frame, b'*', arguments.len());
    for argument in arguments {
        let span = match argument {
            Value::String(argument) => bulk(&mut frame, &argument.as_bytes()),
            Value::Integer(number) if number.unsigned_abs() < FIGURES_17 => {
                bulk(&mut frame, figures.format(*number).as_bytes())
            }
            Value::Integer(number) => {
                text.clear();
                write_number(&mut text, *number as f64);
                bulk(&mut frame, &text)
            }
            Value::Number(number) => {
                text.clear();
                write_number(&mut text, *number);
                bulk(&mut frame, &text)
            }
            _ => return Err(ARGUMENTS),
        };
        spans.push(span);
    }
    Ok(Request::new(&frame, &spans).to_owned())
}

fn head(frame: &mut Vec<u8>, mark: u8, number: usize) {
    frame.push(mark);
    frame.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    frame.extend_from_slice(b"\r\n");
}

fn bulk(frame: &mut Vec<u8>, bytes: &[u8]) -> Span {
    head(frame, b'$', bytes.len());
    let start = frame.len() as u32;
    frame.extend_from_slice(bytes);
    let end = frame.len() as u32;
    frame.extend_from_slice(b"\r\n");
    Span { start, end }
}

fn knows(talk: &Conversation<'_>, arguments: MultiValue) -> mlua::Result<bool> {
    let request = request(&arguments).map_err(refusal)?;
    drop(arguments);
    talk.ask(Step::Knows(request))?;
    if talk.state.known.get() {
        return Ok(true);
    }
    Err(refusal("Invalid command passed to redis.acl_check_cmd()"))
}

/// A number, or what reads as one.
fn number(lua: &Lua, value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(_) => lua.coerce_number(value.clone()).ok().flatten(),
        _ => None,
    }
}

fn log(lua: &Lua, talk: &Conversation<'_>, arguments: MultiValue) -> mlua::Result<()> {
    if arguments.len() < 2 {
        return Err(refusal("redis.log() requires two arguments or more."));
    }
    let Some(level) = number(lua, &arguments[0]) else {
        return Err(refusal("First argument must be a number (log level)."));
    };
    let level = match level as i64 {
        0 => LogLevel::Debug,
        1 => LogLevel::Verbose,
        2 => LogLevel::Notice,
        3 => LogLevel::Warning,
        _ => return Err(refusal("Invalid debug level.")),
    };
    let mut text = Vec::new();
    for (index, argument) in arguments.iter().enumerate().skip(1) {
        if let Some(word) = lua.coerce_string(argument.clone())? {
            if index > 1 {
                text.push(b' ');
            }
            text.extend_from_slice(&word.as_bytes());
        }
    }
    drop(arguments);
    talk.ask(Step::Log(level, text))
}

fn set_resp(lua: &Lua, talk: &Conversation<'_>, arguments: MultiValue) -> mlua::Result<()> {
    if arguments.len() != 1 {
        return Err(refusal("redis.setresp() requires one argument."));
    }
    talk.state.protocol.set(match number(lua, &arguments[0]).map(f64::trunc) {
        Some(2.0) => Protocol::Resp2,
        Some(3.0) => Protocol::Resp3,
        _ => return Err(refusal("RESP version must be 2 or 3.")),
    });
    Ok(())
}

fn set_repl(lua: &Lua, talk: &Conversation<'_>, arguments: MultiValue) -> mlua::Result<()> {
    if arguments.len() != 1 {
        return Err(refusal("redis.set_repl() requires two arguments."));
    }
    let flags = number(lua, &arguments[0]).unwrap_or_default() as i64;
    if flags & !(REPL_AOF | REPL_REPLICA) != 0 {
        let problem =
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return Err(refusal(problem));
    }
    talk.state.feeds.set(Feeds { log: flags & REPL_AOF != 0, replicas: flags & REPL_REPLICA != 0 });
    Ok(())
}

fn sha1hex(lua: &Lua, arguments: MultiValue) -> mlua::Result<mlua::LuaString> {
    if arguments.len() != 1 {
        return Err(refusal("wrong number of arguments"));
    }
    let text = lua.coerce_string(arguments[0].clone())?;
    let name = match &text {
        Some(text) => ScriptName::of(&text.as_bytes()),
        None => ScriptName::of(b""),
    };
    lua.create_string(name.as_str())
}

fn error_reply(lua: &Lua, arguments: MultiValue) -> mlua::Result<Table> {
    let Some(text) = only_string(&arguments) else {
        return failure::table(lua, b"ERR wrong number or type of arguments", false);
    };
    let bytes = text.as_bytes();
    let line = bytes.strip_prefix(b"-").unwrap_or(&bytes);
    failure::table(lua, &failure::with_code(&[b"-", line].concat()), false)
}

fn status_reply(lua: &Lua, arguments: MultiValue) -> mlua::Result<Table> {
    let Some(text) = only_string(&arguments) else {
        return failure::table(lua, b"ERR wrong number or type of arguments", false);
    };
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set("ok", text)?;
    Ok(table)
}

fn only_string(arguments: &MultiValue) -> Option<&mlua::LuaString> {
    match arguments.front() {
        Some(Value::String(text)) if arguments.len() == 1 => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_as_well() {
        assert_eq!(format!("{:06x}", version_number()).len(), 6);
        assert_eq!(version_number() >> 16, 7);
    }
}
