//! `bit`: operations on 32 bits, with the results as signed numbers.

use super::arguments::Arguments;
use mlua::{Function, Lua, MultiValue, Table};

/// The table of its functions.
pub(in crate::script) fn install(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("tobit", one(lua, |bits| bits)?)?;
    table.raw_set("bnot", one(lua, |bits| !bits)?)?;
    table.raw_set("bswap", one(lua, u32::swap_bytes)?)?;
    table.raw_set("band", fold(lua, |a, b| a & b)?)?;
    table.raw_set("bor", fold(lua, |a, b| a | b)?)?;
    table.raw_set("bxor", fold(lua, |a, b| a ^ b)?)?;
    // Of a distance, only the lowest five bits count.
    table.raw_set("lshift", shift(lua, u32::wrapping_shl)?)?;
    table.raw_set("rshift", shift(lua, u32::wrapping_shr)?)?;
    table.raw_set("arshift", shift(lua, |bits, by| (bits as i32).wrapping_shr(by) as u32)?)?;
    table.raw_set("rol", shift(lua, |bits, by| bits.rotate_left(by & 31))?)?;
    table.raw_set("ror", shift(lua, |bits, by| bits.rotate_right(by & 31))?)?;
    table.raw_set("tohex", lua.create_function(to_hex)?)?;
    Ok(table)
}

/// The lowest 32 bits of a number, rounded to the nearest integer, ties to even: adding 1.5 times
/// 2^52 leaves them at the end of the mantissa.
fn bits(number: f64) -> u32 {
    (number + 6_755_399_441_055_744.0).to_bits() as u32
}

fn one(lua: &Lua, operation: fn(u32) -> u32) -> mlua::Result<Function> {
    lua.create_function(move |lua, values: MultiValue| {
        let arguments = Arguments::new(lua, values);
        Ok(operation(bits(arguments.number(1)?)) as i32)
    })
}

fn fold(lua: &Lua, operation: fn(u32, u32) -> u32) -> mlua::Result<Function> {
    lua.create_function(move |lua, values: MultiValue| {
        let arguments = Arguments::new(lua, values);
        let mut result = bits(arguments.number(1)?);
        for number in 2..=arguments.len() {
            result = operation(result, bits(arguments.number(number)?));
        }
        Ok(result as i32)
    })
}

fn shift(lua: &Lua, operation: fn(u32, u32) -> u32) -> mlua::Result<Function> {
    lua.create_function(move |lua, values: MultiValue| {
        let arguments = Arguments::new(lua, values);
        let (number, by) = (arguments.number(1)?, arguments.number(2)?);
        Ok(operation(bits(number), bits(by)) as i32)
    })
}

/// As many of the last hexadecimal digits as asked for, at most eight; capital ones if asked for
/// by a number below zero.
fn to_hex(lua: &Lua, values: MultiValue) -> mlua::Result<mlua::LuaString> {
    let arguments = Arguments::new(lua, values);
    let number = bits(arguments.number(1)?);
    let asked = if arguments.len() < 2 { 8 } else { bits(arguments.number(2)?) as i32 };
    let text = if asked < 0 { format!("{number:08X}") } else { format!("{number:08x}") };
    let digits = asked.unsigned_abs().min(8) as usize;
    lua.create_string(&text[8 - digits..])
}
