//! XREAD and XREADGROUP, blocking ones too.
//!
//! A blocked reader is run again when one of its streams changes. What is relative to the moment it blocked
//! (`$`, `+`) is replaced by the id it stood for then.

use super::effects::Of;
use super::{lossy, put_entry, put_fields, put_id};
use crate::exec::args::{int, is};
use crate::exec::{
    Args, Block, CmdError, CmdResult, Command, Ctx, Flow, Origin, TimeoutReply, Wake,
};
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::spec::{Group as Family, KeySpec, Propagate, flag};
use crate::types::DataType;
use crate::types::stream::{ConsumerNo, Deliver, Delivered, Hit, Stream, StreamId};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("xread", -4, xread)
        .since("5.0.0")
        .group(Family::Stream)
        .read()
        .flags(&[flag::BLOCKING])
        .keys(&[KeySpec::keyword("STREAMS", 1).range(-1, 1, 2).ro().access()])
        .syntax(
            "[COUNT^count:int] [MAXCOUNT^maxcount:int@8.10.0] [MAXSIZE^maxsize:int@8.10.0] \
             [BLOCK^milliseconds:int] STREAMS^streams={key:key... ID:string...=key}",
        )
        .summary("Entries of one or more streams above given ids; waits for them if asked to.")
        .complexity("O(log M + N) for each stream, with M nodes and N entries returned")
        .history(&[("8.10.0", "Added `MAXCOUNT` and `MAXSIZE`.")])
        .checked(),
    Command::new("xreadgroup", -7, xreadgroup)
        .since("5.0.0")
        .group(Family::Stream)
        .write(Propagate::Explicit)
        .flags(&[flag::BLOCKING])
        .keys(&[KeySpec::keyword("STREAMS", 4).range(-1, 1, 2).ro().access()])
        .syntax(
            "GROUP^group-block={group consumer} [COUNT^count:int] [MAXCOUNT^maxcount:int@8.10.0] \
             [MAXSIZE^maxsize:int@8.10.0] [BLOCK^milliseconds:int] [CLAIM^min-idle-time:int@8.4.0] [NOACK] \
             STREAMS^streams={key:key... ID:string...=key}",
        )
        .summary("Deliver new or pending entries to a consumer of a group; waits for new ones if asked to.")
        .complexity("O(log M + N) for each stream, with M nodes and N entries delivered")
        .history(&[
            ("8.4.0", "Added `CLAIM`."),
            ("8.10.0", "Added `MAXCOUNT` and `MAXSIZE`."),
        ])
        .checked(),
];

const DOLLAR_IN_GROUP: CmdError = CmdError::fixed(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer \
     by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty \
     result set.",
);
const NEW_WITHOUT_GROUP: CmdError = CmdError::fixed(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);

/// What the two commands take.
#[derive(Default)]
struct Request<'a> {
    count: Option<u64>,
    max_count: Option<u64>,
    max_size: Option<usize>,
    /// Milliseconds; 0 is for ever.
    block: Option<i64>,
    /// Group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    noack: bool,
    claim: Option<i64>,
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
    /// Position of the first id among the arguments.
    ids_at: usize,
}

