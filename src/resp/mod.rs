//! The wire protocol: RESP2 and RESP3, decoded and encoded without I/O.

mod encode;

pub use encode::{Deferred, Mark, Proto, ReplyBuf};
