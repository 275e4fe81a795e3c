//! XADD and XTRIM, and the configuration of idempotent production.

use super::{ids, put_id, refs_word, wire};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Cursor, Flow};
use crate::keyspace::event::Event;
use crate::service::config::Settings;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::stream::{
    AppendError, IdText, IdmpConfig, Log, NewId, NodeLimits, Refs, Stream, StreamId, Threshold,
    Trim, digest,
};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("xadd", -5, xadd)
        .since("5.0.0")
        .group(Group::Stream)
        .write(Propagate::MayRewrite)
        .flags(&[flag::DENYOOM, flag::FAST])
        .keys(&[KeySpec::at(1)
            .rw()
            .update()
            .note("UPDATE and not INSERT for the trimming, which it may do")])
        .syntax(
            "key:key [NOMKSTREAM@6.2.0] [condition=(KEEPREF | DELREF | ACKED)@8.2.0] \
             [idmp=(IDMPAUTO^pid | IDMP^idmp={pid iid})@8.6.0] \
             [trim={strategy=(MAXLEN | MINID@6.2.0) [operator=(equal='=' | approximately='~')] threshold \
             [LIMIT^count:int@6.2.0]}] id-selector=(auto-id='*' | id) data={field value}...",
        )
        .summary("Append an entry to a stream, made if it is not there.")
        .complexity("O(1), and O(N) for N entries trimmed")
        .history(&[
            ("6.2.0", "Added `NOMKSTREAM`, `MINID` and `LIMIT`."),
            ("7.0.0", "Added ids of the form `<ms>-*`."),
            ("8.2.0", "Added `KEEPREF`, `DELREF` and `ACKED`."),
            ("8.6.0", "Added `IDMP` and `IDMPAUTO`."),
        ])
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("xtrim", -4, xtrim)
        .since("5.0.0")
        .group(Group::Stream)
        .write(Propagate::MayRewrite)
        .keys(&[KeySpec::at(1).rw().delete()])
        .syntax(
            "key:key trim={strategy=(MAXLEN | MINID@6.2.0) [operator=(equal='=' | approximately='~')] \
             threshold [LIMIT^count:int@6.2.0]} [condition=(KEEPREF | DELREF | ACKED)@8.2.0]",
        )
        .summary("Delete the oldest entries of a stream.")
        .complexity("O(N) for N entries deleted, mostly by whole nodes")
        .history(&[
            ("6.2.0", "Added `MINID` and `LIMIT`."),
            ("8.2.0", "Added `KEEPREF`, `DELREF` and `ACKED`."),
        ])
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("xcfgset", -2, xcfgset)
        .since("8.6.0")
        .group(Group::Stream)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax("key:key [IDMP-DURATION^idmp-duration:int] [IDMP-MAXSIZE^idmp-maxsize:int]")
        .summary("Set how long and how many productions a stream remembers.")
        .complexity("O(1)")
        .checked(),
    Command::new("xidmprecord", 5, xidmprecord)
        .since("8.6.2")
        .group(Group::Stream)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax("key:key pid iid stream-id")
        .summary("Remember which production made an entry; internal.")
        .complexity("O(1)")
        .checked(),
];

const LIMIT_WITHOUT_TRIM: CmdError = CmdError::fixed(
    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
);
const LIMIT_WITHOUT_TILDE: CmdError =
    CmdError::fixed("ERR syntax error, LIMIT cannot be used without the special ~ option");
const NO_STRATEGY: CmdError =
    CmdError::fixed("ERR syntax error, XTRIM must be called with a trimming strategy");
const TWO_STRATEGIES: CmdError = CmdError::fixed(
    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
);
const IDMP_TWICE: CmdError = CmdError::fixed("ERR IDMP/IDMPAUTO specified multiple times");
const IDMP_ID: CmdError =
    CmdError::fixed("ERR IDMP/IDMPAUTO can be used only with auto-generated IDs");
const IDMP_EMPTY: CmdError = CmdError::fixed("ERR producer ID and idempotent ID must not be empty");

impl From<AppendError> for CmdError {
    fn from(e: AppendError) -> CmdError {
        CmdError::fixed(match e {
            AppendError::NotAbove => {
                "ERR The ID specified in XADD is equal or smaller than the target stream top item"
            }
            AppendError::Exhausted => {
                "ERR The stream has exhausted the last possible ID, unable to add more items"
            }
            AppendError::TooLarge => "ERR Elements are too large to be stored",
        })
    }
}

/// The options that XADD and XTRIM share, and those of XADD.
#[derive(Default)]
struct Options<'a> {
    threshold: Option<Threshold>,
    approx: bool,
    limit: Option<i64>,
    refs: Option<Refs>,
    no_create: bool,
    idmp: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// Somebody else has trimmed, and says what came of it. Redis makes `=` of `~` then, and leaves a LIMIT.
    replays: bool,
}

