//! `cjson.decode`: JSON to a value.
//!
//! A table hangs in the one around it before it is filled, so that there is nothing to hold but
//! the tables that are open.

use super::lexer::{Lexer, Token};
use super::{NULL, Settings};
use crate::script::library::SLOTS_HELD;
use crate::script::library::arguments::Arguments;
use crate::script::library::errors::{bad_argument, error};
use mlua::{Lua, LuaString, MultiValue, Table, Value};

/// A table that is being read; an array with how many elements it has.
enum Frame {
    Array(Table, usize),
    Object(Table),
}

struct Decoder<'a> {
    lua: &'a Lua,
    lexer: Lexer<'a>,
    settings: &'a Settings,
    frames: Vec<Frame>,
    /// What the original would have on its stack: a table each, and a key for objects.
    slots: usize,
}

pub(super) fn decode(lua: &Lua, settings: &Settings, values: MultiValue) -> mlua::Result<Value> {
    let arguments = Arguments::new(lua, values);
    if arguments.len() != 1 {
        return Err(bad_argument(lua, 1, "expected 1 argument"));
    }
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(error(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let lexer = Lexer::new(&text, settings.decode_invalid);
    Decoder { lua, lexer, settings, frames: Vec::new(), slots: 0 }.run()
}

impl Decoder<'_> {
    fn run(mut self) -> mlua::Result<Value> {
        let (token, at) = self.lexer.next();
        let value = self.value(token, at)?;
        while let Some(frame) = self.frames.pop() {
            match frame {
                Frame::Array(table, len) => self.element(table, len)?,
                Frame::Object(table) => self.member(table)?,
            }
        }
        match self.lexer.next() {
            (Token::End, _) => Ok(value),
            (found, at) => Err(self.unexpected("the end", &found, at)),
        }
    }

    /// What a token stands for; of a table, its beginning.
    fn value(&mut self, token: Token, at: usize) -> mlua::Result<Value> {
        let table = match token {
            Token::Text(text) => return Ok(Value::String(self.lua.create_string(text)?)),
            Token::Number(number) => return Ok(Value::Number(number)),
            Token::Boolean(truth) => return Ok(Value::Boolean(truth)),
            Token::Null => return Ok(NULL),
            Token::ArrayBegin | Token::ObjectBegin => {
                let depth = self.frames.len() + 1;
                if depth > self.settings.decode_depth as usize || self.slots > SLOTS_HELD {
                    let text = format!(
                        "Found too many nested data structures ({depth}) at character {}",
                        at + 1
                    );
                    return Err(error(self.lua, text));
                }
                self.lua.create_table()?
            }
            other => return Err(self.unexpected("value", &other, at)),
        };
        if token == Token::ArrayBegin {
            self.slots += 1;
            self.frames.push(Frame::Array(table.clone(), 0));
        } else {
            self.slots += 2;
            self.frames.push(Frame::Object(table.clone()));
        }
        Ok(Value::Table(table))
    }

    /// Reads on in an array: its end, or one more element.
    fn element(&mut self, table: Table, len: usize) -> mlua::Result<()> {
        let (mut token, mut at) = self.lexer.next();
        if token == Token::ArrayEnd {
            self.slots -= 1;
            return Ok(());
        }
        if len > 0 {
            if token != Token::Comma {
                return Err(self.unexpected("comma or array end", &token, at));
            }
            (token, at) = self.lexer.next();
        }
        // It stays below what the element opens.
        self.frames.push(Frame::Array(table.clone(), len + 1));
        let value = self.value(token, at)?;
        table.raw_set(len + 1, value)
    }

    /// Reads on in an object: its end, or one more key and value.
    fn member(&mut self, table: Table) -> mlua::Result<()> {
        let (mut token, mut at) = self.lexer.next();
        let empty = table.is_empty();
        if token == Token::ObjectEnd {
            self.slots -= 2;
            return Ok(());
        }
        if !empty {
            if token != Token::Comma {
                return Err(self.unexpected("comma or object end", &token, at));
            }
            (token, at) = self.lexer.next();
        }
        let Token::Text(key) = token else {
            return Err(self.unexpected("object key string", &token, at));
        };
        let key: LuaString = self.lua.create_string(key)?;
        let (token, at) = self.lexer.next();
        if token != Token::Colon {
            return Err(self.unexpected("colon", &token, at));
        }
        let (token, at) = self.lexer.next();
        self.frames.push(Frame::Object(table.clone()));
        let value = self.value(token, at)?;
        table.raw_set(key, value)
    }

    fn unexpected(&self, expected: &str, found: &Token, at: usize) -> mlua::Error {
        let text =
            format!("Expected {expected} but found {} at character {}", found.name(), at + 1);
        error(self.lua, text)
    }
}
