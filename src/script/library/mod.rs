//! The libraries that scripts have besides Lua's own.
