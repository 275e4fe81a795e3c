//! Geographic indexes: sorted sets whose scores are places.

mod add;
mod place;
mod query;
mod search;

use crate::exec::args::is;
use crate::exec::{CmdError, Command};
use crate::resp::ReplyBuf;
use crate::util::geohash::Point;
use crate::util::num;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    add::GEOADD,
    place::GEOPOS,
    place::GEOHASH,
    place::GEODIST,
    search::GEOSEARCH,
    search::GEOSEARCHSTORE,
    search::GEORADIUS,
    search::GEORADIUS_RO,
    search::GEORADIUSBYMEMBER,
    search::GEORADIUSBYMEMBER_RO,
];

fn float(arg: &[u8], error: CmdError) -> Result<f64, CmdError> {
    num::parse_f64(arg).ok_or(error)
}

/// Reads a place, which must be on the map.
fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, CmdError> {
    let point = Point {
        longitude: float(longitude, CmdError::NOT_FLOAT)?,
        latitude: float(latitude, CmdError::NOT_FLOAT)?,
    };
    if point.is_on_map() {
        return Ok(point);
    }
    Err(CmdError::new(format!(
        "ERR invalid longitude,latitude pair {:.6},{:.6}",
        point.longitude, point.latitude
    )))
}

/// Reads a unit of length; gives it in metres.
fn unit(arg: &[u8]) -> Result<f64, CmdError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let found = UNITS.iter().find(|(name, _)| is(arg, name));
    found.map(|(_, metres)| *metres).ok_or(CmdError::fixed(
        "ERR unsupported unit provided. please use M, KM, FT, MI",
    ))
}

/// Answers with a distance: four digits behind the dot.
fn put_distance(reply: &mut ReplyBuf, distance: f64) {
    let parts = (distance * 10_000.0).round_ties_even() as i64;
    let sign = if parts < 0 { "-" } else { "" };
    let (whole, fraction) = (parts.unsigned_abs() / 10_000, parts.unsigned_abs() % 10_000);
    reply.bulk(format!("{sign}{whole}.{fraction:04}").as_bytes());
}

/// Answers with a longitude and a latitude: up to seventeen digits behind the dot.
fn put_point(reply: &mut ReplyBuf, point: Point) {
    reply.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        if reply.is_resp3() {
            reply.raw(b",");
            reply.raw(text.as_bytes());
            reply.raw(b"\r\n");
        } else {
            reply.bulk(text.as_bytes());
        }
    }
}