impl<'a> Options<'a> {
    fn of(cx: &Ctx<'_>) -> Self {
        Self {
            replays: cx.ks.replays(),
            ..Self::default()
        }
    }

    /// Takes the option that begins with `word`; says whether it is one.
    fn take(&mut self, word: &'a [u8], args: &mut Cursor<'a>) -> Result<bool, CmdError> {
        let more = args.left();
        if is(word, "MAXLEN") && more > 0 {
            self.sign(args)?;
            let max = args.int()?;
            let max = u64::try_from(max)
                .map_err(|_| CmdError::fixed("ERR The MAXLEN argument must be >= 0."))?;
            self.threshold = Some(Threshold::MaxLen(max));
        } else if is(word, "MINID") && more > 0 {
            self.sign(args)?;
            self.threshold = Some(Threshold::MinId(StreamId::parse(args.word()?, 0)?));
        } else if is(word, "LIMIT") && more > 0 {
            let limit = args.int()?;
            if limit < 0 {
                return Err(CmdError::fixed("ERR The LIMIT argument must be >= 0."));
            }
            self.limit = Some(limit);
        } else if let Some(refs) = refs_word(word) {
            if self.refs.replace(refs).is_some() {
                return Err(CmdError::SYNTAX);
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn take_of_xadd(&mut self, word: &'a [u8], args: &mut Cursor<'a>) -> Result<bool, CmdError> {
        if self.take(word, args)? {
            return Ok(true);
        }
        let (auto, given) = (is(word, "IDMPAUTO"), is(word, "IDMP"));
        if is(word, "NOMKSTREAM") {
            self.no_create = true;
        } else if (auto && args.left() > 0) || (given && args.left() > 1) {
            let pid = args.word()?;
            let iid = if auto { None } else { Some(args.word()?) };
            if self.idmp.replace((pid, iid)).is_some() {
                return Err(IDMP_TWICE);
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `=` or `~` before a threshold.
    fn sign(&mut self, args: &mut Cursor<'_>) -> Result<(), CmdError> {
        if self.threshold.is_some() {
            return Err(TWO_STRATEGIES);
        }
        if args.left() > 1 && matches!(args.peek(), Some(b"~" | b"=")) {
            self.approx = args.next() == Some(b"~");
        }
        Ok(())
    }

    /// The trim asked for. Without LIMIT an approximate one is limited by the size of nodes.
    fn trim(&self, cfg: &Settings) -> Result<Option<Trim>, CmdError> {
        let given = self.limit.filter(|_| !self.replays);
        let Some(threshold) = self.threshold else {
            return match given {
                Some(n) if n != 0 => Err(LIMIT_WITHOUT_TRIM),
                _ => Ok(None),
            };
        };
        if given.is_some() && !self.approx {
            return Err(LIMIT_WITHOUT_TILDE);
        }
        let usual = match u64::try_from(cfg.stream_node_max_entries).unwrap_or(u64::MAX) {
            0 => 10_000,
            n => n.saturating_mul(100).min(1_000_000),
        };
        let limit = match given {
            Some(n) => n.unsigned_abs(),
            None if self.approx && !self.replays => usual,
            None => 0,
        };
        Ok(Some(Trim {
            threshold,
            approx: self.approx,
            limit,
            refs: self.refs.unwrap_or_default(),
        }))
    }
}

fn limits(cfg: &Settings) -> NodeLimits {
    NodeLimits {
        max_bytes: cfg.stream_node_max_bytes,
        max_entries: u64::try_from(cfg.stream_node_max_entries).unwrap_or(u64::MAX),
    }
}

/// What a stream remembers of its producers until XCFGSET says otherwise.
fn idmp_config(cfg: &Settings) -> IdmpConfig {
    IdmpConfig {
        duration: cfg.stream_idmp_duration,
        max_size: cfg.stream_idmp_maxsize,
    }
}

/// A parsed XADD.
struct Add<'a> {
    key: &'a [u8],
    options: Options<'a>,
    trim: Option<Trim>,
    id: NewId,
    fields: &'a [&'a [u8]],
}

impl<'a> Add<'a> {
    fn parse(cx: &Ctx<'_>, args: Args<'a>) -> Result<Self, CmdError> {
        let mut options = Options::of(cx);
        let mut rest = args.cursor(2);
        let mut id = None;
        while let Some(word) = rest.next() {
            if word == b"*" || !options.take_of_xadd(word, &mut rest)? {
                id = Some(NewId::parse(word)?);
                break;
            }
        }
        let trim = options.trim(&cx.sys.cfg)?;
        let fields = rest.rest();
        let (Some(id), false) = (id, fields.is_empty() || fields.len() % 2 == 1) else {
            return Err(CmdError::arity("xadd"));
        };
        if id == NewId::Exact(StreamId::MIN) {
            return Err(CmdError::fixed(
                "ERR The ID specified in XADD must be greater than 0-0",
            ));
        }
        if let Some((pid, iid)) = options.idmp {
            if id != NewId::Auto {
                return Err(IDMP_ID);
            }
            if pid.is_empty() || iid.is_some_and(<[u8]>::is_empty) {
                return Err(IDMP_EMPTY);
            }
        }
        Log::check_size(pairs(fields))?;
        Ok(Self {
            key: args.at(1),
            options,
            trim,
            id,
            fields,
        })
    }

    /// The production this is: producer and id.
    fn production(&self) -> Option<(&'a [u8], std::borrow::Cow<'a, [u8]>)> {
        let (pid, iid) = self.options.idmp?;
        let iid = match iid {
            Some(iid) => iid.into(),
            None => digest(pairs(self.fields)).to_vec().into(),
        };
        Some((pid, iid))
    }

    /// The command with its id, and with what was trimmed, in concrete terms.
    fn push_effects(&self, cx: &mut Ctx<'_>, id: StreamId, first: StreamId, len: u64) {
        let exact = matches!(self.id, NewId::Exact(_)) && self.options.idmp.is_none();
        let approx = self.trim.is_some_and(|t| t.approx);
        if !cx.fx.wanted() || (exact && !approx) {
            return;
        }
        let (mut text, mut trim) = (IdText::default(), TrimText::default());
        let id_text = id.text(&mut text);
        let mut argv: Vec<&[u8]> = vec![b"XADD", self.key];
        if self.options.no_create {
            argv.push(b"NOMKSTREAM");
        }
        if let Some(t) = &self.trim {
            trim.exact(t, first, len);
            argv.extend(trim.words());
        }
        argv.push(id_text);
        argv.extend(self.fields);
        cx.fx.push(&argv);
        if let Some((pid, iid)) = self.production() {
            cx.fx.push(&[b"XIDMPRECORD", self.key, pid, &iid, id_text]);
        }
    }
}

/// The words of a trim that deletes exactly what another one deleted.
#[derive(Default)]
struct TrimText {
    strategy: &'static [u8],
    threshold: Vec<u8>,
    refs: Option<&'static [u8]>,
}

impl TrimText {
    fn exact(&mut self, trim: &Trim, first: StreamId, len: u64) {
        (self.strategy, self.threshold) = match trim.threshold {
            Threshold::MaxLen(max) if !trim.approx => {
                (&b"MAXLEN"[..], max.to_string().into_bytes())
            }
            Threshold::MinId(min) if !trim.approx => (&b"MINID"[..], min.to_string().into_bytes()),
            // With ACKED entries may remain in between: the number of those deleted tells which they are.
            Threshold::MinId(_) if trim.refs != Refs::Acked => {
                let min = if len == 0 { StreamId::MAX } else { first };
                (&b"MINID"[..], min.to_string().into_bytes())
            }
            _ => (&b"MAXLEN"[..], len.to_string().into_bytes()),
        };
        self.refs = match trim.refs {
            Refs::Keep => None,
            Refs::Delete => Some(b"DELREF"),
            Refs::Acked => Some(b"ACKED"),
        };
    }

    fn words(&self) -> impl Iterator<Item = &[u8]> {
        [self.strategy, b"=", &self.threshold]
            .into_iter()
            .chain(self.refs)
    }
}

fn pairs<'a>(flat: &'a [&'a [u8]]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    flat.chunks_exact(2).map(|pair| (pair[0], pair[1]))
}

fn xadd(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let add = Add::parse(cx, args)?;
    let (limits, idmp) = (limits(&cx.sys.cfg), idmp_config(&cx.sys.cfg));
    let mut edit = if add.options.no_create {
        match cx.ks.edit::<Stream>(add.key)? {
            Some(edit) => edit,
            None => {
                cx.reply.null();
                return Ok(Flow::Done);
            }
        }
    } else {
        cx.ks.edit_or_create(add.key, Stream::new)?
    };
    if let Some((pid, iid)) = add.production()
        && let Some(known) = edit.idmp().and_then(|i| i.peek(pid, &iid, cx.now))
    {
        edit.get_mut().idmp_mut(idmp).count_duplicate();
        edit.unchanged();
        put_id(cx.reply, known);
        return Ok(Flow::Done);
    }
    let id = edit
        .log()
        .new_id(add.id, u64::try_from(cx.now).unwrap_or(0))?;
    let stream = edit.get_mut();
    // The id is above the last one and the size was checked, so this cannot fail.
    let added = stream.append(id, pairs(add.fields), limits);
    if let Some((pid, iid)) = add.production() {
        stream.idmp_mut(idmp).record(pid, &iid, id, cx.now);
    }
    let trimmed = add.trim.map_or(0, |trim| stream.trim(&trim));
    let (first, len) = (stream.log().first_id(), stream.len());
    edit.changed(1, Event::stream("xadd"));
    added?;
    if trimmed > 0 {
        cx.ks.notify(add.key, Event::stream("xtrim"));
    }
    add.push_effects(cx, id, first, len);
    put_id(cx.reply, id);
    Ok(Flow::Done)
}

fn xtrim(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut options = Options::of(cx);
    let mut rest = args.cursor(2);
    while let Some(word) = rest.next() {
        if !options.take(word, &mut rest)? {
            return Err(CmdError::SYNTAX);
        }
    }
    let trim = options.trim(&cx.sys.cfg)?.ok_or(NO_STRATEGY)?;
    let key = args.at(1);
    let Some(mut edit) = cx.ks.edit::<Stream>(key)? else {
        return cx.int(0);
    };
    let trimmed = edit.get_mut().trim(&trim);
    let (first, len) = (edit.log().first_id(), edit.len());
    if trimmed == 0 {
        edit.unchanged();
        return cx.int(0);
    }
    edit.changed(trimmed, Event::stream("xtrim"));
    if trim.approx && cx.fx.wanted() {
        let mut text = TrimText::default();
        text.exact(&trim, first, len);
        let head: [&[u8]; 2] = [b"XTRIM", key];
        let argv: Vec<&[u8]> = head.into_iter().chain(text.words()).collect();
        cx.fx.push(&argv);
    }
    cx.int(wire(trimmed))
}

fn xcfgset(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut rest = args.cursor(2);
    let (mut duration, mut max_size) = (None, None);
    while let Some(word) = rest.next() {
        if is(word, "IDMP-DURATION") {
            let text = "ERR IDMP-DURATION must be between 1 and 86400 seconds";
            duration = Some(within(rest.int()?, 86_400, text)?);
        } else if is(word, "IDMP-MAXSIZE") {
            let text = "ERR IDMP-MAXSIZE must be between 1 and 10000 entries";
            max_size = Some(within(rest.int()?, 10_000, text)?);
        } else {
            return Err(CmdError::SYNTAX);
        }
    }
    if duration.is_none() && max_size.is_none() {
        return Err(CmdError::fixed(
            "ERR At least one parameter must be specified",
        ));
    }
    let Some(mut edit) = cx.ks.edit::<Stream>(args.at(1))? else {
        return Err(CmdError::NO_SUCH_KEY);
    };
    let idmp = edit.get_mut().idmp_mut(idmp_config(&cx.sys.cfg));
    let old = idmp.config();
    idmp.set_config(IdmpConfig {
        duration: duration.unwrap_or(old.duration),
        max_size: max_size.unwrap_or(old.max_size),
    });
    edit.quiet(1, None);
    cx.ok()
}

fn within(n: i64, max: u32, text: &'static str) -> Result<u32, CmdError> {
    u32::try_from(n)
        .ok()
        .filter(|n| (1..=max).contains(n))
        .ok_or(CmdError::fixed(text))
}

fn xidmprecord(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, pid, iid) = (args.at(1), args.at(2), args.at(3));
    let id = ids(args.from(4))?.first().copied().unwrap_or_default();
    if pid.is_empty() || iid.is_empty() {
        return Err(IDMP_EMPTY);
    }
    // Done again, it is remembered from when the entry was made, and what it knew before is over.
    let replays = cx.ks.replays();
    let made = match i64::try_from(id.ms) {
        Ok(made) if replays => made.min(cx.now),
        _ => cx.now,
    };
    let Some(mut edit) = cx.ks.edit::<Stream>(key)? else {
        return Err(CmdError::NO_SUCH_KEY);
    };
    match edit.idmp().and_then(|i| i.peek(pid, iid, made)) {
        Some(known) if known == id => edit.unchanged(),
        Some(_) if !replays => {
            return Err(CmdError::fixed(
                "ERR this production is recorded with another stream ID",
            ));
        }
        // One deleted since is still the entry that the production made.
        None if id > edit.log().last_id() => {
            return Err(CmdError::fixed("ERR no such stream ID"));
        }
        _ => {
            edit.get_mut()
                .idmp_mut(idmp_config(&cx.sys.cfg))
                .record(pid, iid, id, made);
            edit.quiet(1, None);
        }
    }
    cx.ok()
}
