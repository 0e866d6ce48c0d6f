//! `cjson.encode`: a value to JSON.
//!
//! Tables are walked with a stack of our own, so that no depth that a script allows reaches ours.

use super::{InvalidNumbers, Settings};
use crate::script::library::arguments::type_name;
use crate::script::library::errors::{bad_argument, error};
use crate::script::library::number::write_general;
use crate::script::library::{OUTPUT_MAX, SLOTS_HELD};
use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};
use std::io::Write;

/// A table that is being written.
enum Frame {
    Array {
        table: Table,
        at: i32,
        len: i32,
    },
    /// `key` is the last that was written; `nil` before the first.
    Object {
        table: Table,
        key: Value,
    },
}

struct Encoder<'a> {
    lua: &'a Lua,
    settings: &'a Settings,
    next: &'a Function,
    out: Vec<u8>,
    frames: Vec<Frame>,
    /// What the original would have on its stack: a table each, and a key for objects.
    slots: usize,
}

pub(super) fn encode(
    lua: &Lua,
    settings: &Settings,
    next: &Function,
    mut values: MultiValue,
) -> mlua::Result<LuaString> {
    if values.len() != 1 {
        return Err(bad_argument(lua, 1, "expected 1 argument"));
    }
    let value = values.pop_front().unwrap_or(Value::Nil);
    let mut encoder =
        Encoder { lua, settings, next, out: Vec::new(), frames: Vec::new(), slots: 0 };
    encoder.value(value)?;
    while let Some(frame) = encoder.frames.pop() {
        encoder.step(frame)?;
    }
    lua.create_string(encoder.out)
}

impl Encoder<'_> {
    /// Writes the next element of a table, or its end.
    fn step(&mut self, frame: Frame) -> mlua::Result<()> {
        if self.out.len() > OUTPUT_MAX {
            return Err(error(self.lua, "Cannot serialise, the text is too long"));
        }
        match frame {
            Frame::Array { at, len, .. } if at == len => {
                self.out.push(b']');
                self.slots -= 1;
            }
            Frame::Array { table, at, len } => {
                if at > 0 {
                    self.out.push(b',');
                }
                let element = table.raw_get(at + 1)?;
                self.frames.push(Frame::Array { table, at: at + 1, len });
                self.value(element)?;
            }
            Frame::Object { table, key } => {
                let first = key.is_nil();
                let (key, element): (Value, Value) = self.next.call((&table, key))?;
                if key.is_nil() {
                    self.out.push(b'}');
                    self.slots -= 2;
                    return Ok(());
                }
                if !first {
                    self.out.push(b',');
                }
                self.key(&key)?;
                self.frames.push(Frame::Object { table, key });
                self.value(element)?;
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &Value) -> mlua::Result<()> {
        match key {
            Value::String(text) => self.text(&text.as_bytes()),
            Value::Integer(number) => self.numeric_key(*number as f64)?,
            Value::Number(number) => self.numeric_key(*number)?,
            other => return Err(self.refused(other, "table key must be a number or string")),
        }
        self.out.push(b':');
        Ok(())
    }

    fn numeric_key(&mut self, number: f64) -> mlua::Result<()> {
        self.out.push(b'"');
        self.number(number)?;
        self.out.push(b'"');
        Ok(())
    }

    fn value(&mut self, value: Value) -> mlua::Result<()> {
        match value {
            Value::String(text) => self.text(&text.as_bytes()),
            Value::Integer(number) => self.number(number as f64)?,
            Value::Number(number) => self.number(number)?,
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(data) if data.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::Table(table) => self.table(table)?,
            other => return Err(self.refused(&other, "type not supported")),
        }
        Ok(())
    }

    /// Starts a table.
    fn table(&mut self, table: Table) -> mlua::Result<()> {
        let depth = self.frames.len() + 1;
        if depth > self.settings.encode_depth as usize || self.slots > SLOTS_HELD {
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(error(self.lua, text));
        }
        match self.array_len(&table)? {
            Some(len) => {
                self.out.push(b'[');
                self.slots += 1;
                self.frames.push(Frame::Array { table, at: 0, len });
            }
            None => {
                self.out.push(b'{');
                self.slots += 2;
                self.frames.push(Frame::Object { table, key: Value::Nil });
            }
        }
        Ok(())
    }

    /// How many elements a table has as an array; `None` if it is an object: it is empty, or a key
    /// is no index.
    fn array_len(&self, table: &Table) -> mlua::Result<Option<i32>> {
        let (mut largest, mut count) = (0, 0i64);
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            let index = match key {
                Value::Integer(index) => i32::try_from(index).ok().filter(|&index| index >= 1),
                _ => None,
            };
            let Some(index) = index else { return Ok(None) };
            largest = largest.max(index);
            count += 1;
        }
        let settings = self.settings;
        let sparse = settings.sparse_ratio > 0
            && i64::from(largest) > count * i64::from(settings.sparse_ratio)
            && largest > settings.sparse_safe;
        if sparse && !settings.convert_sparse {
            let table = Value::Table(table.clone());
            return Err(self.refused(&table, "excessively sparse array"));
        }
        Ok((largest > 0 && !sparse).then_some(largest))
    }

    fn number(&mut self, number: f64) -> mlua::Result<()> {
        if number.is_finite() {
            write_general(&mut self.out, number, self.settings.digits as usize);
            return Ok(());
        }
        match self.settings.encode_invalid {
            InvalidNumbers::Refused => {
                let number = Value::Number(number);
                return Err(self.refused(&number, "must not be NaN or Inf"));
            }
            InvalidNumbers::Null => self.out.extend_from_slice(b"null"),
            InvalidNumbers::Written if number.is_nan() => self.out.extend_from_slice(b"nan"),
            InvalidNumbers::Written if number > 0.0 => self.out.extend_from_slice(b"inf"),
            InvalidNumbers::Written => self.out.extend_from_slice(b"-inf"),
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        self.out.push(b'"');
        let mut from = 0;
        for (at, &byte) in text.iter().enumerate() {
            if !matches!(byte, 0..=31 | b'"' | b'\\' | b'/' | 127) {
                continue;
            }
            self.out.extend_from_slice(&text[from..at]);
            from = at + 1;
            let letter = match byte {
                8 => b'b',
                b'\t' => b't',
                b'\n' => b'n',
                12 => b'f',
                b'\r' => b'r',
                b'"' | b'\\' | b'/' => byte,
                _ => {
                    write!(self.out, "\\u{byte:04x}").expect("a vector takes everything");
                    continue;
                }
            };
            self.out.extend_from_slice(&[b'\\', letter]);
        }
        self.out.extend_from_slice(&text[from..]);
        self.out.push(b'"');
    }

    fn refused(&self, value: &Value, why: &str) -> mlua::Error {
        error(self.lua, format!("Cannot serialise {}: {why}", type_name(value)))
    }
}
