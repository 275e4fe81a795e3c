//! What LMPOP and ZMPOP and their blocking forms have in common: several keys, an end, a count.

use crate::exec::args::{int, is};
use crate::exec::{Args, Block, CmdError, Flow, TimeoutReply, Wake};

/// `numkeys key [key ...] end [COUNT count]`.
pub(super) struct Several<'a, E> {
    /// The keys, to be looked at in this order.
    pub(super) keys: &'a [&'a [u8]],
    /// From which end.
    pub(super) end: E,
    /// At most so many elements.
    pub(super) count: usize,
}

impl<'a, E> Several<'a, E> {
    /// Reads the arguments from `at` on; `end` reads the word that says which end.
    pub(super) fn parse(
        args: Args<'a>,
        at: usize,
        end: fn(&[u8]) -> Result<E, CmdError>,
    ) -> Result<Self, CmdError> {
        let numkeys = positive(args.at(at), "ERR numkeys should be greater than 0")?;
        let rest = args.from(at + 1);
        let (keys, options) = rest.split_at_checked(numkeys).ok_or(CmdError::SYNTAX)?;
        let (word, options) = options.split_first().ok_or(CmdError::SYNTAX)?;
        let end = end(word)?;
        let count = match *options {
            [] => 1,
            [word, count, ref more @ ..] if is(word, "COUNT") => {
                let count = positive(count, "ERR count should be greater than 0")?;
                if !more.is_empty() {
                    return Err(CmdError::SYNTAX);
                }
                count
            }
            _ => return Err(CmdError::SYNTAX),
        };
        Ok(Self { keys, end, count })
    }
}

fn positive(text: &[u8], error: &'static str) -> Result<usize, CmdError> {
    let n = int(text).ok().and_then(|n| usize::try_from(n).ok());
    n.filter(|n| *n > 0).ok_or(CmdError::fixed(error))
}

/// Waits until one of the keys holds a value of this type, and then runs the same again.
pub(super) fn wait_for(
    type_name: &'static str,
    keys: &[&[u8]],
    deadline: Option<i64>,
    timeout_reply: TimeoutReply,
    args: Args<'_>,
) -> Flow {
    Flow::Block(Box::new(Block {
        keys: keys.iter().map(|key| key.to_vec()).collect(),
        deadline,
        retry_at: None,
        argv: args.to_argv(),
        wake: Wake::Type(type_name),
        timeout_reply,
    }))
}
