//! `cmsgpack`: values to MessagePack and back.

mod pack;
mod unpack;

use super::arguments::Arguments;
use super::errors::{bad_argument, error};
use super::{OUTPUT_MAX, STACK_SLOTS};
use mlua::{Lua, LuaString, MultiValue, Table, Variadic};
use unpack::{Returned, Span};

/// The table of its functions.
pub(in crate::script) fn install(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", lua.create_function(pack)?)?;
    table.raw_set("unpack", lua.create_function(unpack)?)?;
    table.raw_set("unpack_one", lua.create_function(unpack_one)?)?;
    table.raw_set("unpack_limit", lua.create_function(unpack_limit)?)?;
    table.raw_set("_NAME", "cmsgpack")?;
    // What scripts ask to know what to expect.
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    table.raw_set("_COPYRIGHT", "Part of Keyway, under the Apache License 2.0")?;
    Ok(table)
}

/// All arguments, one behind the other.
fn pack(lua: &Lua, values: MultiValue) -> mlua::Result<LuaString> {
    if values.is_empty() {
        return Err(bad_argument(lua, 0, "MessagePack pack needs input."));
    }
    if 2 * values.len() > 8000 {
        return Err(bad_argument(lua, 0, "Too many arguments for MessagePack pack."));
    }
    let mut out = Vec::new();
    for value in &values {
        pack::value(&mut out, value, 0)?;
        if out.len() > OUTPUT_MAX {
            return Err(error(lua, "The packed data are too long."));
        }
    }
    lua.create_string(out)
}

/// Every value in a string.
fn unpack(lua: &Lua, values: MultiValue) -> mlua::Result<Variadic<Returned>> {
    let arguments = Arguments::new(lua, values);
    unpack::values(&arguments, Span { limit: None, start: 0, told: false })
}

/// One value, behind where the next one starts.
fn unpack_one(lua: &Lua, values: MultiValue) -> mlua::Result<Variadic<Returned>> {
    let arguments = Arguments::new(lua, values);
    let start = if arguments.is_none_or_nil(2) { 0 } else { arguments.integer(2)? };
    // It looks at the string only behind the numbers.
    unpack::values(&arguments, Span { limit: Some(1), start, told: true })
}

/// As many values as asked for, behind where the next one starts.
fn unpack_limit(lua: &Lua, values: MultiValue) -> mlua::Result<Variadic<Returned>> {
    let arguments = Arguments::new(lua, values);
    let limit = arguments.integer(2)?;
    let start = if arguments.is_none_or_nil(3) { 0 } else { arguments.integer(3)? };
    // Without a limit and from the beginning, it is as if all had been asked for.
    let told = limit != 0 || start != 0;
    unpack::values(&arguments, Span { limit: told.then_some(limit), start, told })
}
