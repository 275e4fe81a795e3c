//! SORT and SORT_RO: the elements of a list, set or sorted set in another order, or what keys named after them hold.

mod order;
mod pattern;
mod request;
mod source;

use order::sort;
use pattern::Pattern;
use request::Request;
use source::Source;

use crate::ds::bytes::SmallBytes;
use crate::ds::listpack::Value as Element;
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Origin, acl};
use crate::keyspace::Expiry;
use crate::keyspace::event::Event;
use crate::spec::{
    Argv, Group, KeyError, KeyFlags, KeyRef, KeySpec, Keys, Propagate, category, flag,
};
use crate::types::list::List;
use crate::types::zset::ZSet;
use crate::types::{DataType as _, Value};

const COST: &str =
    "O(N+M*log(M)) where N is the number of elements and M how many are returned; O(N) unsorted";

/// Of the keys that BY and GET name.
const BY_CONTENT: &str = "Keys after BY and GET, named by what the sorted key holds";

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("sort", -2, sort_any)
        .since("1.0.0")
        .group(Group::Generic)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .acl_only(&[
            category::SET,
            category::SORTEDSET,
            category::LIST,
            category::DANGEROUS,
        ])
        .keys(&[
            KeySpec::at(1).ro().access(),
            KeySpec::unknown().ro().access().note(BY_CONTENT),
            KeySpec::unknown()
                .ow()
                .update()
                .note("The key after STORE, which may stand anywhere"),
        ])
        .keys_fn(sort_keys)
        .syntax(
            "key:key [BY^by-pattern:pattern#1\"pattern\"] [LIMIT^limit={offset:int count:int}] \
             [GET^get-pattern:pattern...^#1\"pattern\"] [order=(ASC | DESC)] [sorting=ALPHA] \
             [STORE^destination:key#2]",
        )
        .summary("Return or store the elements of a list, set or sorted set in order.")
        .complexity(COST)
        .checked(),
    Command::new("sort_ro", -2, sort_ro)
        .since("7.0.0")
        .group(Group::Generic)
        .read()
        .acl_only(&[
            category::SET,
            category::SORTEDSET,
            category::LIST,
            category::DANGEROUS,
        ])
        .keys(&[
            KeySpec::at(1).ro().access(),
            KeySpec::unknown().ro().access().note(BY_CONTENT),
        ])
        .keys_fn(sort_ro_keys)
        .syntax(
            "key:key [BY^by-pattern:pattern#1\"pattern\"] [LIMIT^limit={offset:int count:int}] \
             [GET^get-pattern:pattern...^#1\"pattern\"] [order=(ASC | DESC)] [sorting=ALPHA]",
        )
        .summary("Return the elements of a list, set or sorted set in order.")
        .complexity(COST)
        .checked(),
];

const SORTED_KEY: KeyRef = KeyRef {
    pos: 1,
    flags: KeyFlags::RO.with(KeyFlags::ACCESS),
};

/// The key to sort and the last one after STORE. Which keys the patterns name, only their elements tell.
fn sort_keys(args: &dyn Argv, keys: &mut Keys) -> Result<(), KeyError> {
    keys.push(SORTED_KEY);
    let (mut at, mut store) = (2, None);
    while at < args.len() {
        let word = args.arg(at);
        if is(word, "STORE") && at + 1 < args.len() {
            store = u32::try_from(at + 1).ok();
        }
        at += match word {
            w if is(w, "LIMIT") => 3,
            w if is(w, "BY") || is(w, "GET") => 2,
            _ => 1,
        };
    }
    let flags = KeyFlags::OW.with(KeyFlags::UPDATE);
    keys.extend(store.map(|pos| KeyRef { pos, flags }));
    Ok(())
}

fn sort_ro_keys(_: &dyn Argv, keys: &mut Keys) -> Result<(), KeyError> {
    keys.push(SORTED_KEY);
    Ok(())
}

fn sort_any(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let reads_all = acl::reads_every_key(cx, args);
    run(cx, &Request::parse(args, true, reads_all)?)
}

fn sort_ro(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let reads_all = acl::reads_every_key(cx, args);
    run(cx, &Request::parse(args, false, reads_all)?)
}

fn run(cx: &mut Ctx<'_>, req: &Request<'_>) -> CmdResult {
    unpack(cx, req.key)?;
    let elements = elements(cx, req)?;
    match req.store {
        Some(key) => store(cx, req, key, &elements),
        None => {
            show(cx, req, &elements);
            Ok(Flow::Done)
        }
    }
}

/// A sorted set that is sorted takes the encoding for big ones, as in Redis, where OBJECT ENCODING and DUMP show it.
fn unpack(cx: &mut Ctx<'_>, key: &[u8]) -> Result<(), CmdError> {
    let limits = super::zset::limits(cx);
    let found = cx.ks.peek(key).map(|record| record.value());
    if matches!(found, Some(Value::ZSet(ZSet::Packed(_))))
        && let Some(mut edit) = cx.ks.edit::<ZSet>(key)?
    {
        edit.get_mut().expect(usize::MAX, limits);
        edit.unchanged();
    }
    Ok(())
}

/// The elements that are asked for, in their order.
fn elements(cx: &Ctx<'_>, req: &Request<'_>) -> Result<Vec<SmallBytes>, CmdError> {
    let source = Source::at(cx.ks, req.key)?;
    let wanted = req.window(source.len());
    let scripted = matches!(cx.origin, Origin::Script { .. });
    if !req.unsorted {
        return sort(cx, &source, req, wanted);
    }
    if source.is_ordered() {
        return Ok(source.range(wanted, req.descending));
    }
    if scripted || req.store.is_some() {
        // The order of a set is by chance, which neither a script nor what is stored may depend on.
        return sort(cx, &source, &req.by_text(), wanted);
    }
    Ok(source.range(wanted, false))
}

/// Answers with the elements, or with what is to be got for each.
fn show(cx: &mut Ctx<'_>, req: &Request<'_>, elements: &[SmallBytes]) {
    cx.reply.array(elements.len() * req.gets.len().max(1));
    for element in elements {
        if req.gets.is_empty() {
            cx.reply.bulk(element);
        }
        for pattern in &req.gets {
            let found = pattern.find(cx.ks, element, |found| match found {
                Element::Int(n) => cx.reply.bulk_int(n),
                Element::Str(s) => cx.reply.bulk(s),
            });
            if found.is_none() {
                cx.reply.null();
            }
        }
    }
}

/// Stores the elements, or what is to be got for each, as a list. What is not there is stored as an empty string.
fn store(cx: &mut Ctx<'_>, req: &Request<'_>, key: &[u8], elements: &[SmallBytes]) -> CmdResult {
    let limits = super::list::limits(cx.sys);
    let got = |element: &SmallBytes, pattern: &Pattern<'_>| {
        let found = pattern.find(cx.ks, element, |found| {
            SmallBytes::from(found.bytes(&mut itoa::Buffer::new()))
        });
        found.unwrap_or_default()
    };
    let list = if req.gets.is_empty() {
        List::from_elements(elements, limits)
    } else {
        let each = |element| req.gets.iter().map(move |pattern| got(element, pattern));
        List::from_elements(elements.iter().flat_map(each), limits)
    };
    let len = list.len();
    if len == 0 {
        cx.ks.discard(key, Event::DEL);
    } else {
        let event = Event::list("sortstore");
        cx.ks.put(key, list.into_value(), Expiry::Clear, event);
        // Each element counts as a change.
        cx.ks.mark_dirty(len as u64 - 1);
    }
    cx.count(len)
}
