//! `struct.pack`: values to bytes.

use super::format::Formats;
use crate::script::library::arguments::{Arguments, to_unsigned_long};
use crate::script::library::errors::bad_argument;
use mlua::{Lua, LuaString, MultiValue, Value};

/// Lays out the arguments behind the format.
pub(super) fn pack(lua: &Lua, mut values: MultiValue) -> mlua::Result<LuaString> {
    if !values.is_empty() {
        // The first argument that is missing counts as `nil`.
        values.push_back(Value::Nil);
    }
    let arguments = Arguments::new(lua, values);
    let format = arguments.string(1)?;
    let format = format.as_bytes();
    let mut formats = Formats::new(lua, &format);
    let mut number = 2;
    let mut out = Vec::new();
    while let Some(item) = formats.next(out.len() as u64)? {
        // At most 31 bytes, so small is the largest integer.
        out.resize(out.len() + item.padding as usize, 0);
        let size = item.size as usize;
        match item.option {
            b'x' => {
                out.push(0);
                continue;
            }
            b'f' => {
                let bytes = (arguments.number(number)? as f32).to_le_bytes();
                extend(&mut out, bytes.into_iter(), item.little);
            }
            b'd' => {
                let bytes = arguments.number(number)?.to_le_bytes();
                extend(&mut out, bytes.into_iter(), item.little);
            }
            b's' | b'c' => {
                let text = arguments.string(number)?;
                let text = text.as_bytes();
                let taken = if item.option == b's' || size == 0 {
                    &text[..]
                } else {
                    let short = || bad_argument(lua, number + 1, "string too short");
                    text.get(..size).ok_or_else(short)?
                };
                out.extend_from_slice(taken);
                if item.option == b's' {
                    out.push(0);
                }
            }
            _ if item.known() => {
                // Of what is wider than a word, the rest is zero whatever the sign.
                let word = to_unsigned_long(arguments.number(number)?).to_le_bytes();
                let bytes = (0..size).map(|at| word.get(at).copied().unwrap_or(0));
                extend(&mut out, bytes, item.little);
            }
            option => return Err(formats.invalid(option)),
        }
        number += 1;
    }
    lua.create_string(out)
}

/// Bytes whose lowest comes first, in the order wanted.
fn extend(out: &mut Vec<u8>, bytes: impl DoubleEndedIterator<Item = u8>, little: bool) {
    if little {
        out.extend(bytes);
    } else {
        out.extend(bytes.rev());
    }
}
