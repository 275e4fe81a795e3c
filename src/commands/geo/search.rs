//! GEOSEARCH, GEORADIUS and their relatives: which members are near.

use super::query::{Form, Order, Query, Store, With};
use super::{put_distance, put_point};
use crate::commands::zset::limits;
use crate::ds::listpack::Value as Member;
use crate::exec::{Args, CmdResult, Command, Ctx, Flow};
use crate::keyspace::Expiry;
use crate::keyspace::event::Event;
use crate::resp::ReplyBuf;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::DataType;
use crate::types::geo::{self, Area, Hit};
use crate::types::zset::{Limits, ZSet};
use crate::util::pqsort::sort_part;
use std::cmp::Ordering;

const COMPLEXITY: &str = "O(N + log(M)) where N is the number of members in the cells around the area and M is the \
                          number of all members.";

/// The row of GEOSEARCH.
pub(super) const GEOSEARCH: Command = Command::new("geosearch", -7, geosearch)
    .since("6.2.0")
    .group(Group::Geo)
    .read()
    .keys(&[KeySpec::at(1).ro().access()])
    .syntax(
        "key:key search-type=(radius-or-box={\
         from=(FROMMEMBER^member | FROMLONLAT^fromlonlat={longitude:double latitude:double}) \
         by=(circle={BYRADIUS^radius:double unit=('m' | 'km' | 'ft' | 'mi')} | \
         box={BYBOX^width:double height:double unit=('m' | 'km' | 'ft' | 'mi')})} | \
         polygon={BYPOLYGON^num-vertices:int vertices={longitude:double latitude:double}...=num-vertices}@9.0.0) \
         [order=(ASC | DESC)] [count-block={COUNT^count:int [any=ANY]}] \
         [WITHCOORD] [WITHDIST] [WITHHASH]",
    )
    .summary("Find the members inside of a circle, a box or a polygon.")
    .complexity(COMPLEXITY)
    .history(&[
        ("7.0.0", "Units may be in upper case."),
        ("9.0.0", "Valkey: added `BYPOLYGON`."),
    ])
    .checked();

/// The row of GEOSEARCHSTORE.
pub(super) const GEOSEARCHSTORE: Command = Command::new("geosearchstore", -8, geosearchstore)
    .since("6.2.0")
    .group(Group::Geo)
    .write(Propagate::Verbatim)
    .flags(&[flag::DENYOOM])
    .keys(&[
        KeySpec::at(1).ow().update(),
        KeySpec::at(2).ro().access(),
    ])
    .syntax(
        "destination:key source:key#1 search-type=(radius-or-box={\
         from=(FROMMEMBER^member | FROMLONLAT^fromlonlat={longitude:double latitude:double}) \
         by=(circle={BYRADIUS^radius:double unit=('m' | 'km' | 'ft' | 'mi')} | \
         box={BYBOX^width:double height:double unit=('m' | 'km' | 'ft' | 'mi')})} | \
         polygon={BYPOLYGON^num-vertices:int vertices={longitude:double latitude:double}...=num-vertices}@9.0.0) \
         [order=(ASC | DESC)] [count-block={COUNT^count:int [any=ANY]}] [STOREDIST]",
    )
    .summary("Store the members inside of a circle, a box or a polygon; return how many they are.")
    .complexity(COMPLEXITY)
    .history(&[
        ("7.0.0", "Units may be in upper case."),
        ("9.0.0", "Valkey: added `BYPOLYGON`."),
    ])
    .checked();

/// The row of GEORADIUS.
pub(super) const GEORADIUS: Command = Command::new("georadius", -6, georadius)
    .since("3.2.0")
    .group(Group::Geo)
    .write(Propagate::Verbatim)
    .flags(&[flag::DENYOOM])
    .keys(&[
        KeySpec::at(1).ro().access(),
        KeySpec::keyword("STORE", 6).ow().update(),
        KeySpec::keyword("STOREDIST", 6).ow().update(),
    ])
    .syntax(
        "key:key longitude:double latitude:double radius:double unit=('m' | 'km' | 'ft' | 'mi') \
         [WITHCOORD] [WITHDIST] [WITHHASH] [count-block={COUNT^count:int [any=ANY@6.2.0]}] \
         [order=(ASC | DESC)] \
         [store=(STORE^storekey:key#1\"key\" | STOREDIST^storedistkey:key#2\"key\")]",
    )
    .summary("Find the members around a place, and return or store them.")
    .complexity(COMPLEXITY)
    .history(&[
        ("6.2.0", "Added `ANY`."),
        ("7.0.0", "Units may be in upper case."),
    ])
    .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with `BYRADIUS`")
    .checked();

/// The row of GEORADIUS_RO.
pub(super) const GEORADIUS_RO: Command = Command::new("georadius_ro", -6, georadius_ro)
    .since("3.2.10")
    .group(Group::Geo)
    .read()
    .keys(&[KeySpec::at(1).ro().access()])
    .syntax(
        "key:key longitude:double latitude:double radius:double unit=('m' | 'km' | 'ft' | 'mi') \
         [WITHCOORD] [WITHDIST] [WITHHASH] [count-block={COUNT^count:int [any=ANY@6.2.0]}] \
         [order=(ASC | DESC)]",
    )
    .summary("Find the members around a place.")
    .complexity(COMPLEXITY)
    .history(&[
        ("6.2.0", "Added `ANY`."),
        ("7.0.0", "Units may be in upper case."),
    ])
    .deprecated("6.2.0", "`GEOSEARCH` with `BYRADIUS`")
    .checked();

