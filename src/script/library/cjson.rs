//! `cjson`: values to JSON and back.
//!
//! What a script sets stays set for every script that follows in the same interpreter; `new` gives
//! a set of functions with settings of its own.

mod decode;
mod encode;
mod lexer;

use super::arguments::Arguments;
use super::errors::bad_argument;
use mlua::{Function, LightUserData, Lua, MultiValue, Table, Value, Variadic};
use std::cell::Cell;
use std::ptr;
use std::rc::Rc;

/// What is written for a number that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InvalidNumbers {
    Refused,
    Written,
    Null,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    /// A sparse array becomes an object.
    convert_sparse: bool,
    /// An array is sparse if its largest index is above this many times its elements; 0: never.
    sparse_ratio: i32,
    /// Up to this index no array is sparse.
    sparse_safe: i32,
    encode_depth: i32,
    decode_depth: i32,
    digits: i32,
    /// Kept to be told: there is no buffer that would be kept.
    keep_buffer: bool,
    encode_invalid: InvalidNumbers,
    decode_invalid: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            convert_sparse: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            digits: 14,
            keep_buffer: true,
            encode_invalid: InvalidNumbers::Refused,
            decode_invalid: true,
        }
    }
}

/// How JSON's `null` looks to a script, since a table cannot hold `nil`.
const NULL: Value = Value::LightUserData(LightUserData(ptr::null_mut()));

/// The table of its functions, with settings of their own.
pub(in crate::script) fn install(lua: &Lua) -> mlua::Result<Table> {
    functions(lua, lua.globals().raw_get("next")?)
}

/// The functions, which walk objects by Lua's own `next`.
fn functions(lua: &Lua, next: Function) -> mlua::Result<Table> {
    let settings = Rc::new(Cell::new(Settings::default()));
    let table = lua.create_table()?;
    let own = settings.clone();
    let walk = next.clone();
    table.raw_set(
        "encode",
        lua.create_function(move |lua, values: MultiValue| {
            encode::encode(lua, &own.get(), &walk, values)
        })?,
    )?;
    let own = settings.clone();
    table.raw_set(
        "decode",
        lua.create_function(move |lua, values: MultiValue| {
            decode::decode(lua, &own.get(), values)
        })?,
    )?;
    table.raw_set("encode_sparse_array", setting(lua, &settings, 3, sparse_array)?)?;
    table.raw_set("encode_max_depth", setting(lua, &settings, 1, encode_max_depth)?)?;
    table.raw_set("decode_max_depth", setting(lua, &settings, 1, decode_max_depth)?)?;
    table.raw_set("encode_number_precision", setting(lua, &settings, 1, number_precision)?)?;
    table.raw_set("encode_keep_buffer", setting(lua, &settings, 1, keep_buffer)?)?;
    table.raw_set("encode_invalid_numbers", setting(lua, &settings, 1, encode_invalid)?)?;
    table.raw_set("decode_invalid_numbers", setting(lua, &settings, 1, decode_invalid)?)?;
    table.raw_set(
        "new",
        lua.create_function(move |lua, _: MultiValue| functions(lua, next.clone()))?,
    )?;
    table.raw_set("null", NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

/// Changes what arguments name, and tells what holds then.
type Setting = fn(&mut Settings, &Arguments) -> mlua::Result<Vec<Value>>;

/// A function that changes settings. What arguments in front changed stays if a later one is
/// refused.
fn setting(
    lua: &Lua,
    settings: &Rc<Cell<Settings>>,
    most: usize,
    change: Setting,
) -> mlua::Result<Function> {
    let settings = settings.clone();
    lua.create_function(move |lua, values: MultiValue| {
        let arguments = Arguments::new(lua, values);
        if arguments.len() > most {
            return Err(bad_argument(lua, most + 1, "found too many arguments"));
        }
        let mut changed = settings.get();
        let told = change(&mut changed, &arguments);
        settings.set(changed);
        told.map(Variadic::from)
    })
}

/// Takes an integer within limits if it is given.
fn integer(
    to: &mut i32,
    arguments: &Arguments,
    number: usize,
    least: i32,
    most: i32,
) -> mlua::Result<Value> {
    if !arguments.is_none_or_nil(number) {
        let given = arguments.integer(number)?;
        let fits = i32::try_from(given).ok().filter(|given| (least..=most).contains(given));
        *to = fits.ok_or_else(|| {
            let problem = format!("expected integer between {least} and {most}");
            // The original names the first argument, whichever it was.
            bad_argument(arguments.lua, 1, problem)
        })?;
    }
    Ok(Value::Number(f64::from(*to)))
}

/// What an option's words mean, `true` and `false` included.
fn word<T: Copy>(
    to: &mut T,
    arguments: &Arguments,
    words: &[(&str, T)],
    truth: fn(bool) -> T,
) -> mlua::Result<()> {
    match arguments.get(1) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(given)) => *to = truth(*given),
        Some(_) => {
            let given = arguments.string(1)?;
            let given = given.as_bytes();
            let known = words.iter().find(|(word, _)| word.as_bytes() == &given[..]);
            let Some((_, meaning)) = known else {
                let mut problem = b"invalid option '".to_vec();
                problem.extend_from_slice(&given);
                problem.push(b'\'');
                return Err(bad_argument(arguments.lua, 1, problem));
            };
            *to = *meaning;
        }
    }
    Ok(())
}

fn switch(to: &mut bool, arguments: &Arguments) -> mlua::Result<Value> {
    word(to, arguments, &[("on", true), ("off", false)], |given| given)?;
    Ok(Value::Boolean(*to))
}

fn sparse_array(settings: &mut Settings, arguments: &Arguments) -> mlua::Result<Vec<Value>> {
    Ok(vec![
        switch(&mut settings.convert_sparse, arguments)?,
        integer(&mut settings.sparse_ratio, arguments, 2, 0, i32::MAX)?,
        integer(&mut settings.sparse_safe, arguments, 3, 0, i32::MAX)?,
    ])
}

fn encode_max_depth(settings: &mut Settings, arguments: &Arguments) -> mlua::Result<Vec<Value>> {
    Ok(vec![integer(&mut settings.encode_depth, arguments, 1, 1, i32::MAX)?])
}

fn decode_max_depth(settings: &mut Settings, arguments: &Arguments) -> mlua::Result<Vec<Value>> {
    Ok(vec![integer(&mut settings.decode_depth, arguments, 1, 1, i32::MAX)?])
}

fn number_precision(settings: &mut Settings, arguments: &Arguments) -> mlua::Result<Vec<Value>> {
    Ok(vec![integer(&mut settings.digits, arguments, 1, 1, 14)?])
}

fn keep_buffer(settings: &mut Settings, arguments: &Arguments) -> mlua::Result<Vec<Value>> {
    Ok(vec![switch(&mut settings.keep_buffer, arguments)?])
}

fn decode_invalid(settings: &mut Settings, arguments: &Arguments) -> mlua::Result<Vec<Value>> {
    Ok(vec![switch(&mut settings.decode_invalid, arguments)?])
}

fn encode_invalid(settings: &mut Settings, arguments: &Arguments) -> mlua::Result<Vec<Value>> {
    use InvalidNumbers::{Null, Refused, Written};
    let words = [("on", Written), ("off", Refused), ("null", Null)];
    let truth = |given| if given { Written } else { Refused };
    word(&mut settings.encode_invalid, arguments, &words, truth)?;
    Ok(vec![match settings.encode_invalid {
        Written => Value::Boolean(true),
        Refused => Value::Boolean(false),
        Null => Value::String(arguments.lua.create_string("null")?),
    }])
}