impl<'a> Request<'a> {
    fn parse(cx: &Ctx<'_>, args: Args<'a>, of_group: bool) -> Result<Self, CmdError> {
        let mut req = Self::default();
        let mut rest = args.cursor(1);
        while let Some(word) = rest.next() {
            let more = rest.left();
            if is(word, "BLOCK") && more > 0 {
                if matches!(cx.origin, Origin::Script { .. }) {
                    let name = lossy(args.at(0));
                    let text =
                        format!("ERR {name} command is not allowed with BLOCK option from scripts");
                    return Err(CmdError::new(text));
                }
                req.block = Some(timeout(rest.word()?, cx.now)?);
            } else if is(word, "COUNT") && more > 0 {
                // Zero, or less, is no limit.
                req.count = u64::try_from(rest.int()?).ok().filter(|n| *n > 0);
            } else if is(word, "MAXCOUNT") && more > 0 {
                req.max_count = Some(positive(
                    rest.int()?,
                    "ERR maxcount must be a positive integer",
                )?);
            } else if is(word, "MAXSIZE") && more > 0 {
                let max = positive(rest.int()?, "ERR maxsize must be a positive integer")?;
                req.max_size = Some(usize::try_from(max).unwrap_or(usize::MAX));
            } else if is(word, "STREAMS") && more > 0 {
                req.take_streams(args, rest.position(), of_group)?;
                break;
            } else if is(word, "GROUP") && more > 1 {
                only_in_group("GROUP", of_group)?;
                req.group = Some((rest.word()?, rest.word()?));
            } else if is(word, "NOACK") {
                only_in_group("NOACK", of_group)?;
                req.noack = true;
            } else if is(word, "CLAIM") && more > 0 {
                only_in_group("CLAIM", of_group)?;
                req.claim = Some(min_idle(rest.word()?)?);
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        if req.keys.is_empty() {
            return Err(CmdError::SYNTAX);
        }
        if of_group && req.group.is_none() {
            return Err(CmdError::fixed("ERR Missing GROUP option for XREADGROUP"));
        }
        if let (Some(max), Some(count)) = (req.max_count, req.count)
            && max < count
        {
            return Err(CmdError::fixed(
                "ERR maxcount must be greater than or equal to count",
            ));
        }
        Ok(req)
    }

    fn take_streams(&mut self, args: Args<'a>, at: usize, of_group: bool) -> Result<(), CmdError> {
        let all = args.from(at);
        if !all.len().is_multiple_of(2) {
            let (name, last) = if of_group {
                ("xreadgroup", '>')
            } else {
                ("xread", '$')
            };
            return Err(CmdError::new(format!(
                "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{last}' must be specified."
            )));
        }
        (self.keys, self.ids) = all.split_at(all.len() / 2);
        self.ids_at = at + self.keys.len();
        Ok(())
    }

    fn streams<T: Copy>(&self, from: &[T]) -> impl Iterator<Item = (&'a [u8], T)> {
        self.keys.iter().copied().zip(from.iter().copied())
    }

    /// What to wait for, with relative ids replaced by what they stand for; none without BLOCK.
    fn waits(&self, cx: &Ctx<'_>, args: Args<'_>, wake: Wake) -> Option<Block> {
        let ms = self.block?;
        Some(Block {
            keys: self.keys.iter().map(|k| k.to_vec()).collect(),
            deadline: (ms > 0).then(|| cx.now.saturating_add(ms)),
            retry_at: None,
            argv: args.to_argv(),
            wake,
            timeout_reply: TimeoutReply::NullArray,
        })
    }
}

fn only_in_group(option: &str, of_group: bool) -> Result<(), CmdError> {
    if of_group {
        return Ok(());
    }
    let text = format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    );
    Err(CmdError::new(text))
}

fn positive(n: i64, text: &'static str) -> Result<u64, CmdError> {
    u64::try_from(n)
        .ok()
        .filter(|n| *n > 0)
        .ok_or(CmdError::fixed(text))
}

fn min_idle(text: &[u8]) -> Result<i64, CmdError> {
    let ms = int(text).map_err(|_| CmdError::fixed("ERR min-idle-time is not an integer"))?;
    if ms < 0 {
        return Err(CmdError::fixed(
            "ERR min-idle-time must be a positive integer",
        ));
    }
    Ok(ms)
}

/// The argument of BLOCK.
fn timeout(text: &[u8], now: i64) -> Result<i64, CmdError> {
    let ms = int(text).map_err(|_| CmdError::TIMEOUT_NOT_INTEGER)?;
    if ms < 0 {
        return Err(CmdError::TIMEOUT_NEGATIVE);
    }
    if ms > i64::MAX - now {
        return Err(CmdError::TIMEOUT_RANGE);
    }
    Ok(ms)
}

/// How much of the whole reply is left.
struct Budget {
    entries: u64,
    start: usize,
    bytes: usize,
}

impl Budget {
    fn new(req: &Request<'_>, reply: &ReplyBuf) -> Self {
        Self {
            entries: req.max_count.unwrap_or(u64::MAX),
            start: reply.len(),
            bytes: req.max_size.unwrap_or(usize::MAX),
        }
    }

    /// Counts an entry; whether there is room for more.
    fn spend(&mut self, reply: &ReplyBuf) -> bool {
        self.entries -= 1;
        !self.is_spent(reply)
    }

    fn is_spent(&self, reply: &ReplyBuf) -> bool {
        self.entries == 0 || reply.len() - self.start >= self.bytes
    }

