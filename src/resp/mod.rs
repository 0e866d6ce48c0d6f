//! RESP2 and RESP3 over bytes: no I/O, no allocation where a frame is only passed on.

mod decode_reply;
mod decode_request;
mod encode;
mod error;
mod inline;
mod limits;
mod number;
mod reply;
mod request;

pub use crate::value::parse_i64;
pub use decode_reply::{ReplyScanner, parse_reply};
pub use decode_request::RequestDecoder;
pub use encode::{Encoder, OpenHead, Protocol, encode_args, encode_request};
pub use error::ProtocolError;
pub use inline::split_inline;
pub use limits::Limits;
pub use reply::Reply;
pub use request::{OwnedRequest, Request, Span};
