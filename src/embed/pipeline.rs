//! Many commands at once.

use super::CallError;
use super::caller::{Caller, Reply};

/// Arguments that are made into slices at once: more commands than one hold of the lock takes are of no use.
const COMMANDS: usize = 256;

/// Commands, and what has come of those that have run.
pub(super) struct Pipeline<W> {
    /// The arguments of all of them.
    words: Vec<W>,
    /// Where those of each command end.
    ends: Vec<usize>,
    replies: Vec<Reply>,
}

impl<W: AsRef<[u8]>> Pipeline<W> {
    pub(super) fn new<P>(commands: P) -> Self
    where
        P: IntoIterator<Item: IntoIterator<Item = W>>,
    {
        let mut words = Vec::new();
        let end = |command: P::Item| {
            words.extend(command);
            words.len()
        };
        let ends: Vec<usize> = commands.into_iter().map(end).collect();
        Self {
            words,
            replies: Vec::with_capacity(ends.len()),
            ends,
        }
    }

    /// Goes on; whether all have been answered. If not, the caller's bell will ring.
    pub(super) fn go_on(&mut self, caller: &mut Caller) -> bool {
        loop {
            if !caller.go_on(|reply| self.replies.push(reply)) {
                return false;
            }
            if self.replies.len() >= self.ends.len() {
                return true;
            }
            if let Err(error) = self.run(caller) {
                self.replies.resize(self.ends.len(), Err(error));
            }
        }
    }

    pub(super) fn into_replies(self) -> Vec<Reply> {
        self.replies
    }

    fn run(&mut self, caller: &mut Caller) -> Result<(), CallError> {
        let ran = self.replies.len();
        let begin = |i: usize| i.checked_sub(1).and_then(|i| self.ends.get(i).copied());
        let begins = begin(ran).unwrap_or(0);
        let ends = self.ends.iter().skip(ran).take(COMMANDS);
        let last = ends.clone().next_back().copied().unwrap_or(begins);
        let words = self.words.get(begins..last).unwrap_or_default();
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let mut from = 0;
        let mut commands = ends
            .map(|end| {
                let to = end - begins;
                words
                    .get(std::mem::replace(&mut from, to)..to)
                    .unwrap_or_default()
            })
            .take_while(|command| !command.is_empty())
            .peekable();
        match commands.peek() {
            Some(_) => drop(caller.run(commands)?),
            None => self.replies.push(Err(CallError::Empty)),
        }
        Ok(())
    }
}
