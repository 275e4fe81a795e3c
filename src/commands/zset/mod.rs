//! Sorted sets: adding, reading, ranges, removing, set algebra, walks, and waiting for members.

pub(super) mod add;
pub(super) mod algebra;
pub(super) mod pop;
pub(super) mod range;
pub(super) mod read;
pub(super) mod remove;
pub(super) mod walk;

use crate::ds::listpack::Value;
use crate::exec::{CmdError, Ctx};
use crate::resp::ReplyBuf;
use crate::types::zset::Limits;

/// The limits of encodings as they are configured.
pub(super) fn limits(cx: &Ctx<'_>) -> Limits {
    crate::exec::limits(cx.sys, cx.ks.seed()).zset
}

/// The ends of a range of scores are none.
const NOT_SCORES: CmdError = CmdError::fixed("ERR min or max is not a float");
/// The ends of a range of members are none.
const NOT_MEMBERS: CmdError = CmdError::fixed("ERR min or max not valid string range item");

/// Writes a member.
#[inline]
fn put(reply: &mut ReplyBuf, member: Value<'_>) {
    match member {
        Value::Int(n) => reply.bulk_int(n),
        Value::Str(s) => reply.bulk(s),
    }
}

/// How members are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Without their scores.
    Bare,
    /// Each followed by its score.
    Flat,
    /// Each in a pair with its score.
    Pairs,
}

impl Layout {
    /// With scores if asked for: in pairs where the protocol has doubles to put in.
    fn of(reply: &ReplyBuf, with_scores: bool) -> Self {
        match (with_scores, reply.is_resp3()) {
            (false, _) => Self::Bare,
            (true, false) => Self::Flat,
            (true, true) => Self::Pairs,
        }
    }

    /// Writes the header for `n` members.
    fn begin(self, reply: &mut ReplyBuf, n: usize) {
        let each = if self == Self::Flat { 2 } else { 1 };
        reply.array(n.saturating_mul(each));
    }

    /// Writes a member.
    #[inline]
    fn put(self, reply: &mut ReplyBuf, member: Value<'_>, score: f64) {
        if self == Self::Pairs {
            reply.array(2);
        }
        put(reply, member);
        if self != Self::Bare {
            reply.double(score);
        }
    }
}
