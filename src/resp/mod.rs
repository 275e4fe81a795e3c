//! The wire protocol: RESP2 and RESP3, decoded and encoded without I/O.

mod batch;
mod decode;
mod encode;
mod inline;
mod quote;
mod value;
mod whole;

pub use batch::{ArgVec, Batch, Room};
pub use decode::{Decoder, Limits, ProtocolError};
pub(crate) use encode::encode_command;
pub use encode::{Deferred, Mark, Proto, ReplyBuf};
pub use inline::{Unbalanced, split_line};
pub(crate) use quote::quote;
pub use value::{ParseError, Value, parse_reply, reply_len};

#[cfg(test)]
mod tests;
