//! Scripts in Lua 5.1: an interpreter that knows nothing of the node around it.
//!
//! What a script wants done is asked for, and whoever runs it does that and answers.

mod library;
