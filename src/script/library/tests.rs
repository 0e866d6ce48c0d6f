//! The answers of Redis 7.0.15, and those of ours.

use super::{all, catch_as_text, raised};
use mlua::{Lua, LuaString};

/// The libraries in a fresh interpreter, as scripts have them.
pub(super) fn lua() -> Lua {
    let lua = Lua::new();
    for (name, table) in all(&lua).expect("the libraries load") {
        lua.globals().raw_set(name, table).expect("a global");
    }
    catch_as_text(&lua).expect("it loads");
    lua
}

/// What an expression (or statements, if they return something) gives, as `show.lua` shows it.
pub(super) fn shown(lua: &Lua, expression: &str) -> String {
    let returns = expression.split(|c: char| !c.is_alphanumeric()).any(|word| word == "return");
    let body = if returns { expression.to_owned() } else { format!("return {expression}") };
    let script = format!("local function run() {body} end\n{}", include_str!("answers/show.lua"));
    let text: LuaString = lua
        .load(script)
        .set_name("=user_script")
        .eval()
        .unwrap_or_else(|error| panic!("{expression}: {error} {:?}", raised(&error)));
    let bytes = text.as_bytes();
    let mut out = String::new();
    for &byte in bytes.iter() {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out
}

fn check(answers: &str) {
    let lua = lua();
    let mut wrong = Vec::new();
    for line in answers.lines().skip(1) {
        let (expression, expected) = line.split_once(" --> ").expect("an arrow");
        let found = shown(&lua, expression);
        if found != expected {
            wrong.push(format!("{expression}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn bit_answers_as_redis_does() {
    check(include_str!("answers/bit.txt"));
}

#[test]
fn struct_answers_as_redis_does() {
    check(include_str!("answers/struct.txt"));
}
