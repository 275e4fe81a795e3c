//! What a search is asked for: the words of GEOSEARCH and of GEORADIUS.

use super::place::place;
use super::{float, point, unit};
use crate::exec::args::{Cursor, is};
use crate::exec::error::shown;
use crate::exec::{Args, CmdError};
use crate::types::geo::{Area, Shape};
use crate::types::zset::ZSet;
use crate::util::geohash::Point;

/// The commands that search, by what their arguments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// GEORADIUS; whether it may store what it finds.
    Radius {
        /// It is not the read-only one.
        store: bool,
    },
    /// GEORADIUSBYMEMBER; whether it may store what it finds.
    RadiusByMember {
        /// It is not the read-only one.
        store: bool,
    },
    /// GEOSEARCH.
    Search,
    /// GEOSEARCHSTORE.
    SearchStore,
}

impl Form {
    /// Whether it is one of the newer commands, which name their area.
    pub(super) fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    /// Position of the key that is searched.
    pub(super) fn source(self) -> usize {
        match self {
            Form::SearchStore => 2,
            _ => 1,
        }
    }

    /// Position of the first option.
    fn options(self) -> usize {
        match self {
            Form::Search => 2,
            Form::SearchStore => 3,
            Form::RadiusByMember { .. } => 5,
            Form::Radius { .. } => 6,
        }
    }
}

/// In which order hits are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As they are found.
    Found,
    /// The nearest first.
    Nearest,
    /// The farthest first.
    Farthest,
}

/// What is told of each hit beside its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct With {
    pub(super) distance: bool,
    pub(super) hash: bool,
    pub(super) point: bool,
}

impl With {
    /// How much that is.
    pub(super) fn count(self) -> usize {
        usize::from(self.distance) + usize::from(self.hash) + usize::from(self.point)
    }
}

/// Where hits are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Store<'a> {
    pub(super) key: &'a [u8],
    /// With their distances for scores.
    pub(super) distances: bool,
}

/// What a search is asked for.
#[derive(Debug)]
pub(super) struct Query<'a> {
    /// Where to look; `None` if the key with the member to look around is missing.
    pub(super) area: Option<Area>,
    pub(super) order: Order,
    /// Most hits that are returned.
    pub(super) count: Option<usize>,
    /// Whether any hits will do.
    pub(super) any: bool,
    pub(super) with: With,
    pub(super) store: Option<Store<'a>>,
}

impl<'a> Query<'a> {
    /// Reads the arguments. The source is needed for the places of members.
    pub(super) fn parse(
        args: Args<'a>,
        form: Form,
        source: Option<&ZSet>,
    ) -> Result<Query<'a>, CmdError> {
        let mut words = Words::new(args, form, source);
        words.radius(args)?;
        let mut rest = args.cursor(form.options());
        while let Some(word) = rest.next() {
            let known = words.flag(word)
                || words.count(word, &mut rest)?
                || words.store(word, &mut rest)
                || form.is_search()
                    && (words.from(word, &mut rest)? || words.by(word, &mut rest)?);
            if !known {
                return Err(CmdError::SYNTAX);
            }
        }
        words.finish(args)
    }
}

/// The middle of the area, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    Point(Point),
    Member(Point),
    /// A member of a key that is missing.
    Nobody,
}

/// The words read so far.
struct Words<'a, 'z> {
    form: Form,
    source: Option<&'z ZSet>,
    from: Option<From>,
    by: Option<(Shape, f64)>,
    order: Option<Order>,
    count: Option<i64>,
    any: bool,
    with: With,
    store: Option<Store<'a>>,
}

impl<'a, 'z> Words<'a, 'z> {
    fn new(args: Args<'a>, form: Form, source: Option<&'z ZSet>) -> Self {
        let store = (form == Form::SearchStore).then(|| Store {
            key: args.at(1),
            distances: false,
        });
        Words {
            form,
            source,
            from: None,
            by: None,
            order: None,
            count: None,
            any: false,
            with: With::default(),
            store,
        }
    }

    /// The arguments of GEORADIUS and GEORADIUSBYMEMBER that are always there. Without a source nobody looks at those
    /// of the latter.
    fn radius(&mut self, args: Args<'_>) -> Result<(), CmdError> {
        match self.form {
            Form::Radius { .. } => {
                self.from = Some(From::Point(point(args.at(2), args.at(3))?));
                self.by = Some(circle(args.at(4), args.at(5))?);
            }
            Form::RadiusByMember { .. } => {
                let from = self.member(args.at(2))?;
                if from != From::Nobody {
                    self.by = Some(circle(args.at(3), args.at(4))?);
                }
                self.from = Some(from);
            }
            Form::Search | Form::SearchStore => {}
        }
        Ok(())
    }

    fn member(&self, member: &[u8]) -> Result<From, CmdError> {
        let Some(source) = self.source else {
            return Ok(From::Nobody);
        };
        let at = place(source, member);
        at.map(From::Member).ok_or(CmdError::fixed(
            "ERR could not decode requested zset member",
        ))
    }

    /// Takes a word that stands alone.
    fn flag(&mut self, word: &[u8]) -> bool {
        if is(word, "WITHDIST") {
            self.with.distance = true;
        } else if is(word, "WITHHASH") {
            self.with.hash = true;
        } else if is(word, "WITHCOORD") {
            self.with.point = true;
        } else if is(word, "ANY") {
            self.any = true;
        } else if is(word, "ASC") {
            self.order = Some(Order::Nearest);
        } else if is(word, "DESC") {
            self.order = Some(Order::Farthest);
        } else {
            return false;
        }
        true
    }

