//! What a server acknowledged, when, and what its contents were: what may be left after a power cut follows from that.

use std::collections::BTreeSet;

/// What was acknowledged at a point, and the contents behind it.
#[derive(Clone, Debug)]
pub struct Point {
    /// Operations on the disk before the command was sent. Behind fewer none of it can be on the disk.
    pub begun: usize,
    /// Operations on the disk when it had been acknowledged.
    pub done: usize,
    /// When that was, in milliseconds.
    pub at: i64,
    pub what: String,
    pub contents: String,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    points: Vec<Point>,
}

/// What must not be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Everything that was acknowledged.
    All,
    /// What was acknowledged so many milliseconds ago.
    Since(i64),
    /// Nothing, but what there is was once the whole.
    Nothing,
}

impl History {
    /// A history that begins with these contents, which are there whatever happens.
    pub fn new(contents: String) -> History {
        let mut history = History::default();
        history.add(Point {
            begun: 0,
            done: 0,
            at: i64::MIN,
            what: "the beginning".to_owned(),
            contents,
        });
        history
    }

    pub fn add(&mut self, point: Point) {
        self.points.push(point);
    }

    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// The points whose contents may be there after a cut behind `ops` operations at this time.
    pub fn possible(&self, ops: usize, now: i64, promise: Promise) -> &[Point] {
        let must = |point: &Point| match promise {
            Promise::All => point.done <= ops,
            Promise::Since(ms) => point.done <= ops && point.at <= now - ms,
            Promise::Nothing => false,
        };
        let first = self.points.iter().rposition(must).unwrap_or(0);
        let last = self.points.iter().rposition(|point| point.begun < ops);
        &self.points[first..=last.unwrap_or(0).max(first)]
    }

    /// Whether these contents may be there; if not, what is wrong.
    pub fn allows(
        &self,
        contents: &str,
        ops: usize,
        now: i64,
        promise: Promise,
    ) -> Result<(), String> {
        let possible = self.possible(ops, now, promise);
        if possible.iter().any(|point| point.contents == contents) {
            return Ok(());
        }
        let place = self.points.iter().rposition(|p| p.contents == contents);
        let found = match place.map(|at| &self.points[at]) {
            Some(point) => format!("it is as behind \"{}\"", point.what),
            None => format!("no such contents ever were: {}", self.nearest(contents)),
        };
        let (first, last) = (&possible[0].what, &possible[possible.len() - 1].what);
        let known = "it should be as behind";
        Err(format!("{found}; {known} \"{first}\" up to \"{last}\""))
    }

    /// How contents differ from those most like them.
    fn nearest(&self, contents: &str) -> String {
        let lines: BTreeSet<_> = contents.lines().collect();
        let mut best: Option<(usize, String)> = None;
        for point in &self.points {
            let there: BTreeSet<_> = point.contents.lines().collect();
            let differ: Vec<_> = lines.symmetric_difference(&there).collect();
            if best.as_ref().is_none_or(|(least, _)| differ.len() < *least) {
                let mut text = format!("most like behind \"{}\"", point.what);
                for line in &differ {
                    let sign = if there.contains(*line) { '-' } else { '+' };
                    text += &format!("\n{sign}{line}");
                }
                best = Some((differ.len(), text + "\n"));
            }
        }
        best.map_or_else(String::new, |(_, text)| text)
    }
}

#[test]
fn what_was_acknowledged_must_be_there() {
    let mut history = History::new("0".into());
    for n in 1..=4usize {
        history.add(Point {
            begun: 10 * n,
            done: 10 * n + 5,
            at: 100 * n as i64,
            what: n.to_string(),
            contents: n.to_string(),
        });
    }
    let possible = |ops, now, promise| -> String {
        let points = history.possible(ops, now, promise);
        points.iter().map(|point| &*point.contents).collect()
    };
    assert_eq!(possible(10, 100, Promise::All), "0");
    assert_eq!(possible(11, 100, Promise::All), "01");
    assert_eq!(possible(15, 100, Promise::All), "1");
    assert_eq!(possible(26, 200, Promise::All), "2");
    assert_eq!(possible(26, 200, Promise::Since(100)), "12");
    assert_eq!(possible(26, 200, Promise::Since(101)), "012");
    assert_eq!(possible(31, 300, Promise::Nothing), "0123");
    assert!(history.allows("2", 26, 200, Promise::All).is_ok());
    let lost = history.allows("1", 26, 200, Promise::All).unwrap_err();
    assert!(
        lost.contains("as behind \"1\"; it should be as behind \"2\""),
        "{lost}"
    );
    assert!(history.allows("3", 26, 200, Promise::Nothing).is_err());
    assert!(history.allows("x", 26, 200, Promise::Nothing).is_err());
}
