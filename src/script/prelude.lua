-- What scripts find around them: Lua's own functions behind the checks of the original, and tables
-- that nobody changes.
local caught, pause, redis, libraries, random, randomseed, long_pattern = ...

local error, type, select, tostring, tonumber = error, type, select, tostring, tonumber
local pcall, xpcall, next, pairs = pcall, xpcall, next, pairs
local rawget, rawset, unpack, loadstring = rawget, rawset, unpack, loadstring
local setmetatable, getmetatable = setmetatable, getmetatable
local collectgarbage = collectgarbage
local create, resume = coroutine.create, coroutine.resume
local insert, concat, foreach = table.insert, table.concat, table.foreach
local byte, find, sub, rep, gsub = string.byte, string.find, string.sub, string.rep, string.gsub
local match, gmatch = string.match, string.gmatch

local READONLY = "Attempt to modify a readonly table"
-- The longest string that `string.rep` makes, in bytes, and the longest text that `load` reads.
local STRING_MAX = 512 * 1024 * 1024
-- How often coroutines are resumed before whoever runs the script looks at the clock: each has
-- instructions of its own to run before its hook does that.
local RESUMED_MAX = 64

-- Tables that nobody changes are empty ones in front of those that they show, which no script may get
-- hold of.
local shown, fronts, metatables = {}, {}, {}

local function refuse()
    error(READONLY, 2)
end

local function freeze(fields, metatable)
    local front = setmetatable({}, {__index = fields, __newindex = refuse})
    shown[front] = fields
    fronts[fields] = front
    metatables[front] = metatable
    return front
end

local function kind(count, value)
    return count == 0 and "no value" or type(value)
end

-- The error of an argument of the function that calls this.
local function bad(number, name, problem)
    error("bad argument #" .. number .. " to '" .. name .. "' (" .. problem .. ")", 3)
end

local function expect(expected, number, name, count, value)
    if type(value) ~= expected then
        error("bad argument #" .. number .. " to '" .. name .. "' (" .. expected .. " expected, got "
            .. (count < number and "no value" or type(value)) .. ")", 3)
    end
end

-- Errors

local function told(failure)
    local value, ends = caught(failure)
    if ends then
        error(failure, 0)
    end
    return value
end

-- What Lua's own functions raise is said to have happened here, where they are called.
local function bare(text)
    if byte(text) == 40 then
        return (gsub(text, "^%(prelude%):%d+: ", ""))
    end
    return text
end

local function settled(ok, ...)
    if ok then
        return true, ...
    end
    local failure = ...
    if type(failure) == "userdata" then
        failure = told(failure)
    elseif type(failure) == "string" then
        failure = bare(failure)
    end
    return false, failure
end

-- What `pcall` hands out of an error that is a table is its text.
local function settled_as_text(ok, ...)
    if ok then
        return true, ...
    end
    local failure = ...
    if type(failure) == "userdata" then
        failure = told(failure)
    end
    if type(failure) == "string" then
        failure = bare(failure)
    elseif type(failure) == "table" then
        local text = failure.err
        if type(text) == "string" or type(text) == "number" then
            failure = text
        end
    end
    return false, failure
end

local base = {
    _VERSION = _VERSION, assert = assert, error = error, gcinfo = gcinfo, ipairs = ipairs,
    rawequal = rawequal, select = select, tonumber = tonumber, tostring = tostring, type = type,
}

function base.pcall(...)
    if select("#", ...) == 0 then
        return false, "attempt to call a boolean value"
    end
    return settled_as_text(pcall(...))
end

function base.xpcall(...)
    local run, handler = ...
    if select("#", ...) < 2 then
        bad(2, "xpcall", "value expected")
    end
    return settled(xpcall(run, function(failure)
        if type(failure) == "userdata" then
            local text, ends = caught(failure)
            if ends then
                return failure
            end
            failure = text
        elseif type(failure) == "string" then
            failure = bare(failure)
        end
        return handler(failure)
    end))
end

-- Tables

function base.next(...)
    local at, key = ...
    if type(at) ~= "table" then
        expect("table", 1, "next", select("#", ...), at)
    end
    return next(shown[at] or at, key)
end

function base.pairs(...)
    local at = ...
    if type(at) ~= "table" then
        expect("table", 1, "pairs", select("#", ...), at)
    end
    local fields = shown[at]
    if fields then
        return function(_, key)
            return next(fields, key)
        end, at, nil
    end
    return next, at, nil
end

