//! `struct.unpack`: bytes to values.

use super::format::{Formats, Item};
use crate::script::library::STACK_SLOTS;
use crate::script::library::arguments::{Arguments, as_number, to_unsigned_long};
use crate::script::library::errors::{bad_argument, error};
use mlua::{IntoLua, Lua, MultiValue, Value, Variadic};

/// What a function returns, made a value of Lua's only when it is handed over: thousands of
/// strings at a time are more than can be held.
pub(super) enum Unpacked {
    Number(f64),
    Text(Vec<u8>),
}

impl IntoLua for Unpacked {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Self::Number(number) => Ok(Value::Number(number)),
            Self::Text(text) => lua.create_string(text).map(Value::String),
        }
    }
}

/// Reads values from the second argument, and says where it stopped.
pub(super) fn unpack(lua: &Lua, values: MultiValue) -> mlua::Result<Variadic<Unpacked>> {
    let arguments = Arguments::new(lua, values);
    let format = arguments.string(1)?;
    let format = format.as_bytes();
    let data = arguments.string(2)?;
    let data = data.as_bytes();
    let start = if arguments.is_none_or_nil(3) { 1 } else { arguments.integer(3)? };
    if start == 0 {
        return Err(bad_argument(lua, 3, "offset must be 1 or greater"));
    }
    // A start below zero lies beyond every end.
    let mut at = (start as u64).wrapping_sub(1);
    let too_short = || bad_argument(lua, 2, "data string too short");
    let mut formats = Formats::new(lua, &format);
    let mut found = Vec::new();
    while let Some(item) = formats.next(at)? {
        at = at.saturating_add(item.padding);
        let rest = usize::try_from(at).ok().and_then(|at| data.get(at..)).ok_or_else(too_short)?;
        let field = rest.get(..item.size as usize).ok_or_else(too_short)?;
        if arguments.len() + found.len() + 2 > STACK_SLOTS {
            return Err(error(lua, "stack overflow (too many results)"));
        }
        let mut taken = item.size;
        match item.option {
            b'x' => {}
            b'f' => {
                let bytes = ordered::<4>(field, item.little);
                found.push(Unpacked::Number(f32::from_le_bytes(bytes).into()));
            }
            b'd' => {
                let bytes = ordered::<8>(field, item.little);
                found.push(Unpacked::Number(f64::from_le_bytes(bytes)));
            }
            b's' => {
                let end = rest.iter().position(|&byte| byte == 0);
                let end = end.ok_or_else(|| error(lua, "unfinished string in data"))?;
                found.push(Unpacked::Text(rest[..end].to_vec()));
                taken = end as u64 + 1;
            }
            b'c' if item.size == 0 => {
                let size = found.pop().and_then(|previous| length(lua, &previous));
                let size = size.ok_or_else(|| error(lua, "format 'c0' needs a previous size"))?;
                let text = usize::try_from(size).ok().and_then(|size| rest.get(..size));
                found.push(Unpacked::Text(text.ok_or_else(too_short)?.to_vec()));
                taken = size;
            }
            b'c' => found.push(Unpacked::Text(field.to_vec())),
            _ if item.known() => found.push(Unpacked::Number(integer(field, &item))),
            option => return Err(formats.invalid(option)),
        }
        at += taken;
    }
    found.push(Unpacked::Number(at.wrapping_add(1) as i64 as f64));
    Ok(Variadic::from(found))
}

/// The length that the value before a `c0` gives it.
fn length(lua: &Lua, previous: &Unpacked) -> Option<u64> {
    match previous {
        Unpacked::Number(number) => Some(to_unsigned_long(*number)),
        Unpacked::Text(text) => {
            let text = Value::String(lua.create_string(text).ok()?);
            as_number(lua, &text).map(to_unsigned_long)
        }
    }
}

/// A field's bytes, the lowest first. It has as many as its option takes.
fn ordered<const N: usize>(field: &[u8], little: bool) -> [u8; N] {
    let mut bytes: [u8; N] = field.try_into().expect("the field is as long as its option");
    if !little {
        bytes.reverse();
    }
    bytes
}

/// Of an integer that is wider than a word, only the lowest 64 bits count.
fn integer(field: &[u8], item: &Item) -> f64 {
    let lowest = field.len().min(8);
    let mut word = [0; 8];
    for (at, byte) in word[..lowest].iter_mut().enumerate() {
        *byte = if item.little { field[at] } else { field[field.len() - 1 - at] };
    }
    let word = u64::from_le_bytes(word);
    if item.option.is_ascii_uppercase() {
        return word as f64;
    }
    // The processor takes a distance modulo 64, so the sign of an integer that is wider than a word
    // is looked for in odd places: by the original, and therefore here.
    let above = u64::MAX.wrapping_shl((8 * field.len() as u32).wrapping_sub(1));
    (if word & above == 0 { word } else { word | above }) as i64 as f64
}
