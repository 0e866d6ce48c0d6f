//! What scripts find around them: the globals of Redis 7.0, which nobody changes.

use super::conversation::{Conversation, State};
use super::failure::{self, Caught, KILLED, Raised};
use super::random::Random;
use super::{Step, library, redis_library, reply};
use mlua::debug::Debug;
use mlua::{Function, HookTriggers, Lua, MultiValue, Scope, Table, Value, VmState};
use std::cell::RefCell;
use std::rc::Rc;

/// How many instructions a script runs between two looks at the clock.
const PAUSE_INSTRUCTIONS: u32 = 100_000;
/// How many parts of a pattern may match more than once: each takes some of the stack.
const PATTERN_PARTS_MAX: usize = 8000;

/// What running scripts takes, besides what they find.
pub(super) struct Environment {
    /// The globals themselves, `KEYS` and `ARGV` among them.
    pub(super) globals: Table,
    /// Runs a function and hands its errors to another one.
    pub(super) run: Function,
    /// Makes a text a function.
    pub(super) compile: Function,
    /// Lua's `next`.
    pub(super) next: Function,
    /// What hears of errors that nobody caught.
    pub(super) uncaught: Function,
    /// What looks after scripts as they run.
    pub(super) watch: Watch,
}

impl Environment {
    pub(super) fn create<'scope, 'env: 'scope>(
        lua: &Lua,
        scope: &'scope Scope<'scope, 'env>,
        talk: &'env Conversation<'env>,
    ) -> mlua::Result<Self> {
        let caught = lua.create_function(|lua, value: Value| {
            Ok(match failure::caught(lua, value)? {
                Caught::Value(value) => (value, false),
                Caught::Killed => (Value::Nil, true),
            })
        })?;
        let pause = scope.create_function(move |_, ()| talk.ask(Step::Pause))?;
        let redis = redis_library::create(lua, scope, talk)?;
        let libraries = lua.create_table()?;
        for (name, table) in library::all(lua)? {
            libraries.raw_set(name, table)?;
        }
        let (random, seed) = random(lua)?;
        let prelude = lua.load(include_str!("prelude.lua")).set_name("=(prelude)");
        let (shown, globals, run, compile, next): (Table, Table, Function, Function, Function) =
            prelude.into_function()?.call((
                caught,
                &pause,
                redis,
                libraries,
                random,
                seed,
                PATTERN_PARTS_MAX,
            ))?;
        lua.set_globals(shown)?;
        let watch = Watch { pause, state: Rc::clone(&talk.state) };
        watch.every(lua, PAUSE_INSTRUCTIONS)?;
        let state = Rc::clone(&talk.state);
        let uncaught = lua.create_function(move |lua, value| uncaught(lua, &state, value))?;
        Ok(Self { globals, run, compile, next, uncaught, watch })
    }
}

/// What is called as scripts run, whatever they do.
#[derive(Clone)]
pub(super) struct Watch {
    pause: Function,
    state: Rc<State>,
}

impl Watch {
    /// Has it called every so many instructions of the coroutine that runs, and of those that it
    /// makes.
    fn every(&self, lua: &Lua, instructions: u32) -> mlua::Result<()> {
        let watch = self.clone();
        let triggers = HookTriggers::new().every_nth_instruction(instructions);
        lua.set_global_hook(triggers, move |lua, _| watch.look(lua).map(|()| VmState::Continue))
    }

    /// As it was before a script was killed.
    pub(super) fn reset(&self, lua: &Lua) -> mlua::Result<()> {
        self.every(lua, PAUSE_INSTRUCTIONS)
    }

    /// Once a script is to end, no instruction of it runs: what it catches goes on as an error.
    fn look(&self, lua: &Lua) -> mlua::Result<()> {
        let killed = || self.state.inside.get() && self.state.killed.get();
        if killed() {
            self.every(lua, 1)?;
            return Err(Raised::Killed.into());
        }
        match self.pause.call::<()>(()) {
            Ok(()) if self.state.hurried.replace(false) => self.every(lua, PAUSE_INSTRUCTIONS),
            Ok(()) => Ok(()),
            // Either it is to end, or it is so deep in calls that there is no room for another:
            // then it fails one level after the other until there is.
            Err(error) => {
                self.state.hurried.set(true);
                self.every(lua, 1)?;
                Err(if killed() { Raised::Killed.into() } else { error })
            }
        }
    }
}

