//! Publish and subscribe.

use super::sentinel;
use crate::ds::bytes::SmallBytes;
use crate::exec::notify;
use crate::exec::pubsub::{self, Kind};
use crate::exec::session::ReplyMode;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Handler, Origin};
use crate::spec::{Channels, Group, KeySpec, Propagate, flag};
use crate::util::glob;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    listens("psubscribe", -2, psubscribe)
        .channels(Channels::PATTERNS)
        .since("2.0.0")
        .flags(&[flag::SENTINEL])
        .syntax("pattern:pattern...")
        .summary("Subscribe to every channel that a pattern matches.")
        .complexity("O(N), N being the number of patterns")
        .checked(),
    speaks("publish", 3, publish)
        .channels(Channels::FIRST)
        .since("2.0.0")
        .flags(&[flag::SENTINEL])
        .syntax("channel message")
        .summary("Send a message to everybody subscribed to a channel.")
        .complexity("O(N+M), N being the number of subscribers and M the number of patterns")
        .checked(),
    Command::container("pubsub", -2)
        .since("2.8.0")
        .group(Group::PubSub)
        .summary("Look at who is subscribed to what.")
        .complexity("Depends on the subcommand.")
        .subs(SUBCOMMANDS)
        .checked(),
    listens("punsubscribe", -1, punsubscribe)
        .since("2.0.0")
        .flags(&[flag::SENTINEL])
        .syntax("[pattern:pattern...]")
        .summary("End subscriptions to patterns, or all of them.")
        .complexity("O(N), N being the number of patterns")
        .checked(),
    speaks("spublish", 3, spublish)
        .channels(Channels::FIRST)
        .since("7.0.0")
        .keys(&[KeySpec::at(1).not_key()])
        .syntax("shardchannel message")
        .summary("Send a message to everybody subscribed to a channel of a shard.")
        .complexity("O(N), N being the number of subscribers")
        .checked(),
    listens("ssubscribe", -2, ssubscribe)
        .channels(Channels::ALL)
        .since("7.0.0")
        .keys(&[KeySpec::at(1).range(-1, 1, 0).not_key()])
        .syntax("shardchannel...")
        .summary("Subscribe to channels of a shard.")
        .complexity("O(N), N being the number of channels")
        .checked(),
    listens("subscribe", -2, subscribe)
        .channels(Channels::ALL)
        .since("2.0.0")
        .flags(&[flag::SENTINEL])
        .syntax("channel...")
        .summary("Subscribe to channels.")
        .complexity("O(N), N being the number of channels")
        .checked(),
    listens("sunsubscribe", -1, sunsubscribe)
        .since("7.0.0")
        .keys(&[KeySpec::at(1).range(-1, 1, 0).not_key()])
        .syntax("[shardchannel...]")
        .summary("End subscriptions to channels of a shard, or all of them.")
        .complexity("O(N), N being the number of channels")
        .checked(),
    listens("unsubscribe", -1, unsubscribe)
        .since("2.0.0")
        .flags(&[flag::SENTINEL])
        .syntax("[channel...]")
        .summary("End subscriptions to channels, or all of them.")
        .complexity("O(N), N being the number of channels")
        .checked(),
];

/// What has to do with one's own subscriptions.
const fn listens(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run)
        .group(Group::PubSub)
        .flags(&[flag::PUBSUB, flag::NOSCRIPT, flag::LOADING, flag::STALE])
        .flags(&[flag::SUBSCRIBER])
}

const fn speaks(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run)
        .group(Group::PubSub)
        .may_replicate(Propagate::Verbatim)
        .flags(&[flag::PUBSUB, flag::LOADING, flag::STALE, flag::FAST])
}

const fn looks(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run).group(Group::PubSub).flags(&[
        flag::PUBSUB,
        flag::LOADING,
        flag::STALE,
    ])
}

const SUBCOMMANDS: &[Command] = &[
    looks("channels", -2, channels)
        .since("2.8.0")
        .syntax("[pattern:pattern]")
        .summary("List the channels that somebody is subscribed to.")
        .complexity("O(N), N being the number of channels")
        .checked(),
    Command::help("6.2.0", Group::PubSub, help).checked(),
    looks("numpat", 2, numpat)
        .since("2.8.0")
        .summary("Count the patterns that somebody is subscribed to.")
        .complexity("O(1)")
        .checked(),
    looks("numsub", -2, numsub)
        .since("2.8.0")
        .syntax("[channel...]")
        .summary("Count the subscribers of channels.")
        .complexity("O(N), N being the number of channels asked for")
        .checked(),
    looks("shardchannels", -2, shardchannels)
        .since("7.0.0")
        .syntax("[pattern:pattern]")
        .summary("List the channels of the shard that somebody is subscribed to.")
        .complexity("O(N), N being the number of channels")
        .checked(),
    looks("shardnumsub", -2, shardnumsub)
        .since("7.0.0")
        .syntax("[shardchannel...]")
        .summary("Count the subscribers of channels of the shard.")
        .complexity("O(N), N being the number of channels asked for")
        .checked(),
];

/// The words by which a client is told of a subscription and of its end.
const fn words(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Channel => ("subscribe", "unsubscribe"),
        Kind::Pattern => ("psubscribe", "punsubscribe"),
        Kind::Shard => ("ssubscribe", "sunsubscribe"),
    }
}