/// The row of GEORADIUSBYMEMBER.
pub(super) const GEORADIUSBYMEMBER: Command =
    Command::new("georadiusbymember", -5, georadiusbymember)
        .since("3.2.0")
        .group(Group::Geo)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .keys(&[
            KeySpec::at(1).ro().access(),
            KeySpec::keyword("STORE", 5).ow().update(),
            KeySpec::keyword("STOREDIST", 5).ow().update(),
        ])
        .syntax(
            "key:key member radius:double unit=('m' | 'km' | 'ft' | 'mi') \
             [WITHCOORD] [WITHDIST] [WITHHASH] [count-block={COUNT^count:int [any=ANY]}] \
             [order=(ASC | DESC)] \
             [store=(STORE^storekey:key#1\"key\" | STOREDIST^storedistkey:key#2\"key\")]",
        )
        .summary("Find the members around a member, and return or store them.")
        .complexity(COMPLEXITY)
        .history(&[
            ("6.2.0", "Added `ANY`."),
            ("7.0.0", "Units may be in upper case."),
        ])
        .deprecated(
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with `BYRADIUS` and `FROMMEMBER`",
        )
        .checked();

/// The row of GEORADIUSBYMEMBER_RO.
pub(super) const GEORADIUSBYMEMBER_RO: Command =
    Command::new("georadiusbymember_ro", -5, georadiusbymember_ro)
        .since("3.2.10")
        .group(Group::Geo)
        .read()
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax(
            "key:key member radius:double unit=('m' | 'km' | 'ft' | 'mi') \
             [WITHCOORD] [WITHDIST] [WITHHASH] [count-block={COUNT^count:int [any=ANY]}] \
             [order=(ASC | DESC)]",
        )
        .summary("Find the members around a member.")
        .complexity(COMPLEXITY)
        .history(&[
            ("6.2.0", "Added `ANY`."),
            ("7.0.0", "Units may be in upper case."),
        ])
        .deprecated("6.2.0", "`GEOSEARCH` with `BYRADIUS` and `FROMMEMBER`")
        .checked();

fn geosearch(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    search(cx, args, Form::Search)
}

fn geosearchstore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    search(cx, args, Form::SearchStore)
}

fn georadius(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    search(cx, args, Form::Radius { store: true })
}

fn georadius_ro(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    search(cx, args, Form::Radius { store: false })
}

fn georadiusbymember(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    search(cx, args, Form::RadiusByMember { store: true })
}

fn georadiusbymember_ro(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    search(cx, args, Form::RadiusByMember { store: false })
}

fn search(cx: &mut Ctx<'_>, args: Args<'_>, form: Form) -> CmdResult {
    let source = cx.ks.read::<ZSet>(args.at(form.source()))?;
    let query = Query::parse(args, form, source)?;
    let unit = query.area.as_ref().map_or(1.0, |area| area.unit);
    let hits = match (source, &query.area) {
        (Some(source), Some(area)) => find(source, area, &query),
        _ => Vec::new(),
    };
    let Some(Store { key, distances }) = query.store else {
        put_hits(cx.reply, &hits, query.with, unit);
        return Ok(Flow::Done);
    };
    let event = Event::zset(if form.is_search() {
        "geosearchstore"
    } else {
        "georadiusstore"
    });
    let score = |hit: &Hit<'_>| match distances {
        true => hit.distance / unit,
        false => hit.score,
    };
    let result = collect(&hits, score, limits(cx));
    let stored = hits.len();
    if let Some(more) = stored.checked_sub(1) {
        cx.ks.put(key, result.into_value(), Expiry::Clear, event);
        cx.ks.mark_dirty(more as u64);
    } else {
        cx.ks.discard(key, Event::DEL);
    }
    cx.count(stored)
}

/// The sorted set that is stored.
fn collect(hits: &[Hit<'_>], score: impl Fn(&Hit<'_>) -> f64, limits: Limits) -> ZSet {
    let mut digits = itoa::Buffer::new();
    let lengths = hits.iter().map(|hit| hit.member.bytes(&mut digits).len());
    let mut zset = ZSet::new(limits, hits.len(), lengths.max().unwrap_or(0));
    for hit in hits {
        zset.add(hit.member.bytes(&mut digits), score(hit), limits);
    }
    zset
}

/// What is asked for, in the order that is asked for.
fn find<'a>(source: &'a ZSet, area: &Area, query: &Query<'_>) -> Vec<Hit<'a>> {
    let mut hits = geo::search(source, area, query.count.filter(|_| query.any));
    let count = query.count.unwrap_or(usize::MAX).min(hits.len());
    match query.order {
        Order::Found => {}
        Order::Nearest => sort(&mut hits, count, |a, b| a.distance.total_cmp(&b.distance)),
        Order::Farthest => sort(&mut hits, count, |a, b| b.distance.total_cmp(&a.distance)),
    }
    hits.truncate(count);
    hits
}

/// Sorts as many as are wanted. Of equally far ones those come first that were found first, unless only some are wanted.
fn sort<'a>(hits: &mut [Hit<'a>], count: usize, order: impl FnMut(&Hit<'a>, &Hit<'a>) -> Ordering) {
    if count == hits.len() {
        hits.sort_by(order);
    } else {
        sort_part(hits, 0..count, order);
    }
}

fn put_hits(reply: &mut ReplyBuf, hits: &[Hit<'_>], with: With, unit: f64) {
    reply.array(hits.len());
    for hit in hits {
        if with.count() > 0 {
            reply.array(1 + with.count());
        }
        match hit.member {
            Member::Int(n) => reply.bulk_int(n),
            Member::Str(bytes) => reply.bulk(bytes),
        }
        if with.distance {
            put_distance(reply, hit.distance / unit);
        }
        if with.hash {
            reply.int(hit.score as i64);
        }
        if with.point {
            put_point(reply, hit.at);
        }
    }
}
