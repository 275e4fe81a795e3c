//! XPENDING, XCLAIM and XAUTOCLAIM.

use super::effects::Of;
use super::{
    INVALID_START, edit_group, end_id, lossy, no_group, put_entry, put_id, start_id, wire,
};
use crate::exec::args::{int, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Cursor, Effects, Flow};
use crate::keyspace::Edit;
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::spec::{Group as Family, KeySpec, Propagate, flag};
use crate::types::stream::{Bound, Claim, Claimed, Group, Stream, StreamId};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("xpending", -3, xpending)
        .since("5.0.0")
        .group(Family::Stream)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax(
            "key:key group [filters={[IDLE^min-idle-time:int@6.2.0] start end count:int [consumer]}]",
        )
        .summary("What is pending in a group: in short, or entry by entry.")
        .complexity("O(C) in short for C consumers; O(log P + N) for N of P entries, O(P) with IDLE")
        .history(&[("6.2.0", "Added `IDLE` and exclusive ids.")])
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("xclaim", -6, xclaim)
        .since("5.0.0")
        .group(Family::Stream)
        .write(Propagate::Explicit)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax(
            "key:key group consumer min-idle-time ID:string... [IDLE^ms:int] \
             [TIME^unix-time-milliseconds:unix-time] [RETRYCOUNT^count:int] [FORCE] [JUSTID] [LASTID^lastid]",
        )
        .summary("Make a consumer the owner of pending entries.")
        .complexity("O(log P) for each id among P pending ones")
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("xautoclaim", -6, xautoclaim)
        .since("6.2.0")
        .group(Family::Stream)
        .write(Propagate::Explicit)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax("key:key group consumer min-idle-time start [COUNT^count:int] [JUSTID]")
        .summary("Make a consumer the owner of pending entries that have been idle for long.")
        .complexity("O(log P) for each of up to ten times COUNT entries looked at among P pending ones")
        .history(&[("7.0.0", "Deleted entries are listed apart.")])
        .tips(&["nondeterministic_output"])
        .checked(),
];

/// What XPENDING lists entry by entry.
struct Listing<'a> {
    min_idle: i64,
    start: StreamId,
    end: StreamId,
    count: u64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Listing<'a> {
    fn parse(args: Args<'a>) -> Result<Option<Self>, CmdError> {
        if args.len() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&args.len()) {
            return Err(CmdError::SYNTAX);
        }
        let (mut at, mut min_idle) = (3, 0);
        if is(args.at(3), "IDLE") {
            min_idle = args.int(4)?;
            if args.len() < 8 {
                return Err(CmdError::SYNTAX);
            }
            at = 5;
        }
        let count = u64::try_from(args.int(at + 2)?).unwrap_or(0);
        Ok(Some(Self {
            min_idle,
            start: start_id(args.at(at))?,
            end: end_id(args.at(at + 1))?,
            count,
            consumer: args.get(at + 3),
        }))
    }

    fn put(&self, reply: &mut ReplyBuf, group: &Group, now: i64) {
        let of = self.consumer.map(|name| group.find_consumer(name));
        // A consumer that is not there has nothing; nor is there anything when not even the oldest is idle.
        let nothing =
            of == Some(None) || (self.min_idle > 0 && !group.has_idle(self.min_idle, now));
        if nothing {
            return reply.array(0);
        }
        let (out, mut n) = (reply.deferred_array(), 0);
        for (id, pending) in group.pending_range(self.start, self.end, of.flatten()) {
            if n == self.count {
                break;
            }
            let idle = pending.idle(now);
            if idle >= 0 && idle < self.min_idle {
                continue;
            }
            n += 1;
            let owner = pending.owner().and_then(|no| group.consumer(no));
            reply.array(4);
            put_id(reply, id);
            reply.bulk(owner.map_or(b"", |c| c.name()));
            reply.int(idle);
            reply.int(wire(pending.count()));
        }
        out.finish(reply, usize::try_from(n).unwrap_or(usize::MAX));
    }
}