    fn count(&mut self, word: &[u8], rest: &mut Cursor<'a>) -> Result<bool, CmdError> {
        if !is(word, "COUNT") || rest.left() == 0 {
            return Ok(false);
        }
        let count = rest.int()?;
        if count <= 0 {
            return Err(CmdError::fixed("ERR COUNT must be > 0"));
        }
        self.count = Some(count);
        Ok(true)
    }

    /// Takes STORE and STOREDIST. The one that comes last counts.
    fn store(&mut self, word: &[u8], rest: &mut Cursor<'a>) -> bool {
        let distances = is(word, "STOREDIST");
        match (self.form, &mut self.store) {
            (Form::SearchStore, Some(store)) if distances => {
                store.distances = true;
                true
            }
            (Form::Radius { store: true } | Form::RadiusByMember { store: true }, store)
                if distances || is(word, "STORE") =>
            {
                let Some(key) = rest.next() else {
                    return false;
                };
                *store = Some(Store { key, distances });
                true
            }
            _ => false,
        }
    }

    fn is_polygon(&self) -> bool {
        matches!(self.by, Some((Shape::Polygon(_), _)))
    }

    /// Takes FROMMEMBER or FROMLONLAT; it may be repeated, but not be followed by the other one.
    fn from(&mut self, word: &[u8], rest: &mut Cursor<'a>) -> Result<bool, CmdError> {
        let of_point = matches!(self.from, Some(From::Point(_)));
        let of_member = matches!(self.from, Some(From::Member(_) | From::Nobody));
        let from = if self.is_polygon() {
            return Ok(false);
        } else if is(word, "FROMMEMBER") && rest.left() >= 1 && !of_point {
            self.member(rest.word()?)?
        } else if is(word, "FROMLONLAT") && rest.left() >= 2 && !of_member {
            From::Point(point(rest.word()?, rest.word()?)?)
        } else {
            return Ok(false);
        };
        self.from = Some(from);
        Ok(true)
    }

    /// Takes BYRADIUS, BYBOX or BYPOLYGON; it may be repeated, but not be followed by another one.
    fn by(&mut self, word: &[u8], rest: &mut Cursor<'a>) -> Result<bool, CmdError> {
        let by = &self.by;
        let (left, free) = (rest.left(), by.is_none());
        let shape = if is(word, "BYRADIUS")
            && left >= 2
            && (free || matches!(by, Some((Shape::Circle { .. }, _))))
        {
            circle(rest.word()?, rest.word()?)?
        } else if is(word, "BYBOX")
            && left >= 3
            && (free || matches!(by, Some((Shape::Box { .. }, _))))
        {
            rectangle(rest)?
        } else if is(word, "BYPOLYGON")
            && left >= 2
            && (free || self.is_polygon())
            && self.from.is_none()
        {
            (Shape::Polygon(vertices(rest)?), 1.0)
        } else {
            return Ok(false);
        };
        self.by = Some(shape);
        Ok(true)
    }

    /// Checks what the words mean together.
    fn finish(self, args: Args<'_>) -> Result<Query<'a>, CmdError> {
        if self.store.is_some() && self.with.count() > 0 {
            let what = match self.form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(CmdError::new(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let missing = if !self.form.is_search() {
            None
        } else if self.from.is_none() && !self.is_polygon() {
            Some("FROMMEMBER or FROMLONLAT")
        } else if self.by.is_none() {
            Some("BYRADIUS and BYBOX")
        } else {
            None
        };
        if let Some(missing) = missing {
            let command = shown(args.at(0), usize::MAX);
            return Err(CmdError::new(format!(
                "ERR exactly one of {missing} can be specified for {command}"
            )));
        }
        if self.any && self.count.is_none() {
            return Err(CmdError::fixed(
                "ERR the ANY argument requires COUNT argument",
            ));
        }
        let implied = match self.count {
            // The nearest ones, unless any will do.
            Some(_) if !self.any => Order::Nearest,
            _ => Order::Found,
        };
        Ok(Query {
            area: area(self.from, self.by),
            order: self.order.unwrap_or(implied),
            count: self.count.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            any: self.any,
            with: self.with,
            store: self.store,
        })
    }
}

fn area(from: Option<From>, by: Option<(Shape, f64)>) -> Option<Area> {
    match (from, by?) {
        (_, (Shape::Polygon(vertices), _)) => Some(Area::polygon(vertices)),
        (Some(From::Point(center) | From::Member(center)), (shape, unit)) => Some(Area {
            center,
            shape,
            unit,
        }),
        _ => None,
    }
}

fn circle(radius: &[u8], unit_word: &[u8]) -> Result<(Shape, f64), CmdError> {
    let radius = float(radius, CmdError::fixed("ERR need numeric radius"))?;
    if radius < 0.0 {
        return Err(CmdError::fixed("ERR radius cannot be negative"));
    }
    Ok((Shape::Circle { radius }, unit(unit_word)?))
}

fn rectangle(rest: &mut Cursor<'_>) -> Result<(Shape, f64), CmdError> {
    let width = float(rest.word()?, CmdError::fixed("ERR need numeric width"))?;
    let height = float(rest.word()?, CmdError::fixed("ERR need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(CmdError::fixed("ERR height or width cannot be negative"));
    }
    Ok((Shape::Box { width, height }, unit(rest.word()?)?))
}

fn vertices(rest: &mut Cursor<'_>) -> Result<Vec<Point>, CmdError> {
    let number = rest.int().ok().and_then(|n| i32::try_from(n).ok());
    let number = number.ok_or(CmdError::fixed("ERR invalid number of vertices"))?;
    match usize::try_from(number) {
        Ok(n) if n >= 3 && n <= rest.left() / 2 => {
            (0..n).map(|_| point(rest.word()?, rest.word()?)).collect()
        }
        _ => Err(CmdError::fixed(
            "ERR GEOSEARCH BYPOLYGON must have at least 3 vertices",
        )),
    }
}