/// `math.random` and `math.randomseed`.
fn random(lua: &Lua) -> mlua::Result<(Function, Function)> {
    let generator = Rc::new(RefCell::new(Random::new()));
    let seeded = Rc::clone(&generator);
    let random = lua.create_function(move |lua, values: MultiValue| {
        let fraction = generator.borrow_mut().next_fraction();
        let arguments = library::Arguments::new(lua, values);
        let (low, high) = match arguments.len() {
            0 => return Ok(fraction),
            1 => (1, arguments.integer(1)? as i32),
            2 => (arguments.integer(1)? as i32, arguments.integer(2)? as i32),
            _ => return Err(library::error(lua, "wrong number of arguments")),
        };
        if low > high {
            return Err(library::bad_argument(lua, arguments.len(), "interval is empty"));
        }
        let span = high.wrapping_sub(low).wrapping_add(1);
        Ok((fraction * f64::from(span)).floor() + f64::from(low))
    })?;
    let seed = lua.create_function(move |lua, values: MultiValue| {
        let arguments = library::Arguments::new(lua, values);
        seeded.borrow_mut().seed(arguments.integer(1)? as i32);
        Ok(())
    })?;
    Ok((random, seed))
}

/// Keeps the whole line of an error that nobody caught, without mark and end: text, script and
/// place. It is called where the error was raised, with the stack as it was.
fn uncaught(lua: &Lua, state: &State, value: Value) -> mlua::Result<()> {
    let place = place(lua);
    let mut line = Vec::new();
    let mut of_call = false;
    match failure::caught(lua, value)? {
        Caught::Killed => line.extend_from_slice(KILLED.as_bytes()),
        Caught::Value(Value::Table(table)) => {
            of_call = reply::whose(&table)? == super::Failure::OfCall;
            match lua.coerce_string(table.raw_get("err")?)? {
                Some(text) => reply::extend_line(&mut line, &text.as_bytes()),
                None => line.extend_from_slice(b"ERR unknown error"),
            }
        }
        Caught::Value(Value::String(text)) => {
            line.extend_from_slice(b"ERR ");
            let text = text.as_bytes();
            let bare = without_our_place(&text);
            if let Some(place) = place.as_ref().filter(|_| bare.len() < text.len()) {
                place.write_in_front(&mut line);
            }
            reply::extend_line(&mut line, bare);
        }
        Caught::Value(value) => {
            line.extend_from_slice(b"ERR ");
            reply::extend_line(&mut line, value.to_string()?.as_bytes());
        }
    }
    if let (Some(name), Some(Place { source, line: at })) = (state.name.get(), place) {
        line.extend_from_slice(format!(" script: {name}, on {source}:{at}.").as_bytes());
    }
    *state.uncaught.borrow_mut() = Some((line, of_call));
    Ok(())
}

/// A text without the place in the prelude that is in front of what Lua's own functions raise
/// when they are called from there.
fn without_our_place(text: &[u8]) -> &[u8] {
    let Some(rest) = text.strip_prefix(b"(prelude):") else { return text };
    memchr::memchr(b' ', rest).map_or(text, |space| &rest[space + 1..])
}

/// A line of a script: -1 where there is none.
struct Place {
    source: String,
    line: isize,
}

impl Place {
    /// `user_script:1: `, as errors begin, if the line is known.
    fn write_in_front(&self, out: &mut Vec<u8>) {
        if self.line >= 0 {
            let name = self.source.trim_start_matches(['@', '=']);
            out.extend_from_slice(format!("{name}:{}: ", self.line).as_bytes());
        }
    }
}

/// Where an error was raised: the function that did, or the one that called it from Lua.
fn place(lua: &Lua) -> Option<Place> {
    // Below are what hears of the error, and the `xpcall` that hands it out.
    let mut level = 2;
    if lua.inspect_stack(level, |debug| debug.source().what == "C")? {
        level += 1;
    }
    let first = level;
    while lua.inspect_stack(level, is_ours)? {
        level += 1;
    }
    lua.inspect_stack(level, |debug| {
        let source = debug.source();
        if level > first && source.what == "C" {
            // A function of ours stands where the script's own did, which called it last of all.
            return Place { source: "@user_script".to_owned(), line: -1 };
        }
        let line = debug.current_line().map_or(-1, |line| line as isize);
        Place { source: source.source.unwrap_or_default().into_owned(), line }
    })
}

/// Whether a function is one of the prelude, or stands for calls that left nothing behind.
fn is_ours(debug: &Debug<'_>) -> bool {
    let source = debug.source();
    source.what == "tail" || source.source.as_deref() == Some("=(prelude)")
}