fn xpending(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let listing = Listing::parse(args)?;
    let (key, name) = (args.at(1), args.at(2));
    let stream = cx.ks.read::<Stream>(key)?;
    let group = stream
        .and_then(|s| s.group(name))
        .ok_or_else(|| no_group(key, name))?;
    match listing {
        Some(listing) => listing.put(cx.reply, group, cx.now),
        None => put_summary(cx.reply, group),
    }
    Ok(Flow::Done)
}

fn put_summary(reply: &mut ReplyBuf, group: &Group) {
    reply.array(4);
    reply.int(i64::try_from(group.pending_len()).unwrap_or(i64::MAX));
    let Some((first, last)) = group.pending_edges() else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    put_id(reply, first);
    put_id(reply, last);
    let (out, mut n) = (reply.deferred_array(), 0);
    for (_, consumer) in group.consumers().filter(|(_, c)| c.pending() > 0) {
        n += 1;
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk(consumer.pending().to_string().as_bytes());
    }
    out.finish(reply, n);
}

/// The options of XCLAIM.
#[derive(Default)]
struct Options {
    time: Option<i64>,
    count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl Options {
    fn parse(mut rest: Cursor<'_>, now: i64, replays: bool) -> Result<Self, CmdError> {
        let mut o = Self::default();
        while let Some(word) = rest.next() {
            let more = rest.left() > 0;
            if is(word, "FORCE") {
                o.force = true;
            } else if is(word, "JUSTID") {
                o.just_id = true;
            } else if is(word, "IDLE") && more {
                o.time = Some(now.wrapping_sub(number(rest.word()?, "IDLE option")?));
            } else if is(word, "TIME") && more {
                o.time = Some(number(rest.word()?, "TIME option")?);
            } else if is(word, "RETRYCOUNT") && more {
                o.count = u64::try_from(number(rest.word()?, "RETRYCOUNT option")?).ok();
            } else if is(word, "LASTID") && more {
                o.last_id = StreamId::parse(rest.word()?, 0)?;
            } else {
                return Err(CmdError::new(format!(
                    "ERR Unrecognized XCLAIM option '{}'",
                    lossy(word)
                )));
            }
        }
        // A time that cannot be is taken for the present one, as clocks of clients differ. -1 means none. What is replayed
        // is what it was, though the clock of a leader may be ahead of ours.
        let latest = if replays { i64::MAX } else { now };
        o.time = o.time.filter(|t| (0..=latest).contains(t));
        Ok(o)
    }
}

fn number(text: &[u8], what: &str) -> Result<i64, CmdError> {
    int(text).map_err(|_| CmdError::new(format!("ERR Invalid {what} argument for XCLAIM")))
}

/// What a claim has changed.
struct Changes {
    claimed: Vec<StreamId>,
    dropped: Vec<StreamId>,
    /// The consumer is new.
    created: bool,
    /// The last delivered id was set.
    moved: bool,
}

impl Changes {
    /// Logs the changes and ends the edit.
    fn finish(&self, fx: &mut Effects, edit: Edit<'_, Stream>, of: Of<'_>, consumer: &[u8]) {
        if let (Some(group), true) = (edit.group(of.group), fx.wanted()) {
            if self.created && self.claimed.is_empty() {
                of.consumer(fx, consumer);
            }
            self.dropped
                .iter()
                .chain(&self.claimed)
                .for_each(|id| of.pending(fx, group, *id));
            // Whoever does it again takes a new last id for what XREADGROUP has delivered, which counts as read.
            if self.moved {
                of.position(fx, group);
            }
        }
        let n = self.claimed.len()
            + self.dropped.len()
            + usize::from(self.created)
            + usize::from(self.moved);
        let event = self
            .created
            .then_some(Event::stream("xgroup-createconsumer"));
        match u64::try_from(n) {
            Ok(0) | Err(_) => edit.unchanged(),
            Ok(n) => edit.quiet(n, event),
        }
    }

