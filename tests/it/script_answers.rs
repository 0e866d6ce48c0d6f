//! The tables that scripts' libraries are held to, against the server that they are said to be of.
//!
//! Tests beside the libraries hold them to the same tables.

use crate::support::{Client, Server};
use keyway::resp::Reply;

const TABLES: &[&str] = &[
    include_str!("../../src/script/library/answers/bit.txt"),
    include_str!("../../src/script/library/answers/cjson.txt"),
    include_str!("../../src/script/library/answers/cmsgpack.txt"),
    include_str!("../../src/script/library/answers/struct.txt"),
];

/// What an expression, or statements that return something, give: shown, and bytes that no line
/// can hold escaped.
fn answer(client: &mut Client, expression: &str) -> String {
    let returns = expression.split(|c: char| !c.is_alphanumeric()).any(|word| word == "return");
    let body = if returns { expression.to_owned() } else { format!("return {expression}") };
    let show = include_str!("../../src/script/library/answers/show.lua");
    let script = format!("local function run() {body} end\n{show}");
    let reply = client.call(&["EVAL", &script, "0"]);
    let Reply::Bulk(shown) = &reply else { panic!("{expression}: {reply:?}") };
    let mut text = String::new();
    for &byte in shown.iter() {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\r' => text.push_str("\\r"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

#[test]
fn the_answers_that_libraries_are_held_to_are_those_of_redis_7_0() {
    let Some(server) = Server::redis(&[]) else { return };
    let mut client = server.client();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for line in TABLES.iter().flat_map(|table| table.lines().skip(1)) {
        let (expression, expected) = line.split_once(" --> ").expect("an arrow");
        let found = answer(&mut client, expression);
        asked += 1;
        if found != expected {
            wrong.push(format!("{expression}\n  written {expected}\n  said    {found}"));
        }
    }
    assert!(asked > 1000, "{asked}");
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}
