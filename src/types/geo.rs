//! Searches in geographic indexes: sorted sets whose scores are places (see [`geohash`]).
//!
//! A search looks into nine cells of a grid, the one with its center and those around it. The grid is as fine as can
//! be for nine of its cells to cover what is looked for. The order of what is found is that of the cells, and inside of
//! each that of the scores.
//!
//! [`geohash`]: crate::util::geohash

use smallvec::SmallVec;
use std::f64::consts::PI;

use crate::ds::listpack::Value;
use crate::types::zset::{ScoreBound, ScoreRange, ZSet};
use crate::util::geohash::{Bounds, Cell, MAX_LATITUDE, MAX_LONGITUDE, Point, STEPS};

/// The quadratic mean of the radius of the Earth, in metres.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
/// Half the length of the equator on the map, in metres.
const MERCATOR_MAX: f64 = 20_037_726.37;
const DEGREE: f64 = PI / 180.0;

/// The distance between two places along the surface, in metres.
pub fn distance(a: Point, b: Point) -> f64 {
    let (from, to) = (a.longitude * DEGREE, b.longitude * DEGREE);
    let v = ((to - from) / 2.0).sin();
    if v == 0.0 {
        return distance_north(a, b);
    }
    let (from, to) = (a.latitude * DEGREE, b.latitude * DEGREE);
    let u = ((to - from) / 2.0).sin();
    let h = u * u + from.cos() * to.cos() * v * v;
    2.0 * EARTH_RADIUS * h.sqrt().asin()
}

/// How far one place is to the north or south of another, in metres.
fn distance_north(a: Point, b: Point) -> f64 {
    EARTH_RADIUS * (b.latitude * DEGREE - a.latitude * DEGREE).abs()
}

/// What is looked for around a center. Lengths are in the unit of the area.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// What is not farther than this.
    Circle {
        /// The radius.
        radius: f64,
    },
    /// A rectangle along the meridian of the center and the parallels.
    Box {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
    /// What has an odd number of edges to its east, on the flat map. The last vertex is joined with the first.
    Polygon(Vec<Point>),
}

/// Where to look.
#[derive(Debug, Clone, PartialEq)]
pub struct Area {
    /// Its middle, from which distances are measured.
    pub center: Point,
    /// Its form.
    pub shape: Shape,
    /// The unit of its lengths, in metres.
    pub unit: f64,
}

impl Area {
    /// The inside of a polygon, in metres from the middle of its vertices.
    pub fn polygon(vertices: Vec<Point>) -> Area {
        Area {
            center: centroid(&vertices),
            shape: Shape::Polygon(vertices),
            unit: 1.0,
        }
    }

    /// How far from the center a place of the area is, in metres.
    pub fn distance(&self, at: Point) -> Option<f64> {
        match &self.shape {
            Shape::Circle { radius } => {
                let distance = distance(self.center, at);
                (distance <= radius * self.unit).then_some(distance)
            }
            Shape::Box { width, height } => {
                let level = Point {
                    longitude: self.center.longitude,
                    latitude: at.latitude,
                };
                let inside = distance_north(at, self.center) <= height * self.unit / 2.0
                    && distance(at, level) <= width * self.unit / 2.0;
                inside.then(|| distance(self.center, at))
            }
            Shape::Polygon(vertices) => contains(vertices, at).then(|| distance(self.center, at)),
        }
    }

    /// The cells that cover the area, in the order in which they are searched.
    pub fn cells(&self) -> SmallVec<[Cell; 9]> {
        let bounds = self.bounds();
        let center = self.center.onto_map();
        let mut step = self.step();
        let mut cell = Cell::of(center, step);
        if step > 1 && !covers(cell, &bounds) {
            step -= 1;
            cell = Cell::of(center, step);
        }
        let inner = cell.bounds();
        let needed = |east: i8, north: i8| {
            // The coarsest grid has no cell to spare.
            step < 2
                || !(north < 0 && inner.latitude.0 < bounds.latitude.0
                    || north > 0 && inner.latitude.1 > bounds.latitude.1
                    || east < 0 && inner.longitude.0 < bounds.longitude.0
                    || east > 0 && inner.longitude.1 > bounds.longitude.1)
        };
        let mut cells: SmallVec<[Cell; 9]> = SmallVec::new();
        cells.push(cell);
        for (east, north) in AROUND {
            let next = cell.neighbour(east, north);
            // On a coarse grid a cell is its own neighbour's neighbour on the other side, too.
            let again = cells.len() > 1 && cells.last() == Some(&next);
            if needed(east, north) && !again {
                cells.push(next);
            }
        }
        cells
    }

