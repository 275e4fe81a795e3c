//! GEOPOS, GEOHASH and GEODIST: where members are.

use super::{put_distance, put_point, unit};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::spec::{Group, KeySpec};
use crate::types::geo;
use crate::types::zset::ZSet;
use crate::util::geohash::Point;

/// The row of GEOPOS.
pub(super) const GEOPOS: Command = Command::new("geopos", -2, geopos)
    .since("3.2.0")
    .group(Group::Geo)
    .read()
    .keys(&[KeySpec::at(1).ro().access()])
    .syntax("key:key [member...]")
    .summary("Return longitude and latitude of members.")
    .complexity("O(1) for each member.")
    .checked();

/// The row of GEOHASH.
pub(super) const GEOHASH: Command = Command::new("geohash", -2, geohash)
    .since("3.2.0")
    .group(Group::Geo)
    .read()
    .keys(&[KeySpec::at(1).ro().access()])
    .syntax("key:key [member...]")
    .summary("Return the places of members as geohash strings.")
    .complexity("O(1) for each member.")
    .checked();

/// The row of GEODIST.
pub(super) const GEODIST: Command = Command::new("geodist", -4, geodist)
    .since("3.2.0")
    .group(Group::Geo)
    .read()
    .keys(&[KeySpec::at(1).ro().access()])
    .syntax("key:key member1 member2 [unit=('m' | 'km' | 'ft' | 'mi')]")
    .summary("Return the distance between two members.")
    .complexity("O(1)")
    .checked();

/// Where a member is, if there is such a member.
pub(super) fn place(zset: &ZSet, member: &[u8]) -> Option<Point> {
    zset.score(member).map(Point::from_score)
}

fn geopos(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let zset = cx.ks.read::<ZSet>(args.at(1))?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members {
        match zset.and_then(|z| place(z, member)) {
            Some(at) => put_point(cx.reply, at),
            None => cx.reply.null_array(),
        }
    }
    Ok(Flow::Done)
}

fn geohash(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let zset = cx.ks.read::<ZSet>(args.at(1))?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members {
        match zset.and_then(|z| place(z, member)) {
            Some(at) => cx.reply.bulk(&at.letters()),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

fn geodist(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let unit = match args.len() {
        4 => 1.0,
        5 => unit(args.at(4))?,
        _ => return Err(CmdError::SYNTAX),
    };
    let zset = cx.ks.read::<ZSet>(args.at(1))?;
    let place = |i| zset.and_then(|z| place(z, args.at(i)));
    match (place(2), place(3)) {
        (Some(a), Some(b)) => put_distance(cx.reply, geo::distance(a, b) / unit),
        _ => cx.reply.null(),
    }
    Ok(Flow::Done)
}
