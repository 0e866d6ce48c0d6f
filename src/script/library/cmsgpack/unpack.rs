//! MessagePack to values.
//!
//! A length announces nothing: tables grow by what is there. A table hangs in the one around it
//! before it is filled, so that there is nothing to hold but the tables that are open.

use super::{Arguments, STACK_SLOTS, error};
use crate::script::library::SLOTS_HELD;
use crate::script::library::errors::bare_error;
use mlua::{IntoLua, Lua, Table, Value, Variadic};
use std::rc::Rc;

/// What of a string is wanted.
pub(super) struct Span {
    /// How many values; `None`: all.
    pub(super) limit: Option<i64>,
    pub(super) start: i64,
    /// Whether where the next value starts is returned in front.
    pub(super) told: bool,
}

/// What is returned. Values stay in a table of Lua's until they are handed over: there are more of
/// them than can be held.
pub(super) enum Returned {
    Position(i64),
    Value(Rc<Table>, usize),
}

impl IntoLua for Returned {
    fn into_lua(self, _: &Lua) -> mlua::Result<Value> {
        match self {
            Self::Position(at) => Ok(Value::Integer(at)),
            Self::Value(table, at) => table.raw_get(at),
        }
    }
}

/// Unpacks what of the first argument is wanted.
pub(super) fn values(arguments: &Arguments, span: Span) -> mlua::Result<Variadic<Returned>> {
    let lua = arguments.lua;
    let data = arguments.string(1)?;
    let data = data.as_bytes();
    let (len, start, limit) = (data.len(), span.start, span.limit);
    if start < 0 || limit.is_some_and(|limit| limit < 0) {
        // Printed as C prints an `int`.
        let start = start as i32;
        let text = format!("Invalid request to unpack with offset of {start} and limit of {len}.");
        return Err(error(lua, text));
    }
    let rest = usize::try_from(start).ok().and_then(|start| data.get(start..));
    let Some(rest) = rest else {
        let start = start as i32;
        let text = format!("Start offset {start} greater than input length {len}.");
        return Err(error(lua, text));
    };
    let found = Rc::new(lua.create_table()?);
    let mut count = 0;
    let mut reader = Reader { lua, rest, frames: Vec::new(), slots: arguments.len() };
    while !reader.rest.is_empty() && limit.is_none_or(|limit| (count as i64) < limit) {
        if arguments.len() + count + 1 > STACK_SLOTS {
            return Err(error(lua, TOO_MANY));
        }
        let value = reader.value()?;
        count += 1;
        found.raw_set(count, value)?;
    }
    let mut returned = Vec::with_capacity(count + 1);
    if span.told {
        let at = len - reader.rest.len();
        returned.push(Returned::Position(if at == len { -1 } else { at as i64 }));
    }
    returned.extend((1..=count).map(|at| Returned::Value(found.clone(), at)));
    Ok(Variadic::from(returned))
}

const TOO_MANY: &str =
    "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";

/// A table that is being read.
enum Frame {
    List {
        table: Table,
        at: u32,
        len: u32,
    },
    /// `key` waits for its value.
    Map {
        table: Table,
        key: Option<Value>,
        left: u32,
    },
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    frames: Vec<Frame>,
    /// What the original would have on its stack: a table and a key each.
    slots: usize,
}

