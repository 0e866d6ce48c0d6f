//! The answers of Redis 7.0.15, and those of ours.

use super::{all, catch_as_text, raised};
use mlua::{Lua, LuaString};
use proptest::prelude::*;

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

#[test]
fn cjson_answers_as_redis_does() {
    check(include_str!("answers/cjson.txt"));
}

#[test]
fn cmsgpack_answers_as_redis_does() {
    check(include_str!("answers/cmsgpack.txt"));
}

/// Depths, lengths and ends that a hostile text or hostile data announce: an error each, and
/// nothing taken for what is not there.
#[test]
fn malformed_input_is_an_error() {
    let lua = lua();
    for expression in [
        "cjson.decode(('['):rep(1000000))",
        "cjson.decode(('{\"a\":'):rep(1000000))",
        "cjson.decode(('[['):rep(500) .. '1')",
        "cjson.decode('\"' .. ('\\\\'):rep(100001))",
        "cjson.decode('\"\\\\u12')",
        "cjson.decode('\"\\\\ud800\\\\u')",
        "cjson.decode('[1' .. (' '):rep(100000))",
        "cmsgpack.unpack('\\221\\255\\255\\255\\255')",
        "cmsgpack.unpack('\\223\\255\\255\\255\\255')",
        "cmsgpack.unpack('\\219\\255\\255\\255\\255')",
        "cmsgpack.unpack(('\\221\\255\\255\\255\\255'):rep(100))",
        "cmsgpack.unpack(('\\145'):rep(1000000))",
        "cmsgpack.unpack(('\\129'):rep(1000000))",
        "cmsgpack.unpack(('\\129\\192'):rep(1000000))",
        "cmsgpack.unpack_limit('\\1', 2 ^ 62, 2 ^ 62)",
        "struct.unpack('c2147483647', 'a')",
        "struct.unpack('i8', 'abcdefgh', 2 ^ 62)",
        "struct.unpack('!8i8', 'abcdefgh', -1)",
        "struct.unpack(('b'):rep(1000000), ('a'):rep(1000000))",
        "struct.pack('c2147483647', 'a')",
        "struct.pack('!2147483647i', 1)",
        "struct.pack(('i32'):rep(3), 1)",
    ] {
        let told = shown(&lua, expression);
        assert!(told.starts_with("error '"), "{expression}: {told}");
    }
    assert!(lua.used_memory() < 64 << 20, "{} bytes", lua.used_memory());
}

/// Depth that a script allows itself is bounded all the same, and by an error.
#[test]
fn no_depth_reaches_the_end_of_a_stack() {
    let lua = lua();
    for expression in ["cjson.encode_max_depth(2147483647)", "cjson.decode_max_depth(2147483647)"] {
        assert_eq!(shown(&lua, expression), "2147483647");
    }
    for (expression, fails) in [
        ("#cjson.encode(cjson.decode(('['):rep(6000) .. (']'):rep(6000)))", false),
        ("#cjson.encode(cjson.decode(('{\"a\":'):rep(3000) .. '1' .. ('}'):rep(3000)))", false),
        ("cjson.decode(('['):rep(8000) .. (']'):rep(8000))", true),
        ("cjson.decode(('{\"a\":'):rep(4000) .. '1' .. ('}'):rep(4000))", true),
        ("local t = {} t[1] = t return cjson.encode(t)", true),
        ("local t = {} t.a = t return cjson.encode(t)", true),
    ] {
        let told = shown(&lua, expression);
        assert_eq!(told.starts_with("error '"), fails, "{expression}: {told}");
    }
}

/// A value, written as Lua writes it: what JSON and MessagePack both bring back.
fn literal() -> impl Strategy<Value = String> {
    let string = proptest::collection::vec(any::<u8>(), 0..12)
        .prop_map(|bytes| bytes.iter().map(|byte| format!("\\{byte:03}")).collect::<String>())
        .prop_map(|escaped| format!("\"{escaped}\""));
    let number = prop_oneof![
        (-10_000_000_000_000i64..10_000_000_000_000).prop_map(|number| number.to_string()),
        (-1_000_000i32..1_000_000).prop_map(|number| format!("({number} / 64)")),
    ];
    let scalar = prop_oneof![string.clone(), number, Just("true".into()), Just("false".into())];
    scalar.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6)
                .prop_map(|elements| format!("{{{}}}", elements.join(", "))),
            proptest::collection::vec((string.clone(), inner), 0..6).prop_map(|members| {
                let members = members.iter().map(|(key, value)| format!("[{key}] = {value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(value in literal()) {
        let lua = lua();
        let same = shown(&lua, &value);
        prop_assert_eq!(shown(&lua, &format!("cjson.decode(cjson.encode({value}))")), same.clone());
        prop_assert_eq!(shown(&lua, &format!("cmsgpack.unpack(cmsgpack.pack({value}))")), same);
    }

    #[test]
    fn any_bytes_are_read_without_panic_or_waste(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        json in "[\\[\\]{}:,\"\\\\u0-9a-f.eEtrun \\-+xI]{0,200}",
        format in "[!<>bBhHlLiIfdxsc0-9 ]{0,20}",
    ) {
        let lua = lua();
        let globals = lua.globals();
        globals.raw_set("bytes", lua.create_string(&bytes).expect("a string")).expect("a global");
        globals.raw_set("json", json).expect("a global");
        globals.raw_set("format", format).expect("a global");
        let before = lua.used_memory();
        for call in [
            "cjson.decode, bytes", "cjson.decode, json", "cmsgpack.unpack, bytes",
            "cmsgpack.unpack_one, bytes, 3", "struct.unpack, format, bytes",
            "struct.unpack, json, bytes", "struct.size, format",
            "struct.pack, format, 1, 'a', 2, 'b', 3",
        ] {
            lua.load(format!("local r = {{pcall({call})}}")).exec().expect("errors are caught");
        }
        // A table of Lua's takes 56 bytes and 16 to 40 for each place, and one byte makes one.
        prop_assert!(lua.used_memory() < before + 64 * 1024 + 500 * 500);
    }
}
