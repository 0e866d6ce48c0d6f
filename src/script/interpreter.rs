//! The interpreter: scripts by their names, and the stack that they run on.
//!
//! Lua runs on a stack of its own, which lives as long as the interpreter does. So a script can be
//! left alone wherever it asks for something, inside of `pcall`, of what `table.sort` calls, of
//! metamethods: its stack is left as it is, and gone on with when there is an answer.

use super::conversation::{Conversation, Scheduled, State, Told};
use super::environment::Environment;
use super::reply::Writer;
use super::{Answer, Declared, Done, Failure, Run, ScriptName, Step, failure, shebang};
use crate::resp::Protocol;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use mlua::{Function, Lua, LuaOptions, LuaString, StdLib, Table, Value};
use std::cell::RefCell;
use std::rc::Rc;

/// The stack that Lua runs on, in bytes of address space: what is not used takes no memory.
const STACK_BYTES: usize = 8 * 1024 * 1024;
/// What all scripts' data may take together, in bytes. A script that wants more ends with an error.
pub(super) const MEMORY_MAX: usize = 1024 * 1024 * 1024;
/// The buffer of a call's reply is kept for the next one up to this length, in bytes.
const REPLY_KEPT_BYTES: usize = 64 * 1024;

/// Runs scripts, one at a time, step by step.
pub(crate) struct Interpreter {
    lua: Lua,
    state: Rc<State>,
    coroutine: Coroutine<Told, Step, ()>,
    globals: Table,
    compile: Function,
    /// What was compiled, by name: in Lua, as only so many of its values can be held from outside.
    scripts: Table,
}

impl Interpreter {
    /// An interpreter that knows no script.
    pub(crate) fn new() -> Self {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))
            .expect("no unsafe library is asked for");
        let state = State::new();
        let ready: Rc<RefCell<Option<(Table, Function)>>> = Rc::default();
        let stack = DefaultStack::new(STACK_BYTES).expect("there is address space for a stack");
        let body = {
            let (lua, state, ready) = (lua.clone(), Rc::clone(&state), Rc::clone(&ready));
            move |yielder: &corosensei::Yielder<Told, Step>, _: Told| {
                let talk = Conversation { yielder, state };
                lua.scope(|scope| {
                    let environment = Environment::create(&lua, scope, &talk)?;
                    let handles = (environment.globals.clone(), environment.compile.clone());
                    *ready.borrow_mut() = Some(handles);
                    let mut step = Step::Pause;
                    while yielder.suspend(step) != Told::Close {
                        step = Step::Done(run(&environment, &talk.state));
                        settle(&lua, &environment, &talk.state)?;
                    }
                    lua.remove_global_hook();
                    Ok(())
                })
                .expect("the environment's own code is sound");
            }
        };
        let mut coroutine = Coroutine::with_stack(stack, body);
        coroutine.resume(Told::GoOn);
        let (globals, compile) = ready.take().expect("the environment is there");
        lua.set_memory_limit(MEMORY_MAX).expect("the memory is counted");
        let scripts = lua.create_table().expect("there is memory for an empty table");
        Self { lua, state, coroutine, globals, compile, scripts }
    }

    /// Compiles a script and keeps it.
    ///
    /// # Errors
    /// The whole error line as Redis words it, code first, without mark and line end.
    pub(crate) fn load(&mut self, name: ScriptName, body: &[u8]) -> Result<Declared, Vec<u8>> {
        let (declared, start) = shebang::read(body)?;
        let text = |error: mlua::Error| failure::text_of(&error).into_bytes();
        let compiled: Result<(Value, Option<LuaString>), _> = self
            .lua
            .create_string(&body[start..])
            .and_then(|body| self.compile.call((body, "@user_script")));
        let problem = match compiled {
            Ok((Value::Function(script), _)) => {
                let kept = self.scripts.raw_set(name.as_str(), script);
                return kept.map(|()| declared).map_err(|error| memory_ended(&error));
            }
            Ok((_, problem)) => problem.map_or_else(Vec::new, |text| text.as_bytes().to_vec()),
            Err(error) => text(error),
        };
        Err([b"ERR Error compiling script (new function): ", &problem[..]].concat())
    }

    /// Begins a run of a script that was loaded; [`Answer::Go`] is its first answer.
    pub(crate) fn begin(&mut self, run: &Run<'_>) {
        self.state.reset();
        self.state.name.set(Some(run.name));
        let prepared =
            self.set_list("KEYS", run.keys).and_then(|()| self.set_list("ARGV", run.args));
        let script = prepared.and_then(|()| self.scripts.raw_get::<Function>(run.name.as_str()));
        let script = script.map_err(|error| memory_ended(&error));
        *self.state.script.borrow_mut() = Some(Scheduled { run: script, protocol: run.protocol });
    }

    fn set_list(&self, name: &str, words: &[&[u8]]) -> mlua::Result<()> {
        let list = self.lua.create_table_with_capacity(words.len(), 0)?;
        for (index, word) in words.iter().enumerate() {
            list.raw_set(index + 1, self.lua.create_string(word)?)?;
        }
        self.globals.raw_set(name, list)
    }

    /// Goes on with the run that began, up to the next thing that it wants.
    ///
    /// # Panics
    /// When no run began, or it has ended.
    pub(crate) fn step(&mut self, answer: Answer<'_>) -> Step {
        let told = match answer {
            Answer::Go => Told::GoOn,
            Answer::Reply(bytes) => {
                let mut reply = self.state.reply.borrow_mut();
                reply.clear();
                reply.shrink_to(REPLY_KEPT_BYTES);
                reply.extend_from_slice(bytes);
                Told::GoOn
            }
            Answer::Known(known) => {
                self.state.known.set(known);
                Told::GoOn
            }
            Answer::Kill => {
                self.state.killed.set(true);
                Told::Kill
            }
        };
        self.resume(told).expect("only dropping the interpreter ends it")
    }

    /// Goes on on the interpreter's stack: to its next step, or its end.
    fn resume(&mut self, told: Told) -> Option<Step> {
        self.state.inside.set(true);
        let result = self.coroutine.resume(told);
        self.state.inside.set(false);
        match result {
            CoroutineResult::Yield(step) => Some(step),
            CoroutineResult::Return(()) => None,
        }
    }

    /// Frees what no script can reach.
    #[cfg(test)]
    pub(super) fn collect(&self) {
        self.lua.gc_collect().expect("nothing runs when a table is freed");
    }

    /// What Lua's heap takes, in bytes.
    pub(crate) fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }
}