fn subscribe(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    begin(cx, args, Kind::Channel)
}

fn psubscribe(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    begin(cx, args, Kind::Pattern)
}

fn ssubscribe(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if cx.origin == Origin::Exec {
        let text = "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client";
        return Err(CmdError::fixed(text));
    }
    begin(cx, args, Kind::Shard)
}

fn unsubscribe(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    end(cx, args, Kind::Channel)
}

fn punsubscribe(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    end(cx, args, Kind::Pattern)
}

fn sunsubscribe(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    end(cx, args, Kind::Shard)
}

fn begin(cx: &mut Ctx<'_>, args: Args<'_>, kind: Kind) -> CmdResult {
    for name in args.from(1) {
        let Some(session) = cx.sessions.get_mut(cx.sid) else {
            break;
        };
        cx.sys.pubsub.subscribe(session, cx.sid, kind, name);
        tell(cx, kind, words(kind).0, Some(name));
    }
    notify::listen(cx.ks, cx.sys);
    Ok(Flow::Done)
}

fn end(cx: &mut Ctx<'_>, args: Args<'_>, kind: Kind) -> CmdResult {
    let Some(session) = cx.sessions.get(cx.sid) else {
        return Ok(Flow::Done);
    };
    let all: Vec<SmallBytes> = match &session.subscriptions {
        Some(subscriptions) if args.len() == 1 => subscriptions.of(kind).iter().cloned().collect(),
        _ => Vec::new(),
    };
    let names = args.from(1).iter().copied();
    for name in names.chain(all.iter().map(SmallBytes::as_slice)) {
        if let Some(session) = cx.sessions.get_mut(cx.sid) {
            cx.sys.pubsub.unsubscribe(session, cx.sid, kind, name);
        }
        tell(cx, kind, words(kind).1, Some(name));
    }
    if args.len() == 1 && all.is_empty() {
        tell(cx, kind, words(kind).1, None);
    }
    Ok(Flow::Done)
}

/// Tells the client of a subscription or its end, and how many are left. This is a push, which CLIENT REPLY does not
/// hold back.
fn tell(cx: &mut Ctx<'_>, kind: Kind, word: &str, name: Option<&[u8]>) {
    let Some(session) = cx.sessions.get_mut(cx.sid) else {
        return;
    };
    let left = session.subscriptions.as_ref().map_or(0, |s| s.count(kind));
    let out = match session.reply_mode {
        ReplyMode::On => &mut *cx.reply,
        _ => &mut session.outbox,
    };
    out.push(3);
    out.bulk(word.as_bytes());
    match name {
        Some(name) => out.bulk(name),
        None => out.null(),
    }
    out.int(i64::try_from(left).unwrap_or(i64::MAX));
}

fn publish(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if cx.sys.sentinel.is_some() {
        return sentinel::publish(cx, args);
    }
    let got = pubsub::publish(cx.sys, cx.sessions, args.at(1), args.at(2));
    pass_on(cx, args);
    cx.count(got)
}

fn spublish(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let got = pubsub::publish_to_shard(cx.sys, cx.sessions, args.at(1), args.at(2));
    pass_on(cx, args);
    cx.count(got)
}

/// Subscribers of replicas hear of it, too.
fn pass_on(cx: &mut Ctx<'_>, args: Args<'_>) {
    if cx.sys.repl.leads() {
        let name = cx.logged_name(args);
        cx.fx.push_passing(&[name, args.at(1), args.at(2)]);
    }
}

fn channels(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    active(cx, args, Kind::Channel)
}

fn shardchannels(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    active(cx, args, Kind::Shard)
}

fn active(cx: &mut Ctx<'_>, args: Args<'_>, kind: Kind) -> CmdResult {
    if args.len() > 3 {
        return Err(CmdError::subcommand_arity("pubsub", args.at(1)));
    }
    let pattern = args.get(2);
    let fits =
        |name: &&SmallBytes| pattern.is_none_or(|pattern| glob::matches(pattern, name, false));
    let mut names: Vec<_> = cx.sys.pubsub.channels(kind).filter(fits).collect();
    // The same order at every run.
    names.sort_unstable();
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name));
    Ok(Flow::Done)
}

fn numsub(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    subscribers(cx, args, Kind::Channel)
}

fn shardnumsub(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    subscribers(cx, args, Kind::Shard)
}

fn subscribers(cx: &mut Ctx<'_>, args: Args<'_>, kind: Kind) -> CmdResult {
    let names = args.from(2);
    cx.reply.array(names.len() * 2);
    for name in names {
        cx.reply.bulk(name);
        cx.reply.int(cx.sys.pubsub.subscribers(kind, name) as i64);
    }
    Ok(Flow::Done)
}

fn numpat(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.count(cx.sys.pubsub.patterns())
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "CHANNELS [<pattern>]",
        "    The channels that somebody is subscribed to, if the pattern matches them.",
        "NUMPAT",
        "    How many patterns somebody is subscribed to.",
        "NUMSUB [<channel> ...]",
        "    How many are subscribed to each of these channels.",
        "SHARDCHANNELS [<pattern>]",
        "    As CHANNELS, for channels of the shard.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    As NUMSUB, for channels of the shard.",
    ])
}
