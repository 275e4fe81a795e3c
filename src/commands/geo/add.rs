//! GEOADD.

use super::point;
use crate::commands::zset::limits;
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, flag};
use crate::types::zset::{Change, Limits, ZSet};
use crate::util::num;

/// The row.
pub(super) const GEOADD: Command = Command::new("geoadd", -5, geoadd)
    .since("3.2.0")
    .group(Group::Geo)
    .write(Propagate::MayRewrite)
    .flags(&[flag::DENYOOM])
    .keys(&[KeySpec::at(1).rw().update()])
    .syntax(
        "key:key [condition=(NX | XX)@6.2.0] [change=CH@6.2.0] \
         data={longitude:double latitude:double member}...",
    )
    .summary("Add members with their places, or move them.")
    .complexity("O(log(N)) for each member, where N is the number of all members.")
    .history(&[("6.2.0", "Added `CH`, `NX` and `XX`.")])
    .checked();

/// What GEOADD is asked for.
struct GeoAdd<'a> {
    /// Only new members.
    nx: bool,
    /// Only members that are there.
    xx: bool,
    /// Count members that moved, too.
    ch: bool,
    /// Position of the first place.
    first: usize,
    /// Scores with their members.
    data: Vec<(f64, &'a [u8])>,
}

impl<'a> GeoAdd<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CmdError> {
        let mut req = GeoAdd {
            nx: false,
            xx: false,
            ch: false,
            first: 2,
            data: Vec::new(),
        };
        while let Some(word) = args.get(req.first) {
            if is(word, "NX") {
                req.nx = true;
            } else if is(word, "XX") {
                req.xx = true;
            } else if is(word, "CH") {
                req.ch = true;
            } else {
                break;
            }
            req.first += 1;
        }
        let data = args.from(req.first).chunks_exact(3);
        if !data.remainder().is_empty() || req.nx && req.xx {
            return Err(CmdError::SYNTAX);
        }
        for place in data {
            if let [longitude, latitude, member] = *place {
                req.data.push((point(longitude, latitude)?.score(), member));
            }
        }
        if req.data.is_empty() {
            return Err(CmdError::SYNTAX);
        }
        Ok(req)
    }

    /// Adds all of it; returns how many members are new and how many moved.
    fn add_to(&self, zset: &mut ZSet, limits: Limits) -> (u64, u64) {
        let (mut added, mut moved) = (0, 0);
        for &(score, member) in &self.data {
            let change = zset.update(member, limits, |old| match old {
                Some(_) if self.nx => None,
                None if self.xx => None,
                _ => Some(score),
            });
            added += u64::from(change == Change::Added);
            moved += u64::from(change == Change::Updated);
        }
        (added, moved)
    }
}

/// Adds members as ZADD does, whose event and effect it has.
fn geoadd(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let req = GeoAdd::parse(args)?;
    let key = args.at(1);
    if req.xx && cx.ks.look::<ZSet>(key)?.is_none() {
        return cx.int(0);
    }
    let (limits, count) = (limits(cx), req.data.len());
    let length = req.data.first().map_or(0, |(_, member)| member.len());
    let fresh = || ZSet::new(limits, count, length);
    let mut edit = cx.ks.edit_or_create(key, fresh)?;
    edit.get_mut().expect(count, limits);
    let (added, moved) = req.add_to(edit.get_mut(), limits);
    match added + moved {
        0 => edit.unchanged(),
        n => edit.changed(n, Event::zset("zadd")),
    }
    if added + moved > 0 && cx.fx.wanted() {
        propagate(cx, args, &req);
    }
    cx.count(if req.ch { added + moved } else { added } as usize)
}

fn propagate(cx: &mut Ctx<'_>, args: Args<'_>, req: &GeoAdd<'_>) {
    let scores: Vec<Vec<u8>> = req.data.iter().map(|(score, _)| text(*score)).collect();
    let options = args.all().get(1..req.first).unwrap_or_default();
    let pairs = scores.iter().zip(&req.data);
    let mut argv: Vec<&[u8]> = vec![b"ZADD"];
    argv.extend_from_slice(options);
    argv.extend(pairs.flat_map(|(score, (_, member))| [score.as_slice(), member]));
    cx.fx.push(&argv);
}

fn text(score: f64) -> Vec<u8> {
    let mut text = Vec::new();
    num::write_f64(&mut text, score);
    text
}