impl Drop for Interpreter {
    /// A script that runs ends here: its stack holds what must be let go of.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        while self.state.name.get().is_some() {
            self.resume(Told::Kill);
        }
        self.resume(Told::Close);
    }
}

/// Makes ready for the next script what the last one may have left.
fn settle(lua: &Lua, environment: &Environment, state: &State) -> mlua::Result<()> {
    if lua.used_memory() > MEMORY_MAX / 2 {
        lua.gc_collect()?;
    }
    if state.killed.get() || state.hurried.replace(false) {
        environment.watch.reset(lua)?;
    }
    Ok(())
}

/// Runs the script whose turn it is.
fn run(environment: &Environment, state: &State) -> Done {
    let scheduled = state.script.borrow_mut().take().expect("a script was scheduled");
    let done = match scheduled.run {
        Ok(script) => {
            attempt(environment, state, script, scheduled.protocol).unwrap_or_else(|error| {
                let line = state.uncaught.take().map(|(line, _)| line);
                failed(line.unwrap_or_else(|| memory_ended(&error)), Failure::OfScript)
            })
        }
        Err(line) => failed(line, Failure::OfScript),
    };
    state.name.set(None);
    done
}

fn attempt(
    environment: &Environment,
    state: &State,
    script: Function,
    protocol: Protocol,
) -> mlua::Result<Done> {
    let (ok, value): (bool, Value) = environment.run.call((script, &environment.uncaught))?;
    if ok {
        let mut reply = Vec::new();
        let mut writer = Writer {
            out: &mut reply,
            protocol,
            script: state.protocol.get(),
            next: &environment.next,
        };
        let failure = writer.write(value)?;
        return Ok(Done { reply, failure });
    }
    if let Some((line, of_call)) = state.uncaught.take() {
        let failure = if of_call { Failure::OfCall } else { Failure::OfScript };
        return Ok(failed(line, failure));
    }
    // Where memory or the stack ended there was no more room to look at the error.
    let mut line = b"ERR Error running script, ".to_vec();
    match value {
        Value::String(text) => line.extend_from_slice(&text.as_bytes()),
        Value::Error(error) => line.extend_from_slice(failure::text_of(&error).as_bytes()),
        _ => line.extend_from_slice(b"execution failure"),
    }
    Ok(failed(line, Failure::OfScript))
}

/// The line of an error of the machine itself.
fn memory_ended(error: &mlua::Error) -> Vec<u8> {
    format!("ERR Error running script, {}", failure::text_of(error)).into_bytes()
}

fn failed(line: Vec<u8>, failure: Failure) -> Done {
    let mut reply = Vec::with_capacity(line.len() + 3);
    reply.push(b'-');
    super::reply::extend_line(&mut reply, &line);
    reply.extend_from_slice(b"\r\n");
    Done { reply, failure: Some(failure) }
}