function base.rawget(...)
    local at, key = ...
    if type(at) ~= "table" then
        expect("table", 1, "rawget", select("#", ...), at)
    end
    return rawget(shown[at] or at, key)
end

function base.rawset(...)
    local at, key, value = ...
    if type(at) ~= "table" then
        expect("table", 1, "rawset", select("#", ...), at)
    end
    if shown[at] then
        error(READONLY, 0)
    end
    return rawset(at, key, value)
end

function base.setmetatable(...)
    local at, metatable = ...
    if type(at) ~= "table" then
        expect("table", 1, "setmetatable", select("#", ...), at)
    end
    if shown[at] then
        error(READONLY, 0)
    end
    if metatable ~= nil and type(metatable) ~= "table" or select("#", ...) < 2 then
        bad(2, "setmetatable", "nil or table expected")
    end
    if shown[metatable] then
        metatable = shown[metatable]
    end
    return setmetatable(at, metatable)
end

local of_strings = getmetatable("")

function base.getmetatable(...)
    local of = ...
    if select("#", ...) == 0 then
        bad(1, "getmetatable", "value expected")
    end
    if shown[of] then
        return metatables[of]
    end
    local metatable = getmetatable(of)
    if metatable == of_strings then
        return metatables[of_strings]
    end
    return fronts[metatable] or metatable
end

function base.unpack(...)
    local from, first, last = ...
    if type(from) ~= "table" then
        expect("table", 1, "unpack", select("#", ...), from)
    end
    if first ~= nil or last ~= nil then
        local low = first == nil and 1 or tonumber(first)
        local high = last == nil and #from or tonumber(last)
        -- What is no number is told by the original. Its own arithmetic is that of C's `int`.
        if low and high and not (high < low) and not (low > -2 ^ 31 and high < 2 ^ 31 and high - low < 10000) then
            error("too many results to unpack", 2)
        end
    end
    return unpack(...)
end

-- What scripts are told of a collector that they do not steer.
local collector = {setpause = 200, setstepmul = 200}

function base.collectgarbage(...)
    local what, argument = ...
    if what == nil then
        what = "collect"
    end
    if what == "collect" or what == "count" or what == "step" then
        return collectgarbage(what, tonumber(argument))
    elseif what == "stop" or what == "restart" then
        return 0
    elseif what == "setpause" or what == "setstepmul" then
        local before = collector[what]
        collector[what] = tonumber(argument) or 0
        return before
    elseif type(what) ~= "string" and type(what) ~= "number" then
        expect("string", 1, "collectgarbage", 1, what)
    end
    bad(1, "collectgarbage", "invalid option '" .. what .. "'")
end

-- Code: never what `string.dump` made, and with a name that outlives its reading.

local function compile(text, name)
    if byte(text) == 27 then
        text = " " .. text
    end
    local ends = find(name, "%z")
    name = ends and sub(name, 1, ends - 1) or name
    return loadstring(text, name)
end

function base.loadstring(...)
    local text, name = ...
    if type(text) ~= "string" and type(text) ~= "number" then
        expect("string", 1, "loadstring", select("#", ...), text)
    elseif name ~= nil and type(name) ~= "string" and type(name) ~= "number" then
        expect("string", 2, "loadstring", 2, name)
    end
    text = tostring(text)
    return compile(text, name == nil and text or tostring(name))
end

function base.load(...)
    local read, name = ...
    if type(read) ~= "function" then
        expect("function", 1, "load", select("#", ...), read)
    elseif name ~= nil and type(name) ~= "string" and type(name) ~= "number" then
        expect("string", 2, "load", 2, name)
    end
    local pieces, count, length = {}, 0, 0
    while true do
        local ok, piece = settled(pcall(read))
        if not ok then
            return nil, piece
        elseif piece == nil or piece == "" then
            break
        elseif type(piece) ~= "string" and type(piece) ~= "number" then
            return nil, "reader function must return a string"
        end
        piece = tostring(piece)
        count, length = count + 1, length + #piece
        if length > STRING_MAX then
            return nil, "not enough memory"
        end
        pieces[count] = piece
    end
    return compile(concat(pieces), name == nil and "=(load)" or tostring(name))
end

-- Coroutines

local resumed = 0

local function count_resumed()
    resumed = resumed + 1
    if resumed >= RESUMED_MAX then
        resumed = 0
        pause()
    end
end

local coroutines = {
    create = create, running = coroutine.running, status = coroutine.status,
    yield = coroutine.yield,
}

function coroutines.resume(...)
    count_resumed()
    return settled(resume(...))
end