    /// The rectangle of the map that holds the area.
    fn bounds(&self) -> Bounds {
        let (width, height) = match &self.shape {
            Shape::Circle { radius } => (*radius, *radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
            Shape::Polygon(vertices) => return bounds_of(vertices),
        };
        let (width, height) = (self.unit * width, self.unit * height);
        let Point {
            longitude,
            latitude,
        } = self.center;
        let north = height / EARTH_RADIUS / DEGREE;
        // Parallels are shorter towards the pole.
        let farthest = if latitude < 0.0 {
            latitude - north
        } else {
            latitude + north
        };
        let east = width / EARTH_RADIUS / (farthest * DEGREE).cos() / DEGREE;
        Bounds {
            longitude: (longitude - east, longitude + east),
            latitude: (latitude - north, latitude + north),
        }
    }

    /// The grid of which nine cells should cover the area.
    fn step(&self) -> u32 {
        let radius = match &self.shape {
            Shape::Circle { radius } => *radius,
            Shape::Box { width, height } => {
                let (x, y) = (width / 2.0, height / 2.0);
                (x * x + y * y).sqrt()
            }
            Shape::Polygon(vertices) => self.farthest_corner(&bounds_of(vertices)),
        };
        let mut radius = radius * self.unit;
        if radius == 0.0 {
            return STEPS;
        }
        let mut step = -1;
        while radius < MERCATOR_MAX {
            radius *= 2.0;
            step += 1;
        }
        // Near the poles cells are narrow.
        let latitude = self.center.latitude.abs();
        step -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        step.clamp(1, STEPS as i32) as u32
    }

    fn farthest_corner(&self, bounds: &Bounds) -> f64 {
        let (west, east) = bounds.longitude;
        let (south, north) = bounds.latitude;
        [(west, north), (east, north), (west, south), (east, south)]
            .into_iter()
            .map(|(longitude, latitude)| {
                let corner = Point {
                    longitude,
                    latitude,
                };
                distance(self.center, corner)
            })
            .fold(0.0, f64::max)
    }
}

/// The neighbours of a cell, columns to the east and rows to the north, in the order in which they are searched.
const AROUND: [(i8, i8); 8] = [
    (0, 1),
    (0, -1),
    (1, 0),
    (-1, 0),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
];

/// Whether a cell and its neighbours reach beyond these bounds.
fn covers(cell: Cell, bounds: &Bounds) -> bool {
    let (north, south) = (
        cell.neighbour(0, 1).bounds(),
        cell.neighbour(0, -1).bounds(),
    );
    let (east, west) = (
        cell.neighbour(1, 0).bounds(),
        cell.neighbour(-1, 0).bounds(),
    );
    let short = north.latitude.1 < bounds.latitude.1
        || south.latitude.0 > bounds.latitude.0
        || east.longitude.1 < bounds.longitude.1
        || west.longitude.0 > bounds.longitude.0;
    !short
}

/// The rectangle of the map that holds all of these places.
fn bounds_of(vertices: &[Point]) -> Bounds {
    let start = Bounds {
        longitude: (MAX_LONGITUDE, -MAX_LONGITUDE),
        latitude: (MAX_LATITUDE, -MAX_LATITUDE),
    };
    let wider = |(least, most): (f64, f64), at: f64| (least.min(at), most.max(at));
    vertices.iter().fold(start, |bounds, at| Bounds {
        longitude: wider(bounds.longitude, at.longitude),
        latitude: wider(bounds.latitude, at.latitude),
    })
}

/// The place above the mean of places in space.
fn centroid(vertices: &[Point]) -> Point {
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for at in vertices {
        let (longitude, latitude) = (at.longitude * DEGREE, at.latitude * DEGREE);
        x += EARTH_RADIUS * latitude.cos() * longitude.cos();
        y += EARTH_RADIUS * latitude.cos() * longitude.sin();
        z += EARTH_RADIUS * latitude.sin();
    }
    let n = vertices.len() as f64;
    let (x, y, z) = (x / n, y / n, z / n);
    Point {
        longitude: y.atan2(x) / DEGREE,
        latitude: z.atan2((x * x + y * y).sqrt()) / DEGREE,
    }
}

/// Whether a place is inside of a polygon: a line to the east of it crosses an odd number of edges.
fn contains(vertices: &[Point], at: Point) -> bool {
    let previous = vertices
        .iter()
        .cycle()
        .skip(vertices.len().saturating_sub(1));
    let edges = vertices.iter().zip(previous);
    let crossed = edges.filter(|(a, b)| {
        (a.latitude > at.latitude) != (b.latitude > at.latitude) && {
            let rise = b.latitude - a.latitude;
            let run = b.longitude - a.longitude;
            at.longitude < run * (at.latitude - a.latitude) / rise + a.longitude
        }
    });
    crossed.count() % 2 == 1
}

/// A member that was found.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'a> {
    /// The member.
    pub member: Value<'a>,
    /// Its score.
    pub score: f64,
    /// Where it is.
    pub at: Point,
    /// How far from the center, in metres.
    pub distance: f64,
}

