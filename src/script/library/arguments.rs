//! A call's arguments, as Lua's own libraries check theirs.

use super::errors::bad_argument;
use mlua::{Lua, LuaString, MultiValue, Value};

/// The arguments of one call. They are counted from 1.
pub(in crate::script) struct Arguments<'lua> {
    pub(super) lua: &'lua Lua,
    values: MultiValue,
}

impl<'lua> Arguments<'lua> {
    pub(in crate::script) fn new(lua: &'lua Lua, values: MultiValue) -> Self {
        Self { lua, values }
    }

    /// How many there are; a `nil` at the end counts.
    pub(in crate::script) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Value> {
        self.values.get(number - 1)
    }

    /// A number, or a string that reads as one.
    pub(super) fn number(&self, number: usize) -> mlua::Result<f64> {
        match self.get(number).and_then(|value| as_number(self.lua, value)) {
            Some(found) => Ok(found),
            None => Err(self.wrong_type(number, "number")),
        }
    }

    /// A number without its fraction, as C casts it.
    pub(in crate::script) fn integer(&self, number: usize) -> mlua::Result<i64> {
        self.number(number).map(to_long)
    }

    /// A string, or a number as text.
    pub(super) fn string(&self, number: usize) -> mlua::Result<LuaString> {
        match self.get(number) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => {
                let text = self.lua.coerce_string(value.clone())?;
                Ok(text.expect("every number has a text"))
            }
            _ => Err(self.wrong_type(number, "string")),
        }
    }

    /// Whether an argument is missing or `nil`.
    pub(super) fn is_none_or_nil(&self, number: usize) -> bool {
        self.get(number).is_none_or(Value::is_nil)
    }

    pub(super) fn wrong_type(&self, number: usize, expected: &str) -> mlua::Error {
        let found = self.get(number).map_or("no value", type_name);
        bad_argument(self.lua, number, format!("{expected} expected, got {found}"))
    }
}

/// The number that a value is or reads as.
pub(super) fn as_number(lua: &Lua, value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(_) => lua.coerce_number(value.clone()).ok().flatten(),
        _ => None,
    }
}

/// What `type()` says of a value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        value => value.type_name(),
    }
}

/// C's cast to a signed word on x86-64: what does not fit is its smallest.
pub(super) fn to_long(number: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&number) { number as i64 } else { i64::MIN }
}

/// C's cast to an unsigned word on x86-64, which takes numbers below zero as well.
pub(super) fn to_unsigned_long(number: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if number >= HALF { to_long(number - HALF) as u64 ^ 1 << 63 } else { to_long(number) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `struct.pack('i8', number)` of Redis 7.0.15 on x86-64 makes of the same numbers.
    #[test]
    fn numbers_are_cast_as_the_processor_casts_them() {
        for (number, signed, unsigned) in [
            (1.9, 1, 1),
            (-1.9, -1, u64::MAX),
            (9_223_372_036_854_775_808.0, i64::MIN, 1 << 63),
            (18_446_744_073_709_549_568.0, i64::MIN, u64::MAX - 2047),
            (18_446_744_073_709_551_616.0, i64::MIN, 0),
            (-18_446_744_073_709_551_616.0, i64::MIN, 1 << 63),
            (1e300, i64::MIN, 0),
            (f64::INFINITY, i64::MIN, 0),
            (f64::NEG_INFINITY, i64::MIN, 1 << 63),
            (f64::NAN, i64::MIN, 1 << 63),
        ] {
            assert_eq!(to_long(number), signed, "{number}");
            assert_eq!(to_unsigned_long(number), unsigned, "{number}");
        }
    }
}
