//! `struct`: numbers and strings laid out in bytes as a format says, as a C compiler on x86-64
//! would lay out a structure.

mod format;
mod pack;
mod unpack;

use super::arguments::Arguments;
use super::errors::bad_argument;
use format::Formats;
use mlua::{Lua, MultiValue, Table};

/// The table of its functions.
pub(in crate::script) fn install(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", lua.create_function(pack::pack)?)?;
    table.raw_set("unpack", lua.create_function(unpack::unpack)?)?;
    table.raw_set("size", lua.create_function(size)?)?;
    Ok(table)
}

/// How many bytes a format takes that has a length of its own.
fn size(lua: &Lua, values: MultiValue) -> mlua::Result<f64> {
    let arguments = Arguments::new(lua, values);
    let format = arguments.string(1)?;
    let format = format.as_bytes();
    let mut formats = Formats::new(lua, &format);
    // An option takes at most 2^31 bytes and at least one of the format: the sum cannot overflow.
    let mut total = 0u64;
    while let Some(item) = formats.next(total)? {
        let endless = match item.option {
            b's' => Some("option 's' has no fixed size"),
            b'c' if item.size == 0 => Some("option 'c0' has no fixed size"),
            // What packing refuses, measuring passes over if it is a letter or a digit.
            option if !item.known() && !option.is_ascii_alphanumeric() => {
                return Err(formats.invalid(option));
            }
            _ => None,
        };
        if let Some(problem) = endless {
            return Err(bad_argument(lua, 1, problem));
        }
        total += item.padding + item.size;
    }
    Ok(total as f64)
}
