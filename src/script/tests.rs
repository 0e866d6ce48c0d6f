//! Scripts and what they answer, with a runner that plays the node.

use super::*;

/// Runs a script to its end. Calls are answered by `answer`, other questions with yes.
pub(super) fn run_with(
    interpreter: &mut Interpreter,
    body: &[u8],
    protocol: Protocol,
    mut answer: impl FnMut(&Call) -> Vec<u8>,
) -> Done {
    let name = ScriptName::of(body);
    if let Err(line) = interpreter.load(name, body) {
        let reply = [b"-", &line[..], b"\r\n"].concat();
        return Done { reply, failure: Some(Failure::OfScript) };
    }
    interpreter.begin(&Run { name, keys: &[], args: &[], protocol });
    let mut step = interpreter.step(Answer::Go);
    loop {
        step = match step {
            Step::Call(call) => {
                let reply = answer(&call);
                interpreter.step(Answer::Reply(&reply))
            }
            Step::Knows(_) => interpreter.step(Answer::Known(true)),
            Step::Log(..) | Step::Pause => interpreter.step(Answer::Go),
            Step::Done(done) => return done,
        };
    }
}

/// What the node says to the few commands that these tests call: `echo`, and `raw`, whose reply
/// is its argument's bytes.
fn answer(call: &Call) -> Vec<u8> {
    let request = call.request.as_request();
    match request.name() {
        b"raw" => request.arg(1).to_vec(),
        b"echo" => {
            let mut out = Vec::new();
            crate::resp::Encoder::new(&mut out, call.protocol).bulk(request.arg(1));
            out
        }
        _ => b"-ERR Unknown Redis command called from script\r\n".to_vec(),
    }
}

fn shown(reply: &[u8]) -> String {
    reply.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"").replace("\\\\", "\\")
}

fn run(interpreter: &mut Interpreter, body: &str, protocol: Protocol) -> String {
    let done = run_with(interpreter, body.as_bytes(), protocol, answer);
    let name = ScriptName::of(body.as_bytes());
    shown(&done.reply).replace(name.as_str(), "<sha>")
}

