//! What a format says: options one after the other, some with a number behind them.

use crate::script::library::errors::{bad_argument, error};
use mlua::Lua;

/// The longest integer, in bytes.
pub(super) const INTEGER_MAX: usize = 32;
/// What `!` without a number aligns to.
const ALIGNMENT: u64 = 8;

/// One option that stands for bytes.
pub(super) struct Item {
    pub(super) option: u8,
    /// Its bytes; 0 for `s` and for what is no option.
    pub(super) size: u64,
    /// Bytes in front of it.
    pub(super) padding: u64,
    pub(super) little: bool,
}

impl Item {
    /// Whether it is an option that packing knows.
    pub(super) fn known(&self) -> bool {
        b"bBhHlLTiIfdxsc".contains(&self.option)
    }
}

/// Reads a format, and keeps what options say about those behind them.
pub(super) struct Formats<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    little: bool,
    alignment: u64,
}

impl<'a> Formats<'a> {
    pub(super) fn new(lua: &'a Lua, format: &'a [u8]) -> Self {
        // A zero byte ends it.
        let rest = format.split(|&byte| byte == 0).next().unwrap_or_default();
        Self { lua, rest, little: true, alignment: 1 }
    }

    /// The next option, which starts behind `before` bytes.
    pub(super) fn next(&mut self, before: u64) -> mlua::Result<Option<Item>> {
        while let Some((&option, rest)) = self.rest.split_first() {
            self.rest = rest;
            match option {
                b' ' => {}
                b'<' => self.little = true,
                b'>' => self.little = false,
                b'!' => {
                    self.alignment = self.number(ALIGNMENT)?;
                    if !self.alignment.is_power_of_two() {
                        let text = format!("alignment {} is not a power of 2", self.alignment);
                        return Err(error(self.lua, text));
                    }
                }
                _ => return self.item(option, before).map(Some),
            }
        }
        Ok(None)
    }

    fn item(&mut self, option: u8, before: u64) -> mlua::Result<Item> {
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'f' => 4,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INTEGER_MAX as u64 {
                    let text =
                        format!("integral size {size} is larger than limit of {INTEGER_MAX}");
                    return Err(error(self.lua, text));
                }
                size
            }
            _ => 0,
        };
        // Sizes that are no power of two are treated as if they were one: so does the original.
        let alignment = size.min(self.alignment);
        let padding = if option == b'c' || alignment <= 1 {
            0
        } else {
            alignment.wrapping_sub(before & (alignment - 1)) & (alignment - 1)
        };
        Ok(Item { option, size, padding, little: self.little })
    }

    /// The number that comes next, if one does: below 2^31.
    fn number(&mut self, default: u64) -> mlua::Result<u64> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (digits, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let mut number = 0u64;
        for digit in digits {
            number = number * 10 + u64::from(digit - b'0');
            if number > i32::MAX as u64 {
                return Err(error(self.lua, "integral size overflow"));
            }
        }
        Ok(number)
    }

    /// The error of what is no option.
    pub(super) fn invalid(&self, option: u8) -> mlua::Error {
        let mut text = b"invalid format option '".to_vec();
        text.push(option);
        text.push(b'\'');
        bad_argument(self.lua, 1, text)
    }
}