impl Reader<'_> {
    /// The next value with all that is inside of it.
    fn value(&mut self) -> mlua::Result<Value> {
        let whole = self.item()?;
        while let Some(frame) = self.frames.pop() {
            match frame {
                Frame::List { at, len, .. } if at == len => self.slots -= 2,
                Frame::Map { left: 0, key: None, .. } => self.slots -= 2,
                Frame::List { table, at, len } => {
                    self.frames.push(Frame::List { table: table.clone(), at: at + 1, len });
                    let element = self.item()?;
                    table.raw_set(at + 1, element)?;
                }
                Frame::Map { table, key: None, left } => {
                    let place = self.frames.len();
                    self.frames.push(Frame::Map { table, key: None, left: left - 1 });
                    let read = self.item()?;
                    if let Frame::Map { key, .. } = &mut self.frames[place] {
                        *key = Some(read);
                    }
                }
                Frame::Map { table, key: Some(key), left } => {
                    let place = self.frames.len();
                    self.frames.push(Frame::Map { table: table.clone(), key: None, left });
                    let element = self.item()?;
                    let problem = match &key {
                        Value::Nil => "table index is nil",
                        Value::Number(number) if number.is_nan() => "table index is NaN",
                        _ => {
                            table.raw_set(key, element)?;
                            continue;
                        }
                    };
                    // What is wrong inside of the value is told first.
                    while self.frames.len() > place + 1 {
                        self.rest_of_top()?;
                    }
                    return Err(bare_error(problem));
                }
            }
        }
        Ok(whole)
    }

    /// Reads on in the innermost table, whose values nobody will see.
    fn rest_of_top(&mut self) -> mlua::Result<()> {
        match self.frames.pop() {
            Some(Frame::List { table, at, len }) if at < len => {
                self.frames.push(Frame::List { table, at: at + 1, len });
            }
            Some(Frame::Map { table, key: None, left }) if left > 0 => {
                self.frames.push(Frame::Map { table, key: Some(Value::Nil), left: left - 1 });
            }
            Some(Frame::Map { table, key: Some(_), left }) => {
                self.frames.push(Frame::Map { table, key: None, left });
            }
            _ => {
                self.slots -= 2;
                return Ok(());
            }
        }
        self.item().map(drop)
    }

    /// The next value; of a table, its beginning.
    fn item(&mut self) -> mlua::Result<Value> {
        if self.slots + 1 > SLOTS_HELD {
            return Err(error(self.lua, TOO_MANY));
        }
        let [marker] = self.take()?;
        Ok(match marker {
            0x00..=0x7f => Value::Integer(marker.into()),
            0xe0..=0xff => Value::Integer((marker as i8).into()),
            0x80..=0x8f => self.map(u32::from(marker & 15))?,
            0x90..=0x9f => self.list(u32::from(marker & 15))?,
            0xa0..=0xbf => self.string(u32::from(marker & 31))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f32::from_be_bytes(self.take()?).into()),
            0xcb => Value::Number(f64::from_be_bytes(self.take()?)),
            0xcc => Value::Integer(u8::from_be_bytes(self.take()?).into()),
            0xcd => Value::Integer(u16::from_be_bytes(self.take()?).into()),
            0xce => Value::Integer(u32::from_be_bytes(self.take()?).into()),
            // Above the middle it comes out below zero: so it does from the original.
            0xcf | 0xd3 => Value::Integer(i64::from_be_bytes(self.take()?)),
            0xd0 => Value::Integer(i8::from_be_bytes(self.take()?).into()),
            0xd1 => Value::Integer(i16::from_be_bytes(self.take()?).into()),
            0xd2 => Value::Integer(i32::from_be_bytes(self.take()?).into()),
            0xd9 => {
                let [len] = self.take()?;
                self.string(u32::from(len))?
            }
            0xda => {
                let len = u16::from_be_bytes(self.take()?);
                self.string(len.into())?
            }
            0xdb => {
                let len = u32::from_be_bytes(self.take()?);
                self.string(len)?
            }
            0xdc => {
                let len = u16::from_be_bytes(self.take()?);
                self.list(len.into())?
            }
            0xdd => {
                let len = u32::from_be_bytes(self.take()?);
                self.list(len)?
            }
            0xde => {
                let len = u16::from_be_bytes(self.take()?);
                self.map(len.into())?
            }
            0xdf => {
                let len = u32::from_be_bytes(self.take()?);
                self.map(len)?
            }
            _ => return Err(error(self.lua, "Bad data format in input.")),
        })
    }

    fn take<const N: usize>(&mut self) -> mlua::Result<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(|| self.missing())?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn string(&mut self, len: u32) -> mlua::Result<Value> {
        let (text, rest) =
            self.rest.split_at_checked(len as usize).ok_or_else(|| self.missing())?;
        self.rest = rest;
        self.lua.create_string(text).map(Value::String)
    }

    fn list(&mut self, len: u32) -> mlua::Result<Value> {
        if self.slots + 2 > SLOTS_HELD {
            return Err(error(self.lua, "stack overflow (in function mp_decode_to_lua_array)"));
        }
        let table = self.lua.create_table()?;
        self.slots += 2;
        self.frames.push(Frame::List { table: table.clone(), at: 0, len });
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: u32) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        self.slots += 2;
        self.frames.push(Frame::Map { table: table.clone(), key: None, left: len });
        Ok(Value::Table(table))
    }

    fn missing(&self) -> mlua::Error {
        error(self.lua, "Missing bytes in input.")
    }
}