/// The members inside of an area; with a limit the search ends when so many are found.
pub fn search<'a>(zset: &'a ZSet, area: &Area, limit: Option<usize>) -> Vec<Hit<'a>> {
    let limit = limit.unwrap_or(usize::MAX);
    let within = |(member, score): (Value<'a>, f64)| {
        let at = Point::from_score(score);
        let distance = area.distance(at)?;
        Some(Hit {
            member,
            score,
            at,
            distance,
        })
    };
    let cells = area.cells();
    let members = cells.iter().flat_map(|cell| {
        let scores = cell.scores();
        let bound = |score, exclusive| ScoreBound { score, exclusive };
        let range = ScoreRange {
            min: bound(scores.start, false),
            max: bound(scores.end, true),
        };
        zset.range(zset.score_ranks(&range))
    });
    members.filter_map(within).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ds::table::Seed;
    use crate::types::zset::Limits;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn point(longitude: f64, latitude: f64) -> Point {
        Point {
            longitude,
            latitude,
        }
    }

    fn index(places: &[Point], entries: usize) -> ZSet {
        let limits = Limits {
            entries,
            value: 64,
            seed: Seed::random(|| 7),
        };
        let mut zset = ZSet::new(limits, places.len(), 1);
        for (i, at) in places.iter().enumerate() {
            zset.add(i.to_string().as_bytes(), at.score(), limits);
        }
        zset
    }

    fn found(zset: &ZSet, area: &Area) -> Vec<String> {
        let mut digits = itoa::Buffer::new();
        search(zset, area, None)
            .iter()
            .map(|hit| String::from_utf8(hit.member.bytes(&mut digits).to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn distances_are_those_that_a_real_redis_gave() {
        let places = [
            point(0.0, 0.0),
            point(180.0, 85.05112878),
            point(-180.0, -85.05112878),
            point(13.361389, 38.115556),
            point(15.087269, 37.502669),
            point(-122.27652, 37.805186),
            point(-5.6, 42.6),
            point(2.2945, 48.8584),
            point(179.9999999, -85.05),
        ];
        let stored = places.map(|at| Point::from_score(at.score()));
        let wanted = [
            "10560811.4940",
            "18919844.5891",
            "14784257.5187",
            "166274.1516",
            "10571523.8051",
            "9026299.3393",
            "926494.2011",
            "15994785.0007",
        ];
        for (pair, wanted) in stored.windows(2).zip(wanted) {
            assert_eq!(format!("{:.4}", distance(pair[0], pair[1])), wanted);
        }
        let (a, b) = (point(10.0, 40.0), point(10.0, 41.0));
        assert_eq!(format!("{:.4}", distance(a, b)), "111226.3000");
    }

    #[test]
    fn a_search_goes_from_cell_to_cell() {
        // Cells of 22.5 by 10.6 degrees: the one with the center, those to the north, south and east, north-east and
        // south-east. West of the center the area ends before its cell does.
        let places = [
            (20.0, 5.0),
            (20.0, 10.8),
            (20.0, -0.5),
            (23.0, 5.0),
            (23.0, 10.8),
            (23.0, -0.5),
        ];
        let places = places.map(|(x, y)| point(x, y));
        let area = Area {
            center: places[0],
            shape: Shape::Box {
                width: 1100.0,
                height: 1340.0,
            },
            unit: 1000.0,
        };
        assert_eq!(area.cells().len(), places.len());
        for entries in [0, 128] {
            let zset = index(&places, entries);
            assert_eq!(found(&zset, &area).concat(), "012345");
            assert_eq!(search(&zset, &area, Some(4)).len(), 4);
        }
    }

    #[test]
    fn the_finest_grid_looks_at_the_place_itself() {
        let at = Point::from_score(point(2.0, 48.0).score());
        let circle = Area {
            center: at,
            shape: Shape::Circle { radius: 0.0 },
            unit: 1.0,
        };
        let zset = index(&[at, point(2.0001, 48.0)], 128);
        assert_eq!(found(&zset, &circle), ["0"]);
    }

    #[test]
    fn a_polygon_is_what_its_edges_go_around() {
        let square = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)];
        let area = Area::polygon(square.map(|(x, y)| point(x, y)).to_vec());
        let inside = |x, y| area.distance(point(x, y)).is_some();
        assert!(inside(5.0, 5.0) && inside(0.1, 9.9));
        assert!(!inside(-0.1, 5.0) && !inside(5.0, 10.1) && !inside(10.1, 5.0));
        assert!((area.center.longitude - 5.0).abs() < 0.1);
        // Crossed edges: what is gone around twice is outside.
        let hourglass = [(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)];
        let area = Area::polygon(hourglass.map(|(x, y)| point(x, y)).to_vec());
        assert!(area.distance(point(1.0, 5.0)).is_some());
        assert!(area.distance(point(5.0, 1.0)).is_none());
    }

    #[test]
    fn areas_beyond_measure_end() {
        for radius in [0.0, 5e-324, 1e-300, 1e308, f64::INFINITY] {
            for latitude in [-85.05, -70.0, 0.0, 85.05] {
                let area = Area {
                    center: point(179.9, latitude),
                    shape: Shape::Circle { radius },
                    unit: 1609.34,
                };
                assert!(!area.cells().is_empty());
            }
        }
        // All around the pole: the middle is not on the map.
        let ring = (0..8).map(|i| point(f64::from(i) * 45.0 - 170.0, 85.0));
        let area = Area::polygon(ring.collect());
        assert!(area.center.latitude > MAX_LATITUDE);
        assert!(!area.cells().is_empty());
    }

    fn place() -> impl Strategy<Value = Point> {
        (-180.0..180.0, -70.0..70.0).prop_map(|(x, y)| Point::from_score(point(x, y).score()))
    }

    /// Places near another one.
    fn near(center: Point, spread: f64) -> impl Strategy<Value = Point> {
        (-spread..spread, -spread..spread).prop_map(move |(x, y)| {
            let at = point(
                center.longitude + x,
                (center.latitude + y).clamp(-70.0, 70.0),
            );
            let longitude = (at.longitude + 540.0).rem_euclid(360.0) - 180.0;
            Point::from_score(point(longitude, at.latitude).score())
        })
    }

    proptest! {
        #[test]
        fn searches_find_what_looking_at_every_member_finds(
            (center, places) in place().prop_flat_map(|center| {
                let anywhere = prop_oneof![place(), near(center, 2.0), near(center, 20.0)];
                (Just(center), prop::collection::vec(anywhere, 0..60))
            }),
            width in 1.0..2000.0,
            height in 1.0..2000.0,
            circle in any::<bool>(),
            entries in prop_oneof![Just(0usize), Just(128)],
        ) {
            let shape = if circle {
                Shape::Circle { radius: width }
            } else {
                Shape::Box { width, height }
            };
            let area = Area { center, shape, unit: 1000.0 };
            let all = places.iter().enumerate();
            let wanted: BTreeSet<String> = all
                .filter(|(_, at)| area.distance(**at).is_some())
                .map(|(i, _)| i.to_string())
                .collect();
            let hits = found(&index(&places, entries), &area);
            prop_assert_eq!(hits.len(), wanted.len());
            prop_assert_eq!(hits.into_iter().collect::<BTreeSet<_>>(), wanted);
        }
    }
}