/// One script a line, and Redis 7.0.15's reply to it; `3>` in front of one for RESP3.
#[test]
fn scripts_answer_as_redis_does() {
    let mut interpreter = Interpreter::new();
    let mut wrong = Vec::new();
    for line in include_str!("answers.txt").lines().skip(1) {
        let (script, expected) = line.split_once(" --> ").expect("an arrow");
        let (script, protocol) = match script.strip_prefix("3> ") {
            Some(script) => (script, Protocol::Resp3),
            None => (script, Protocol::Resp2),
        };
        let found = run(&mut interpreter, script, protocol);
        if found != expected {
            wrong.push(format!("{script}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A script that is told to end does so, whatever it catches.
#[test]
fn a_killed_script_ends() {
    let mut interpreter = Interpreter::new();
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "local function f() while true do pcall(f) end end f()",
        "while true do pcall(coroutine.wrap(function() while true do end end)) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do coroutine.wrap(function() for i = 1, 90000 do end end)() end",
        "while true do pcall(redis.call, 'echo', 'x') end",
        "while true do redis.pcall('echo', 'x') end",
        "while true do pcall(redis.log, 3, 'x') end",
        "while true do pcall(table.sort, {3, 1, 2}, function() while true do end end) end",
        "local t = setmetatable({}, {__index = function() while true do end end}) while true do pcall(function() return t.x end) end",
        "while true do load(function() while true do end end) end",
        "while true do string.gsub('a', 'a', function() while true do end end) end",
        "for i = 1, 1e15 do pcall(error, 'x') end",
    ] {
        let name = ScriptName::of(body.as_bytes());
        println!("{body}");
        interpreter.load(name, body.as_bytes()).expect("it compiles");
        interpreter.begin(&Run { name, keys: &[], args: &[], protocol: Protocol::Resp2 });
        let mut step = interpreter.step(Answer::Go);
        for _ in 0..5 {
            step = match step {
                Step::Call(_) => interpreter.step(Answer::Reply(b"+OK\r\n")),
                Step::Done(done) => panic!("{body}: {}", shown(&done.reply)),
                _ => interpreter.step(Answer::Go),
            };
        }
        let Step::Done(done) = interpreter.step(Answer::Kill) else { panic!("{body}: it goes on") };
        let reply = shown(&done.reply);
        let expected =
            format!("-ERR Script killed by user with SCRIPT KILL... script: {name}, on ");
        assert!(reply.starts_with(&expected), "{body}: {reply}");
        assert_eq!(run(&mut interpreter, "return 1", Protocol::Resp2), ":1\\r\\n");
    }
}

#[test]
fn an_interpreter_is_dropped_while_a_script_runs() {
    let mut interpreter = Interpreter::new();
    let name = ScriptName::of(b"while true do pcall(redis.call, 'x') end");
    interpreter.load(name, b"while true do pcall(redis.call, 'x') end").expect("it compiles");
    interpreter.begin(&Run { name, keys: &[], args: &[], protocol: Protocol::Resp2 });
    assert!(matches!(interpreter.step(Answer::Go), Step::Call(_)));
}

/// Scripts that want more than there is end with an error, and the next one runs.
#[test]
fn what_no_script_may_take_is_refused() {
    let mut interpreter = Interpreter::new();
    for (body, expected) in [
        ("local t = {} for i = 1, 1e9 do t[i] = {i} end", "not enough memory"),
        ("local s = 'x' while true do s = s .. s end", "not enough memory"),
        ("local x = ('x'):rep(2 ^ 31 - 1)", "resulting string too large"),
        ("local x = ('a'):find(('a?'):rep(1e6))", "pattern too complex"),
        ("local x = ('a'):rep(1e6):find(('.-'):rep(1e6) .. 'b')", "pattern too complex"),
        ("local x = ('a'):rep(1e4):find(('a?'):rep(7999))", "Z"),
        ("error({1, 2})", "unknown error"),
        ("error({err = {}})", "unknown error"),
        ("error(setmetatable({}, {__index = function() error('x') end}))", "unknown error"),
        ("error(function() end)", "-ERR function: "),
        ("local function f() return f() + 1 end return f()", "stack overflow"),
        ("local function f() pcall(f) return 1 end return f()", ":1"),
        ("local function f() return 1 + f() end return coroutine.wrap(f)()", "stack overflow"),
        (
            "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
            "stack overflow",
        ),
        ("local function f() return ('x'):gsub('x', f) end f()", "stack overflow"),
        ("local function f() return coroutine.wrap(f)() end f()", "stack overflow"),
        (
            "local function f(a, b) table.sort({1, 2, 3}, f) return a < b end f(1, 2)",
            "stack overflow",
        ),
        ("local t = {} for i = 1, 10000 do t = {t} end return t", "reached lua stack limit"),
        ("local t = {} t[1] = t return t", "reached lua stack limit"),
        ("local t = {} t.map = {a = t} return t", "reached lua stack limit"),
        (
            "local t = {} for i = 1, 7900 do t[i] = 'x' end redis.call('echo', unpack(t)) return 1",
            ":1",
        ),
        ("local t = {} for i = 1, 1e5 do t[i] = 'x' end return #t", ":100000"),
        ("return unpack({}, 1, 1e6)", "too many results to unpack"),
        ("return loadstring(('('):rep(1e5))() ", "attempt to call"),
        ("return (loadstring('return ' .. ('{'):rep(1e5)))() ", "attempt to call"),
        (
            "return redis.call('raw', ('*1\\r\\n'):rep(100000) .. '*0\\r\\n')",
            "reached lua stack limit",
        ),
        ("return redis.call('raw', '*1000000000\\r\\n')", "malformed"),
        ("return redis.call('raw', '$1000000000\\r\\n')", "malformed"),
        ("return redis.call('raw', '')", "malformed"),
        ("return redis.call('raw', '\\n')", "malformed"),
        ("return redis.call('raw', ':\\r\\n')", "malformed"),
        ("return redis.call('raw', '=1\\r\\na\\r\\n')", "malformed"),
    ] {
        let name = ScriptName::of(body.as_bytes());
        println!("{body}");
        interpreter.load(name, body.as_bytes()).expect("it compiles");
        interpreter.begin(&Run { name, keys: &[], args: &[], protocol: Protocol::Resp2 });
        let (mut step, mut pauses) = (interpreter.step(Answer::Go), 0);
        let reply = loop {
            step = match step {
                Step::Call(call) => interpreter.step(Answer::Reply(&answer(&call))),
                Step::Done(done) => break shown(&done.reply),
                _ if pauses == 1000 => interpreter.step(Answer::Kill),
                _ => {
                    pauses += 1;
                    interpreter.step(Answer::Go)
                }
            };
        };
        assert!(
            expected == "Z" || reply.contains(expected),
            "{body}: {}",
            &reply[reply.len().saturating_sub(300)..]
        );
        assert_eq!(run(&mut interpreter, "return 1", Protocol::Resp2), ":1\\r\\n", "{body}");
        assert!(interpreter.used_memory() <= super::interpreter::MEMORY_MAX);
    }
}

/// Ways out of a sandbox that were open in one server or another.
#[test]
fn scripts_get_out_nowhere() {
    let mut interpreter = Interpreter::new();
    let before = run(&mut interpreter, PROBE, Protocol::Resp2);
    for body in [
        "return load(string.dump(function() return 1 end))",
        "return loadstring(string.dump(function() return 1 end))()",
        "local n = 0 return load(function() n = n + 1 return n == 1 and string.dump(function() end) or nil end)()",
        "local n = 0 return load(function() n = n + 1 return n <= 3 and ('\\27Lua'):sub(n, n) or nil end)()",
        "return load(function() collectgarbage() return nil end, ('x'):rep(1000) .. '\\0' .. ('y'):rep(1000))",
        "local n = 0 return load(function() n = n + 1 for i = 1, 1000 do local s = ('x'):rep(i) end collectgarbage() return n < 100 and 'local a = 1 ' or nil end, 'a' .. n)()",
        "return loadstring('x x', ('n'):rep(100) .. '\\0' .. ('m'):rep(100))",
        "return unpack({}, -2147483648, 2147483647)",
        "return unpack({}, 0, 2147483647)",
        "return unpack({}, 2147483647, 2147483648)",
        "return unpack({}, -1e300, 1e300)",
        "return unpack({}, 0/0, 1)",
        "return unpack({}, 1, 0/0)",
        "return unpack({}, '1', '2147483647')",
        "return unpack({}, 2^32, 2^32 + 2^31)",
        "return bit.tohex(1, -2147483648)",
        "return string.format('%99.99f', -1e308)",
        "return string.format('%999d', 1)",
        "return string.format(('%'):rep(100) .. 's', 1)",
        "return ('x'):rep(-2147483648)",
        "return ('x'):rep(0/0)",
        "return ('x'):sub(-2147483648, 2147483647)",
        "return ('x'):byte(-2147483648, 2147483647)",
        "return ('x'):byte(1, 1e9)",
        "return string.char(unpack({}, 1, 5000))",
        "return table.concat({}, 'x', 1, 2147483647)",
        "return table.concat({'a'}, 'x', -2147483648, 2147483647)",
        "return table.remove({}, -2147483648)",
        "return select(-2147483648, 1)",
        "return select(2147483647, 1)",
        "string.rep = nil",
        "getmetatable('').__index = function() return 1 end",
        "getmetatable('').__add = function() return 1 end",
        "getmetatable('').__index.upper = nil",
        "setmetatable(getmetatable('').__index, {})",
        "rawset(getmetatable('').__index, 'upper', nil)",
        "rawset(getmetatable(_G), '__index', nil)",
        "getmetatable(_G).__index = nil",
        "getmetatable(getmetatable(_G)).__newindex = nil",
        "setmetatable(_G, nil)",
        "rawset(_G, 'pwned', 1)",
        "_G.pwned = 1",
        "pwned = 1",
        "function redis.call() end",
        "local r = redis r.call = nil",
        "table.insert(_G, 1)",
        "table.insert(redis, 1, 1)",
        "table.sort(redis)",
        "table.remove(_G)",
        "table.setn(_G, 10)",
        "for k, v in pairs(_G) do if type(v) == 'table' then v.pwned = 1 end end",
        "for k, v in pairs(_G) do if type(v) == 'table' then rawset(v, 'pwned', 1) end end",
        "for k, v in pairs(redis) do redis[k] = nil end",
        "next(_G).x = 1",
        "local _, at = pairs(string) at.rep = nil",
        "local _, at = pairs(_G) rawset(at, 'pwned', 1)",
        "local _, at = pairs(redis) at.call = nil",
        "getmetatable(setmetatable({}, string)).rep = nil",
        "rawset(getmetatable(setmetatable({}, getmetatable(_G))), '__index', nil)",
        "KEYS = nil",
        "_G.KEYS = nil",
        "setmetatable(KEYS, {__index = function() return 'x' end})",
        "KEYS.pwned = 1 ARGV[1] = 'pwned'",
        "redis.setresp(3)",
        "redis.set_repl(0)",
        "collectgarbage('stop')",
        "collectgarbage('setpause', 1e9)",
        "collectgarbage('setstepmul', 0)",
        "local f = coroutine.wrap(function() coroutine.yield() end) f()",
        "coroutine.wrap(function() redis.call('echo', 'x') coroutine.yield() end)()",
        "return setmetatable({}, {__gc = function() error('x') end})",
        "return setmetatable({}, {__tostring = function() error('x') end})",
        "error(setmetatable({}, {__tostring = function() error('x') end}))",
        "return {err = setmetatable({}, {__tostring = function() error('x') end})}",
        "return tostring(setmetatable({}, {__tostring = function() return {} end}))",
        "return string.gsub('x', 'x', _G)",
        "return ('x'):gsub('x', setmetatable({}, {__index = _G}))",
        "local t = setmetatable({}, {__index = _G, __newindex = _G}) t.pwned = 1",
        "local t = setmetatable({}, {__newindex = redis}) t.call = 1",
        "local t = setmetatable({}, {__newindex = getmetatable('')}) t.__index = 1",
        "return cjson.encode(_G)",
        "return cmsgpack.pack(_G)",
        "return xpcall(error, setmetatable)",
        "return pcall(pcall, pcall, pcall, error, {err = 'X'})",
        "return coroutine.resume(coroutine.running() or coroutine.create(function() end))",
    ] {
        run_with(&mut interpreter, body.as_bytes(), Protocol::Resp2, answer);
        assert_eq!(run(&mut interpreter, PROBE, Protocol::Resp2), before, "{body}");
    }
}

/// What a script sees of the world, as far as another could have changed it.
const PROBE: &str = "local seen = {} \
    for name, value in pairs(_G) do seen[#seen + 1] = name .. type(value) \
        if type(value) == 'table' and name ~= '_G' then \
            for key, of in pairs(value) do seen[#seen + 1] = name .. '.' .. tostring(key) .. type(of) end end end \
    table.sort(seen) \
    seen[#seen + 1] = type(getmetatable('').__index) .. ('x'):upper() .. type(getmetatable(_G)) .. type(getmetatable(redis)) \
    seen[#seen + 1] = tostring(pcall(function() return pwned end)) .. #KEYS .. #ARGV .. type(getmetatable(KEYS)) \
    seen[#seen + 1] = redis.call('echo', 'x') .. type(redis.call('raw', '*0\\r\\n')) \
    return seen";

#[test]
fn many_runs_leave_nothing_behind() {
    let mut interpreter = Interpreter::new();
    let body = "redis.setresp(3) local ok = pcall(redis.call, 'nothing') redis.pcall('nothing') \
        pcall(error, {}) pcall(redis.sha1hex) coroutine.wrap(function() redis.call('echo', 'x') end)() \
        return {redis.call('echo', #KEYS), {map = {a = 1}}}";
    let mut after = 0;
    for round in 0..6 {
        for _ in 0..500 {
            run(&mut interpreter, body, Protocol::Resp3);
            run(&mut interpreter, "error({err = 'x'})", Protocol::Resp2);
            run(&mut interpreter, "local t = nil; t.x = 1", Protocol::Resp2);
        }
        interpreter.collect();
        match round {
            0 => {}
            1 => after = interpreter.used_memory(),
            _ => assert!(
                interpreter.used_memory() < after + 16 * 1024,
                "{} of {after}",
                interpreter.used_memory()
            ),
        }
    }
}

/// What a run costs. `cargo test --release --lib script::tests::cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods, reason = "it measures time")]
fn cost() {
    const RUNS: u32 = 200_000;
    let mut interpreter = Interpreter::new();
    for body in ["return 1", "return redis.call('get', KEYS[1])", "return {KEYS[1], ARGV[1]}"] {
        let name = ScriptName::of(body.as_bytes());
        println!("{body}");
        interpreter.load(name, body.as_bytes()).expect("it compiles");
        let start = std::time::Instant::now();
        for _ in 0..RUNS {
            interpreter.begin(&Run {
                name,
                keys: &[b"key"],
                args: &[b"value"],
                protocol: Protocol::Resp2,
            });
            let mut step = interpreter.step(Answer::Go);
            while !matches!(step, Step::Done(_)) {
                step = interpreter.step(Answer::Reply(b"$5\r\nvalue\r\n"));
            }
        }
        println!("{body}: {:?} a run", start.elapsed() / RUNS);
    }
}
