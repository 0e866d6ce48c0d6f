//! What a script returns → a reply.

use super::Failure;
use super::library::write_general;
use crate::resp::{Encoder, OpenHead, Protocol};
use mlua::{Function, LuaString, Table, Value};

/// How many values may be held on to while what they hold is written: one for each array that a
/// value is inside of, three for each map. Arrays may nest about 8000 deep in Redis.
const HELD_MAX: usize = 7000;

/// Writes replies. It is told what it needs of the run that ended.
pub(super) struct Writer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// The client's protocol.
    pub(super) protocol: Protocol,
    /// The script's own (`redis.setresp`): whether booleans are such.
    pub(super) script: Protocol,
    /// Lua's `next`.
    pub(super) next: &'a Function,
}

/// A table that is being written.
enum Open {
    Array { table: Table, written: usize, head: OpenHead },
    Map { table: Table, key: Value, value: Option<Value>, written: usize, head: OpenHead },
    Set { table: Table, key: Value, written: usize, head: OpenHead },
}

impl Open {
    /// How many values are held on to while it is written.
    fn held(&self) -> usize {
        match self {
            Self::Array { .. } => 1,
            Self::Map { .. } => 3,
            Self::Set { .. } => 2,
        }
    }
}

impl Writer<'_> {
    /// Writes a whole reply. Says whose error it is, if it is one.
    ///
    /// # Errors
    /// Lua's own, when memory ends.
    pub(super) fn write(&mut self, value: Value) -> mlua::Result<Option<Failure>> {
        let failure = match &value {
            Value::Table(table) if error_text(table)?.is_some() => Some(whose(table)?),
            _ => None,
        };
        let mut path: Vec<Open> = Vec::new();
        let mut held = 0;
        let mut value = Some(value);
        loop {
            if let Some(value) = value.take()
                && let Some(opened) = self.value(value, held)?
            {
                held += opened.held();
                path.push(opened);
            }
            let Some(open) = path.last_mut() else { return Ok(failure) };
            value = self.advance(open)?;
            if value.is_none() {
                let closed = path.pop().expect("it was the last one");
                held -= closed.held();
                self.close(closed);
            }
        }
    }

    fn encoder(&mut self) -> Encoder<'_> {
        Encoder::new(self.out, self.protocol)
    }

    /// The next value to write inside of an open table; `None` at its end.
    fn advance(&mut self, open: &mut Open) -> mlua::Result<Option<Value>> {
        match open {
            Open::Array { table, written, .. } => {
                let value: Value = table.raw_get(*written + 1)?;
                if value.is_nil() {
                    return Ok(None);
                }
                *written += 1;
                Ok(Some(value))
            }
            Open::Map { table, key, value, written, .. } => {
                if let Some(value) = value.take() {
                    return Ok(Some(value));
                }
                let (next, held): (Value, Value) = self.next.call((&*table, &*key))?;
                if next.is_nil() {
                    return Ok(None);
                }
                *written += 1;
                *value = Some(held);
                *key = next.clone();
                Ok(Some(next))
            }
            Open::Set { table, key, written, .. } => {
                let next: Value = self.next.call((&*table, &*key))?;
                if next.is_nil() {
                    return Ok(None);
                }
                *written += 1;
                *key = next.clone();
                Ok(Some(next))
            }
        }
    }

    fn close(&mut self, open: Open) {
        match open {
            Open::Array { written, head, .. } => self.encoder().close_array(head, written),
            Open::Map { written, head, .. } => self.encoder().close_map(head, written),
            Open::Set { written, head, .. } => self.encoder().close_set(head, written),
        }
    }

    /// Writes a value, or opens it if it is a table of others.
    fn value(&mut self, value: Value, held: usize) -> mlua::Result<Option<Open>> {
        let script = self.script;
        let mut encoder = self.encoder();
        match value {
            Value::String(text) => encoder.bulk(text.as_bytes()),
            Value::Integer(number) => encoder.integer(number),
            Value::Number(number) => encoder.integer(truncated(number)),
            Value::Boolean(value) if script == Protocol::Resp3 => encoder.boolean(value),
            Value::Boolean(true) => encoder.integer(1),
            Value::Table(table) => return self.table(table, held),
            _ => encoder.null(),
        }
        Ok(None)
    }

    fn table(&mut self, table: Table, held: usize) -> mlua::Result<Option<Open>> {
        let mut encoder = self.encoder();
        if held >= HELD_MAX {
            encoder.error("ERR reached lua stack limit");
            return Ok(None);
        }
        if let Some(text) = error_text(&table)? {
            encoder.error(text.as_bytes());
            return Ok(None);
        }
        if let Value::String(text) = table.raw_get("ok")? {
            let out = encoder.buffer();
            out.push(b'+');
            extend_line(out, &text.as_bytes());
            out.extend_from_slice(b"\r\n");
            return Ok(None);
        }
        match table.raw_get("double")? {
            Value::Integer(number) => {
                self.double(number as f64);
                return Ok(None);
            }
            Value::Number(number) => {
                self.double(number);
                return Ok(None);
            }
            _ => {}
        }
        if let Value::Table(table) = table.raw_get("map")? {
            let head = encoder.open(0);
            let open = Open::Map { table, key: Value::Nil, value: None, written: 0, head };
            return Ok(Some(open));
        }
        if let Value::Table(table) = table.raw_get("set")? {
            let head = encoder.open(0);
            return Ok(Some(Open::Set { table, key: Value::Nil, written: 0, head }));
        }
        if let Value::String(digits) = table.raw_get("big_number")? {
            let mut line = Vec::new();
            extend_line(&mut line, &digits.as_bytes());
            match self.protocol {
                Protocol::Resp2 => self.encoder().bulk(line),
                Protocol::Resp3 => {
                    self.out.push(b'(');
                    self.out.extend_from_slice(&line);
                    self.out.extend_from_slice(b"\r\n");
                }
            }
            return Ok(None);
        }
        if let Value::Table(fields) = table.raw_get("verbatim_string")?
            && let (Value::String(format), Value::String(text)) =
                (fields.raw_get("format")?, fields.raw_get("string")?)
        {
            self.verbatim(&format.as_bytes(), &text.as_bytes());
            return Ok(None);
        }
        let head = encoder.open(table.raw_len());
        Ok(Some(Open::Array { table, written: 0, head }))
    }

    fn double(&mut self, number: f64) {
        let mut text = Vec::new();
        write_number(&mut text, number);
        let text = String::from_utf8(text).expect("figures");
        self.encoder().double_text(&text);
    }

    /// A verbatim string, whose format is made three characters long.
    fn verbatim(&mut self, format: &[u8], text: &[u8]) {
        if self.protocol == Protocol::Resp2 {
            self.encoder().bulk(text);
            return;
        }
        self.out.push(b'=');
        self.out.extend_from_slice(itoa::Buffer::new().format(text.len() + 4).as_bytes());
        self.out.extend_from_slice(b"\r\n");
        let padded = format.iter().copied().chain(std::iter::repeat(b' '));
        self.out.extend(padded.take(3));
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// A number as `%.17g` prints it.
pub(super) fn write_number(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        write_general(out, number, 17);
        return;
    }
    if number.is_sign_negative() {
        out.push(b'-');
    }
    out.extend_from_slice(if number.is_nan() { b"nan" } else { b"inf" });
}

/// A number without its fraction, as C casts it: what does not fit is the smallest.
fn truncated(number: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&number) { number as i64 } else { i64::MIN }
}

/// Appends a text whose line ends become spaces.
pub(super) fn extend_line(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
}

/// The text of a table that is an error.
fn error_text(table: &Table) -> mlua::Result<Option<LuaString>> {
    Ok(match table.raw_get("err")? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// Whose error a table is.
pub(super) fn whose(table: &Table) -> mlua::Result<Failure> {
    let counted: Value = table.raw_get("ignore_error_stats_update")?;
    let counted = !matches!(counted, Value::Nil | Value::Boolean(false));
    Ok(if counted { Failure::OfCall } else { Failure::OfScript })
}