    /// Entries that one stream may give.
    fn limit(&self, req: &Request<'_>) -> Option<u64> {
        match req.count.unwrap_or(u64::MAX).min(self.entries) {
            u64::MAX => None,
            n => Some(n),
        }
    }
}

/// Writes a stream's name, then its entries with `fill`, which gives their number; nothing remains of it when
/// that is `None`. Whether something was written.
fn put_stream(
    reply: &mut ReplyBuf,
    key: &[u8],
    fill: impl FnOnce(&mut ReplyBuf) -> Option<usize>,
) -> usize {
    let mark = reply.mark();
    if !reply.is_resp3() {
        reply.array(2);
    }
    reply.bulk(key);
    let out = reply.deferred_array();
    match fill(reply) {
        Some(n) => {
            out.finish(reply, n);
            1
        }
        None => {
            reply.rollback(mark);
            0
        }
    }
}

fn put_streams<E>(
    cx: &mut Ctx<'_>,
    fill: impl FnOnce(&mut Ctx<'_>) -> Result<usize, E>,
) -> Result<bool, E> {
    let mark = cx.reply.mark();
    let out = if cx.reply.is_resp3() {
        cx.reply.deferred_map()
    } else {
        cx.reply.deferred_array()
    };
    let n = fill(cx)?;
    if n > 0 {
        out.finish(cx.reply, n);
    } else {
        cx.reply.rollback(mark);
    }
    Ok(n > 0)
}

/// Where XREAD starts in a stream.
#[derive(Clone, Copy)]
enum From {
    /// Above this id, which the argument gives or (`true`) stands for.
    Above(StreamId, bool),
    /// At the last entry; once waiting, above this id.
    Last(StreamId),
}

impl From {
    fn resolve(cx: &Ctx<'_>, key: &[u8], id: &[u8]) -> Result<Self, CmdError> {
        let stream = cx.ks.read::<Stream>(key)?;
        let last = stream.map_or(StreamId::MIN, |s| s.log().last_id());
        Ok(match id {
            b"$" => Self::Above(last, true),
            b"+" => Self::Last(last),
            b">" => return Err(NEW_WITHOUT_GROUP),
            _ => Self::Above(StreamId::parse(id, 0)?, false),
        })
    }

    fn resolved(self) -> Option<StreamId> {
        match self {
            Self::Above(id, relative) => relative.then_some(id),
            Self::Last(id) => Some(id),
        }
    }
}

fn xread(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let req = Request::parse(cx, args, false)?;
    let pairs = req.streams(req.ids);
    let from = pairs
        .map(|(key, id)| From::resolve(cx, key, id))
        .collect::<Result<Vec<_>, _>>()?;
    let found = put_streams(cx, |cx| -> Result<usize, CmdError> {
        let mut budget = Budget::new(&req, cx.reply);
        let mut n = 0;
        for (key, from) in req.streams(&from) {
            if budget.is_spent(cx.reply) {
                break;
            }
            // Looked up for the second time, and missed for the second time, as in Redis.
            if let Some(stream) = cx.ks.read::<Stream>(key)? {
                n += put_stream(cx.reply, key, |reply| {
                    put_above(reply, stream, from, &req, &mut budget)
                });
            }
        }
        Ok(n)
    })?;
    if found {
        return Ok(Flow::Done);
    }
    if let Some(mut block) = req.waits(cx, args, Wake::Type(Stream::NAME)) {
        for (at, from) in (req.ids_at..).zip(from) {
            if let (Some(id), Some(arg)) = (from.resolved(), block.argv.get_mut(at)) {
                *arg = id.to_string().into_bytes();
            }
        }
        return Ok(Flow::Block(Box::new(block)));
    }
    cx.reply.null_array();
    Ok(Flow::Done)
}

/// Writes what a stream has from a place on; none if nothing.
fn put_above(
    reply: &mut ReplyBuf,
    stream: &Stream,
    from: From,
    req: &Request<'_>,
    budget: &mut Budget,
) -> Option<usize> {
    let (start, count) = match from {
        From::Above(id, _) => (id.next()?, budget.limit(req)),
        From::Last(_) => (stream.log().last_entry()?.id, Some(1)),
    };
    let mut n = 0;
    for entry in stream.log().range(start, StreamId::MAX) {
        put_entry(reply, entry.id, entry.fields);
        n += 1;
        if !budget.spend(reply) || count == Some(n) {
            break;
        }
    }
    usize::try_from(n).ok().filter(|n| *n > 0)
}

fn xreadgroup(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let req = Request::parse(cx, args, true)?;
    let Some((group, consumer)) = req.group else {
        return Err(CmdError::SYNTAX);
    };
    let pairs = req.streams(req.ids);
    let ids = pairs
        .map(|(key, id)| above(cx, key, group, id))
        .collect::<Result<Vec<_>, _>>()?;
    let mut retry_at = None;
    let found = put_streams(cx, |cx| -> Result<usize, CmdError> {
        let mut budget = Budget::new(&req, cx.reply);
        let mut n = 0;
        for (key, id) in req.streams(&ids) {
            if budget.is_spent(cx.reply) {
                break;
            }
            let read = Read {
                of: Of { key, group },
                consumer,
                above: id,
                now: cx.now,
            };
            n += read.serve(cx, &req, &mut budget, &mut retry_at)?;
        }
        Ok(n)
    })?;
    if found {
        return Ok(Flow::Done);
    }
    if let Some(block) = req.waits(cx, args, Wake::TypeOrGone(Stream::NAME)) {
        return Ok(Flow::Block(Box::new(Block { retry_at, ..block })));
    }
    cx.reply.null_array();
    Ok(Flow::Done)
}

/// Above which id XREADGROUP reads what is pending; none for `>`. Redis keeps `>` as the greatest id, so that
/// this id means the same.
fn above(cx: &Ctx<'_>, key: &[u8], group: &[u8], id: &[u8]) -> Result<Option<StreamId>, CmdError> {
    let stream = cx.ks.read::<Stream>(key)?;
    if stream.and_then(|s| s.group(group)).is_none() {
        return Err(CmdError::new(format!(
            "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
            lossy(key),
            lossy(group)
        )));
    }
    match id {
        b"$" => Err(DOLLAR_IN_GROUP),
        b">" => Ok(None),
        _ => Ok(Some(StreamId::parse(id, 0)?).filter(|id| *id != StreamId::MAX)),
    }
}

/// One stream of an XREADGROUP.
struct Read<'a> {
    of: Of<'a>,
    consumer: &'a [u8],
    above: Option<StreamId>,
    now: i64,
}

impl Read<'_> {
    /// Serves the consumer. Whether (0 or 1) the stream is part of the reply.
    fn serve(
        &self,
        cx: &mut Ctx<'_>,
        req: &Request<'_>,
        budget: &mut Budget,
        retry_at: &mut Option<i64>,
    ) -> Result<usize, CmdError> {
        let Some(mut edit) = cx.ks.edit::<Stream>(self.of.key)? else {
            return Ok(0);
        };
        let (reply, mut hit, mut created) = (&mut *cx.reply, Hit::default(), false);
        let (mut served, mut again, told) = (0, Vec::new(), cx.fx.wanted());
        edit.get_mut().with_group(self.of.group, |log, group| {
            let (no, new) = group.add_consumer(self.consumer, self.now);
            created = new;
            group.touch(no, self.now);
            served = put_stream(reply, self.of.key, |reply| match self.above {
                Some(above) => {
                    let mut n = 0;
                    group.deliver_again(log, no, above.next()?, budget.limit(req), self.now, |d| {
                        n += 1;
                        if told && d.fields.is_some() {
                            again.push(d.id);
                        }
                        put_again(reply, d);
                        budget.spend(reply)
                    });
                    Some(n)
                }
                None => {
                    let mut n = 0;
                    hit = group.deliver(log, &self.terms(req, no, budget), |d| {
                        n += 1;
                        put_delivered(reply, d, req.claim.is_some());
                        budget.spend(reply)
                    });
                    (n > 0).then_some(n)
                }
            });
            let next = req.claim.and_then(|min_idle| group.idle_at(min_idle));
            *retry_at = [*retry_at, next].into_iter().flatten().min();
        });
        let changes =
            usize::from(created) + hit.owned.len() + hit.dropped.len() + usize::from(hit.advanced);
        if let (Some(group), true) = (edit.group(self.of.group), told) {
            if created && hit.owned.is_empty() {
                self.of.consumer(cx.fx, self.consumer);
            }
            // What is delivered again is no change that counts, and yet a new time and number of deliveries.
            hit.dropped
                .iter()
                .chain(&hit.owned)
                .chain(&again)
                .for_each(|id| self.of.pending(cx.fx, group, *id));
            if hit.advanced && req.noack {
                self.of.position(cx.fx, group);
            }
        }
        match u64::try_from(changes) {
            Ok(0) | Err(_) => edit.unchanged(),
            Ok(n) => edit.quiet(n, created.then_some(Event::stream("xgroup-createconsumer"))),
        }
        Ok(served)
    }

    fn terms(&self, req: &Request<'_>, to: ConsumerNo, budget: &Budget) -> Deliver {
        Deliver {
            to,
            now: self.now,
            noack: req.noack,
            count: budget.limit(req),
            claim: req.claim,
        }
    }
}

/// An entry of the history; one deleted meanwhile has a null for its fields.
fn put_again(reply: &mut ReplyBuf, d: Delivered<'_>) {
    reply.array(2);
    put_id(reply, d.id);
    match d.fields {
        Some(fields) => put_fields(reply, fields),
        None => reply.null_array(),
    }
}

/// A delivered entry; with CLAIM also how long it was idle and how often it had been delivered.
fn put_delivered(reply: &mut ReplyBuf, d: Delivered<'_>, with_claim: bool) {
    let Some(fields) = d.fields else { return };
    if !with_claim {
        return put_entry(reply, d.id, fields);
    }
    reply.array(4);
    put_id(reply, d.id);
    put_fields(reply, fields);
    reply.int(d.idle);
    reply.int(super::wire(d.count));
}
