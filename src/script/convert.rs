//! Replies → Lua's values, straight from the bytes.

use super::failure;
use mlua::{Lua, Table, Value};

/// How deep a command's reply may nest: none of a node's does as deep.
const DEPTH_MAX: usize = 128;

/// The value of the one reply in `bytes`, as Redis 7.0 makes it. An error is a table with `err`.
///
/// # Errors
/// Lua's own, when memory ends, and one for bytes that are no reply.
pub(super) fn to_lua(lua: &Lua, bytes: &[u8]) -> mlua::Result<Value> {
    Reader { lua, bytes, at: 0 }.value(0)
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        if depth > DEPTH_MAX {
            return Err(failure::refusal("reached lua stack limit"));
        }
        let line = self.line()?;
        let Some((&mark, rest)) = line.split_first() else { return Err(malformed()) };
        Ok(match mark {
            b':' => Value::Number(integer(rest)? as f64),
            b'$' => match length(rest)? {
                Some(len) => Value::String(self.lua.create_string(self.take(len)?)?),
                None => Value::Boolean(false),
            },
            b'+' => self.field("ok", self.string(rest)?)?,
            b'-' => Value::Table(failure::table(self.lua, &failure::with_code(line), true)?),
            b'*' | b'>' => match length(rest)? {
                Some(len) => self.array(len, depth)?,
                None => Value::Boolean(false),
            },
            b'_' => Value::Nil,
            b'#' => Value::Boolean(rest == b"t"),
            b',' => self.field("double", Value::Number(double(rest)))?,
            b'(' => self.field("big_number", self.string(rest)?)?,
            b'%' => self.map(length(rest)?.ok_or_else(malformed)?, depth)?,
            b'~' => self.set(length(rest)?.ok_or_else(malformed)?, depth)?,
            b'=' => {
                let text = self.take(length(rest)?.ok_or_else(malformed)?)?;
                let (format, text) = text.split_at_checked(4).ok_or_else(malformed)?;
                let fields = self.lua.create_table_with_capacity(0, 2)?;
                fields.raw_set("format", self.string(&format[..3])?)?;
                fields.raw_set("string", self.string(text)?)?;
                self.field("verbatim_string", Value::Table(fields))?
            }
            _ => return Err(malformed()),
        })
    }

    fn array(&mut self, len: usize, depth: usize) -> mlua::Result<Value> {
        let mut table = self.sized(len)?;
        let mut whole = true;
        for index in 1..=len {
            let value = self.value(depth + 1)?;
            if whole && value.is_nil() {
                // What `#` says of a table with holes depends on how it has grown.
                whole = false;
                let grown = self.lua.create_table()?;
                for before in 1..index {
                    grown.raw_set(before, table.raw_get::<Value>(before)?)?;
                }
                table = grown;
            }
            table.raw_set(index, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: usize, depth: usize) -> mlua::Result<Value> {
        let fields = self.lua.create_table_with_capacity(0, len.min(self.rest()))?;
        for _ in 0..len {
            let key = self.value(depth + 2)?;
            let value = self.value(depth + 2)?;
            if !key.is_nil() {
                fields.raw_set(key, value)?;
            }
        }
        self.field("map", Value::Table(fields))
    }

    fn set(&mut self, len: usize, depth: usize) -> mlua::Result<Value> {
        let members = self.lua.create_table_with_capacity(0, len.min(self.rest()))?;
        for _ in 0..len {
            let member = self.value(depth + 2)?;
            if !member.is_nil() {
                members.raw_set(member, true)?;
            }
        }
        self.field("set", Value::Table(members))
    }

    fn field(&self, name: &str, value: Value) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    }

    fn string(&self, bytes: &[u8]) -> mlua::Result<Value> {
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    /// A table with room for as many elements as the bytes left can hold.
    fn sized(&self, len: usize) -> mlua::Result<Table> {
        self.lua.create_table_with_capacity(len.min(self.rest()), 0)
    }

    fn rest(&self) -> usize {
        (self.bytes.len() - self.at) / 3
    }

    fn line(&mut self) -> mlua::Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = memchr::memchr(b'\n', rest).filter(|&end| end > 0).ok_or_else(malformed)?;
        self.at += end + 1;
        Ok(&rest[..end - 1])
    }

    fn take(&mut self, len: usize) -> mlua::Result<&'a [u8]> {
        let taken = self.bytes[self.at..].get(..len).ok_or_else(malformed)?;
        self.at = (self.at + len + 2).min(self.bytes.len());
        Ok(taken)
    }
}

fn malformed() -> mlua::Error {
    failure::refusal("a command's reply is malformed")
}

fn integer(text: &[u8]) -> mlua::Result<i64> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    crate::value::parse_i64(text).ok_or_else(malformed)
}

/// A length; `None` for -1.
fn length(text: &[u8]) -> mlua::Result<Option<usize>> {
    let number = integer(text)?;
    if number == -1 {
        return Ok(None);
    }
    usize::try_from(number).map(Some).map_err(|_| malformed())
}

fn double(text: &[u8]) -> f64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}