local function unwrapped(ok, ...)
    if ok then
        return ...
    end
    local failure = ...
    if type(failure) == "userdata" then
        failure = told(failure)
    elseif type(failure) == "string" then
        failure = bare(failure)
    end
    error(failure, type(failure) == "string" and 3 or 0)
end

function coroutines.wrap(...)
    local run = ...
    if type(run) ~= "function" then
        bad(1, "wrap", "Lua function expected")
    end
    local made = create(run)
    return function(...)
        count_resumed()
        return unwrapped(resume(made, ...))
    end
end

-- Strings

-- Matching goes as deep as a pattern has items that may match more than once.
local function simple(pattern)
    local _, deep = gsub(pattern, "[%?%*%+%-%(%)]", "")
    if deep > long_pattern then
        error("pattern too complex", 3)
    end
end

local function text_or_number(number, name, count, value)
    if type(value) ~= "string" and type(value) ~= "number" then
        error("bad argument #" .. number .. " to '" .. name .. "' (string expected, got "
            .. (count < number and "no value" or type(value)) .. ")", 3)
    end
end

local strings = {}
for name, value in pairs(string) do
    strings[name] = value
end

function strings.find(...)
    local text, pattern = ...
    if type(text) ~= "string" then
        text_or_number(1, "find", select("#", ...), text)
    end
    if type(pattern) ~= "string" then
        text_or_number(2, "find", select("#", ...), pattern)
    elseif #pattern > long_pattern then
        simple(pattern)
    end
    return find(...)
end

function strings.match(...)
    local text, pattern = ...
    if type(text) ~= "string" then
        text_or_number(1, "match", select("#", ...), text)
    end
    if type(pattern) ~= "string" then
        text_or_number(2, "match", select("#", ...), pattern)
    elseif #pattern > long_pattern then
        simple(pattern)
    end
    return match(...)
end

function strings.gmatch(...)
    local text, pattern = ...
    if type(text) ~= "string" then
        text_or_number(1, "gmatch", select("#", ...), text)
    end
    if type(pattern) ~= "string" then
        text_or_number(2, "gmatch", select("#", ...), pattern)
    elseif #pattern > long_pattern then
        simple(pattern)
    end
    return gmatch(...)
end

strings.gfind = strings.gmatch

function strings.gsub(...)
    local text, pattern, new = ...
    if type(text) ~= "string" then
        text_or_number(1, "gsub", select("#", ...), text)
    end
    if type(pattern) ~= "string" then
        text_or_number(2, "gsub", select("#", ...), pattern)
    elseif #pattern > long_pattern then
        simple(pattern)
    end
    local by = type(new)
    if by ~= "string" and by ~= "number" and by ~= "function" and by ~= "table" then
        bad(3, "gsub", "string/function/table expected")
    end
    return gsub(...)
end

function strings.rep(...)
    local text, times = ...
    local count = tonumber(times)
    if type(text) ~= "string" then
        text_or_number(1, "rep", select("#", ...), text)
        text = tostring(text)
    end
    if count == nil then
        expect("number", 2, "rep", select("#", ...), times)
    end
    -- As C casts it.
    if count >= 2 ^ 31 or count < -2 ^ 31 then
        count = count % 2 ^ 32
        count = count >= 2 ^ 31 and count - 2 ^ 32 or count
    end
    if text == "" or not (count >= 1) then
        return ""
    elseif #text * count > STRING_MAX then
        error("resulting string too large", 2)
    end
    return rep(text, count)
end

local tables = {}
for name, value in pairs(table) do
    tables[name] = value
end

function tables.insert(...)
    if shown[...] then
        error(READONLY, 0)
    end
    return insert(...)
end

function tables.foreach(...)
    local at, run = ...
    if type(at) == "table" and shown[at] then
        return foreach(shown[at], run)
    end
    return foreach(...)
end

local maths = {}
for name, value in pairs(math) do
    maths[name] = value
end
maths.random, maths.randomseed = random, randomseed

-- The globals

base.coroutine = freeze(coroutines)
base.string = freeze(strings)
base.table = freeze(tables)
base.math = freeze(maths)
base.redis = freeze(redis)
for name, library in pairs(libraries) do
    base[name] = freeze(library)
end
of_strings.__index = strings
metatables[of_strings] = freeze({__index = base.string})

local missing = {
    __index = function(_, name)
        error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
}
setmetatable(base, missing)
local globals = freeze(base, freeze(missing))
base._G = globals

local function run(script, handler)
    return xpcall(script, handler)
end

return globals, base, run, compile, next