    /// Writes the claimed entries, or their ids.
    fn put(&self, reply: &mut ReplyBuf, stream: &Stream, just_id: bool) {
        reply.array(self.claimed.len());
        for id in &self.claimed {
            match stream.log().get(*id) {
                Some(entry) if !just_id => put_entry(reply, entry.id, entry.fields),
                _ => put_id(reply, *id),
            }
        }
    }
}

fn xclaim(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (now, replays) = (cx.now, cx.ks.replays());
    let of = Of {
        key: args.at(1),
        group: args.at(2),
    };
    let open = edit_group(cx.ks, of.key, of.group)?;
    let mut edit = open.ok_or_else(|| no_group(of.key, of.group))?;
    let min_idle = number(args.at(4), "min-idle-time")?;
    let ids: Vec<_> = args
        .from(5)
        .iter()
        .map_while(|t| StreamId::parse(t, 0).ok())
        .collect();
    let options = Options::parse(args.cursor(5 + ids.len()), now, replays)?;
    let changes = edit.get_mut().with_group(of.group, |log, group| {
        if replays {
            group.catch_up(log, options.last_id);
        }
        let moved = group.advance_to(options.last_id);
        let (to, created) = group.add_consumer(args.at(3), now);
        group.touch(to, now);
        let terms = Claim {
            to,
            min_idle,
            time: options.time.unwrap_or(now),
            count: options.count,
            force: options.force,
            just_id: options.just_id,
            now,
        };
        let mut changes = Changes {
            claimed: vec![],
            dropped: vec![],
            created,
            moved,
        };
        for id in ids {
            match group.claim(log, id, &terms) {
                Claimed::Yes => changes.claimed.push(id),
                Claimed::Dropped => changes.dropped.push(id),
                Claimed::No => {}
            }
        }
        changes
    });
    let Some(changes) = changes else {
        edit.unchanged();
        return Err(no_group(of.key, of.group));
    };
    changes.put(cx.reply, &edit, options.just_id);
    changes.finish(cx.fx, edit, of, args.at(3));
    Ok(Flow::Done)
}

fn xautoclaim(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    const BAD_COUNT: CmdError = CmdError::fixed("ERR COUNT must be > 0");
    let now = cx.now;
    // The key is read before anything else is found wrong, as in Redis; that it holds another type is found last.
    cx.ks.read_any(args.at(1));
    let bad_idle = || CmdError::fixed("ERR Invalid min-idle-time argument for XAUTOCLAIM");
    let min_idle = int(args.at(4)).map_err(|_| bad_idle())?;
    let start = Bound::parse(args.at(5), 0)?
        .as_start()
        .ok_or(INVALID_START)?;
    let (mut count, mut just_id) = (100, false);
    let mut rest = args.cursor(6);
    while let Some(word) = rest.next() {
        if is(word, "COUNT") && rest.left() > 0 {
            // Redis's limit: as many as fit an array of ids.
            let n = int(rest.word()?)
                .ok()
                .filter(|n| (1..=i64::MAX / 16).contains(n));
            count = n.ok_or(BAD_COUNT)?.unsigned_abs();
        } else if is(word, "JUSTID") {
            just_id = true;
        } else {
            return Err(CmdError::SYNTAX);
        }
    }
    let of = Of {
        key: args.at(1),
        group: args.at(2),
    };
    let open = cx.ks.edit::<Stream>(of.key)?;
    let mut edit = open
        .filter(|s| s.group(of.group).is_some())
        .ok_or_else(|| no_group(of.key, of.group))?;
    let found = edit.get_mut().with_group(of.group, |log, group| {
        let (to, created) = group.add_consumer(args.at(3), now);
        group.touch(to, now);
        let terms = Claim {
            to,
            min_idle,
            time: now,
            count: None,
            force: false,
            just_id,
            now,
        };
        (group.autoclaim(log, start, count, &terms), created)
    });
    let Some((found, created)) = found else {
        edit.unchanged();
        return Err(no_group(of.key, of.group));
    };
    let changes = Changes {
        claimed: found.claimed,
        dropped: found.dropped,
        created,
        moved: false,
    };
    cx.reply.array(3);
    put_id(cx.reply, found.cursor);
    changes.put(cx.reply, &edit, just_id);
    cx.reply.array(changes.dropped.len());
    changes.dropped.iter().for_each(|id| put_id(cx.reply, *id));
    changes.finish(cx.fx, edit, of, args.at(3));
    Ok(Flow::Done)
}
