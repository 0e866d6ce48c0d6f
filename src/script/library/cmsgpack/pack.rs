//! Values to MessagePack.

use crate::script::library::OUTPUT_MAX;
use mlua::{Table, Value};

/// How many tables can be inside of one another. What is deeper is packed as nil.
const DEPTH_MAX: usize = 16;

/// Appends a value. What MessagePack does not have is packed as nil. More than [`OUTPUT_MAX`] is
/// not packed on: the caller sees that there is too much.
pub(super) fn value(out: &mut Vec<u8>, value: &Value, depth: usize) -> mlua::Result<()> {
    match value {
        Value::String(text) => string(out, &text.as_bytes()),
        Value::Integer(number) => integer(out, *number),
        Value::Number(number) => self::number(out, *number),
        Value::Boolean(truth) => out.push(0xc2 | u8::from(*truth)),
        Value::Table(table) if depth < DEPTH_MAX => self::table(out, table, depth)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn table(out: &mut Vec<u8>, table: &Table, depth: usize) -> mlua::Result<()> {
    let (mut count, mut largest, mut list) = (0u32, 0, true);
    for pair in table.pairs::<Value, Value>() {
        count += 1;
        match pair?.0 {
            Value::Integer(index) if index > 0 => largest = largest.max(index),
            _ => list = false,
        }
    }
    if list && largest == i64::from(count) {
        length(out, count, 0x90, [0xdc, 0xdd]);
        for index in 1..=count {
            value(out, &table.raw_get(index)?, depth + 1)?;
            if out.len() > OUTPUT_MAX {
                return Ok(());
            }
        }
        return Ok(());
    }
    length(out, count, 0x80, [0xde, 0xdf]);
    for pair in table.pairs::<Value, Value>() {
        let (key, element) = pair?;
        value(out, &key, depth + 1)?;
        value(out, &element, depth + 1)?;
        if out.len() > OUTPUT_MAX {
            return Ok(());
        }
    }
    Ok(())
}

/// The beginning of a list or a map.
fn length(out: &mut Vec<u8>, count: u32, short: u8, [two, four]: [u8; 2]) {
    if count < 16 {
        out.push(short | count as u8);
    } else if let Ok(count) = u16::try_from(count) {
        out.push(two);
        out.extend_from_slice(&count.to_be_bytes());
    } else {
        out.push(four);
        out.extend_from_slice(&count.to_be_bytes());
    }
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    let len = text.len();
    if len < 32 {
        out.push(0xa0 | len as u8);
    } else if let Ok(len) = u8::try_from(len) {
        out.extend_from_slice(&[0xd9, len]);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(0xda);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(0xdb);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
    out.extend_from_slice(text);
}

fn integer(out: &mut Vec<u8>, number: i64) {
    let narrow = number.to_be_bytes();
    let (marker, bytes) = match number {
        -32..=127 => return out.push(number as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -0x80..=-33 => (0xd0, 1),
        -0x8000..=-0x81 => (0xd1, 2),
        -0x8000_0000..=-0x8001 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(marker);
    out.extend_from_slice(&narrow[8 - bytes..]);
}

/// A number with a fraction, or too large for an integer: in four bytes if they hold it.
fn number(out: &mut Vec<u8>, number: f64) {
    if number == 0.0 {
        out.push(0);
    } else if f64::from(number as f32) == number {
        out.push(0xca);
        out.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}
