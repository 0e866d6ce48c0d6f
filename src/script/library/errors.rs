//! Errors that scripts see as text.
//!
//! A function of ours cannot raise a string: what it returns as an error is an object for Lua. So
//! it carries the text that the original would raise, with the place in the script in front, and
//! becomes that text where a script catches it, or where nobody did.

use mlua::{Error, Lua};
use std::fmt;
use std::sync::Arc;

/// A text on its way to whoever catches it. Bytes: an error can quote an argument.
#[derive(Debug)]
struct Raised(Vec<u8>);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl std::error::Error for Raised {}

/// The text that a library raised, if it was one.
pub(in crate::script) fn raised(error: &Error) -> Option<&[u8]> {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => raised(cause),
        Error::ExternalError(error) => error.downcast_ref::<Raised>().map(|text| &text.0[..]),
        _ => None,
    }
}

/// An error without a place in front: Lua's own words about what a function did.
pub(super) fn bare_error(text: impl AsRef<[u8]>) -> Error {
    Error::ExternalError(Arc::new(Raised(text.as_ref().to_vec())))
}

/// The error of the library function that runs: its text stands behind the line that called it.
pub(in crate::script) fn error(lua: &Lua, text: impl AsRef<[u8]>) -> Error {
    let place = lua.inspect_stack(1, |caller| {
        let line = caller.current_line()?;
        Some(format!("{}:{line}: ", caller.source().short_src.unwrap_or_default()))
    });
    let mut full = place.flatten().unwrap_or_default().into_bytes();
    full.extend_from_slice(text.as_ref());
    Error::ExternalError(Arc::new(Raised(full)))
}

/// The error of an argument, counted from 1, under the name that the script calls the function by.
pub(in crate::script) fn bad_argument(
    lua: &Lua,
    number: usize,
    problem: impl AsRef<[u8]>,
) -> Error {
    let called = lua.inspect_stack(0, |function| {
        let names = function.names();
        let method = names.name_what == Some("method");
        names.name.map(|name| (name.into_owned(), method))
    });
    let (name, method) = called.flatten().unwrap_or_else(|| ("?".to_owned(), false));
    let mut text = match number as isize - isize::from(method) {
        0 if method => format!("calling '{name}' on bad self ("),
        number => format!("bad argument #{number} to '{name}' ("),
    }
    .into_bytes();
    text.extend_from_slice(problem.as_ref());
    text.push(b')');
    error(lua, text)
}

/// Replaces what catches errors (`pcall`, `xpcall`, `coroutine.resume`, `coroutine.wrap`) among the
/// globals by what hands out the libraries' errors as text.
#[cfg(test)]
pub(in crate::script) fn catch_as_text(lua: &Lua) -> mlua::Result<()> {
    let text = lua.create_function(|lua, caught: mlua::Value| {
        let bytes = match &caught {
            mlua::Value::Error(error) => raised(error).map(<[u8]>::to_vec),
            _ => None,
        };
        bytes.map_or(Ok(caught), |bytes| Ok(mlua::Value::String(lua.create_string(bytes)?)))
    })?;
    lua.load(include_str!("catch.lua")).set_name("=catch").into_function()?.call(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lua() -> Lua {
        let lua = Lua::new();
        let fail = lua.create_function(|lua, text: mlua::LuaString| -> mlua::Result<()> {
            Err(error(lua, text.as_bytes()))
        });
        lua.globals().set("fail", fail.expect("a function")).expect("a global");
        catch_as_text(&lua).expect("it loads");
        lua
    }

    #[test]
    fn whoever_catches_an_error_gets_a_text() {
        let lua = lua();
        for (code, expected) in [
            ("local ok, e = pcall(fail, 'a\\255') return tostring(ok) .. e", &b"falsea\xff"[..]),
            ("local ok, e = pcall(function() fail('x') end) return e", b"s:1: x"),
            ("local ok, e = pcall(function() return fail('x') end) return e", b"s:1: x"),
            ("local ok, e = pcall(error, 'plain') return e", b"plain"),
            ("local ok, e = pcall(error, {7}) return tostring(e[1])", b"7"),
            ("local ok, a, b = pcall(function(...) return ... end, 1, 2) return a .. b", b"12"),
            (
                "local ok, e = xpcall(function() fail('x') end, function(e) return e .. '!' end) return e",
                b"s:1: x!",
            ),
            (
                "local ok, e = coroutine.resume(coroutine.create(function() fail('x') end)) return e",
                b"s:1: x",
            ),
            ("local ok, e = pcall(coroutine.wrap(function() error('x', 0) end)) return e", b"x"),
            ("return coroutine.wrap(function(a) return coroutine.yield(a) end)('y')", b"y"),
        ] {
            let result: mlua::LuaString =
                lua.load(code).set_name("=s").eval().unwrap_or_else(|e| panic!("{code}: {e}"));
            assert_eq!(&*result.as_bytes(), expected, "{code}");
        }
    }

    #[test]
    fn what_nobody_caught_is_told_to_whoever_runs_the_script() {
        let error = lua().load("\nfail('x')").set_name("=s").exec().expect_err("it fails");
        assert_eq!(raised(&error), Some(&b"s:2: x"[..]));
        assert_eq!(raised(&Error::RuntimeError("other".into())), None);
    }
}
