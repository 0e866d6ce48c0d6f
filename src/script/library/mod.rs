//! The libraries that scripts have besides Lua's own.
//!
//! They do what those of Redis 7.0 do, to the byte, the words of their errors included: scripts
//! keep what they make and compare what they catch. Each is a table of functions. Nothing in them
//! asks for memory that a script's argument announces without having brought it, and nothing
//! recurses as deep as a script's data.

mod arguments;
mod bit;
mod cjson;
mod cmsgpack;
mod errors;
mod layout;
mod number;

use mlua::{Lua, Table};

pub(in crate::script) use arguments::Arguments;
#[cfg(test)]
use errors::catch_as_text;
pub(in crate::script) use errors::{bad_argument, error, raised};
pub(in crate::script) use number::write_general;

/// How many values a function can have on its stack at once: arguments, results, and tables that it
/// is inside of. It is 8000 in Lua 5.1, of which the call itself takes some.
const STACK_SLOTS: usize = 7990;
/// How many tables and keys a function of ours holds on to at once: a script that allows itself
/// more depth than this is told that it is too deep, as it would be at 8000.
const SLOTS_HELD: usize = 7000;
/// The longest text or data that is made, in bytes: as long as a string of Redis can be. Tables that
/// hold one another many times make as much as they are let.
const OUTPUT_MAX: usize = 512 * 1024 * 1024;

/// Every library, by the name that it has among a script's globals.
///
/// What they raise is no string for Lua until it is caught: see [`raised`].
pub(super) fn all(lua: &Lua) -> mlua::Result<Vec<(&'static str, Table)>> {
    Ok(vec![
        ("bit", bit::install(lua)?),
        ("cjson", cjson::install(lua)?),
        ("cmsgpack", cmsgpack::install(lua)?),
        ("struct", layout::install(lua)?),
    ])
}

#[cfg(test)]
mod tests;
