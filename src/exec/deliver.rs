//! Output that no call of a client asked for: messages, invalidations, what a monitor is shown.

use super::session::{SessionId, Sessions};
use super::{Action, System, output};
use crate::resp::{Proto, ReplyBuf};

/// Bytes to be sent to many clients, written once for each version of the protocol that one of them speaks.
pub(crate) struct Message<W: Fn(&mut ReplyBuf)> {
    write: W,
    resp2: Option<ReplyBuf>,
    resp3: Option<ReplyBuf>,
}

impl<W: Fn(&mut ReplyBuf)> Message<W> {
    /// A message that `write` writes.
    pub(crate) const fn new(write: W) -> Self {
        Self {
            write,
            resp2: None,
            resp3: None,
        }
    }

    /// The message in a version of the protocol.
    fn bytes(&mut self, proto: Proto) -> &[u8] {
        let written = match proto {
            Proto::Resp2 => &mut self.resp2,
            Proto::Resp3 => &mut self.resp3,
        };
        written
            .get_or_insert_with(|| {
                let mut out = ReplyBuf::new(proto);
                (self.write)(&mut out);
                out
            })
            .as_slice()
    }
}

/// Leaves a message in a client's outbox. What a client gets while it runs a command itself follows that command's reply.
/// A client that is going gets nothing any more, and one that has too much waiting goes.
pub(crate) fn deliver<W: Fn(&mut ReplyBuf)>(
    sys: &mut System,
    sessions: &mut Sessions,
    sid: SessionId,
    message: &mut Message<W>,
) {
    let Some(session) = sessions.get_mut(sid) else {
        return;
    };
    if session.closing {
        return;
    }
    let bytes = message.bytes(session.proto);
    let may_wait = output::may_wait(sys, session, sid, bytes.len());
    session.outbox.raw(bytes);
    if may_wait && sys.current != Some(sid) && !session.woken {
        session.woken = true;
        sys.actions.push(Action::Wake(sid));
    }
    sessions.recount(sid);
}
