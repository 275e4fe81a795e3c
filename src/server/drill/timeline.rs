//! What happened when, from the fault on.

use super::ledger::Moment;
use super::pulse::Pause;
use super::told::Told;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: Moment,
    /// Its name, for machines.
    pub(super) event: &'static str,
    /// What it means, for people.
    pub(super) what: String,
}

impl Mark {
    pub(super) fn new(at: Moment, event: &'static str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { at, event, what }
    }

    /// Milliseconds since the fault.
    pub(super) fn ms_since(&self, fault: Moment) -> f64 {
        (self.at.as_secs_f64() - fault.as_secs_f64()) * 1000.0
    }
}

/// What sentinels tell on the way to another leader, and what it is called here.
const STEPS: [(&str, &str); 5] = [
    ("+sdown", "sdown"),
    ("+odown", "odown"),
    ("+elected-leader", "elected"),
    ("+promoted-slave", "promoted"),
    ("+convert-to-slave", "converted"),
];

/// What the sentinels told from the fault on: the first time that each step was told of, and each change of the leader.
pub(super) fn of_sentinels(told: &[Told], fault: Moment) -> Vec<Mark> {
    let told: Vec<_> = told.iter().filter(|told| told.at >= fault).collect();
    let mut marks = Vec::new();
    for (name, event) in STEPS {
        let mut all = told.iter().filter(|told| told.event == name);
        // It is the leader that matters, where it is concerned.
        let of_leader = all.clone().find(|t| t.payload.starts_with("master "));
        if let Some(first) = of_leader.or_else(|| all.next()) {
            marks.push(mark(first, event));
        }
    }
    let mut switches: Vec<&Told> = Vec::new();
    for told in told.iter().filter(|told| told.event == "+switch-master") {
        if switches.iter().all(|known| known.payload != told.payload) {
            switches.push(told);
            marks.push(mark(told, "switch-master"));
        }
    }
    marks.extend(last_to_switch(&told, switches.first().copied()));
    marks
}

fn mark(told: &Told, event: &'static str) -> Mark {
    let what = format!(
        "{} {} (sentinel {})",
        told.event, told.payload, told.sentinel
    );
    Mark::new(told.at, event, what)
}

/// When the last of the sentinels told of the first change of the leader, if several did.
fn last_to_switch(told: &[&Told], first: Option<&Told>) -> Option<Mark> {
    let first = first?;
    let same = |told: &&&Told| told.event == first.event && told.payload == first.payload;
    let others = told.iter().filter(same).skip(1);
    let (count, last) = (others.clone().count() + 1, others.last()?);
    let what = format!("+switch-master by all {count} sentinels that told of it");
    Some(Mark::new(last.at, "switch-master-all", what))
}

/// The time in which nobody could write.
pub(super) fn of_pause(pause: Option<Pause>) -> Vec<Mark> {
    let Some(pause) = pause else {
        return Vec::new();
    };
    let mut marks = vec![Mark::new(
        pause.from,
        "last-success",
        "last write before the pause",
    )];
    if pause.ended {
        let first = Mark::new(pause.to, "first-success", "first write behind the pause");
        marks.push(first);
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Moment {
        Moment::from_millis(n)
    }

    fn told(at: u64, port: u16, event: &str, payload: &str) -> Told {
        Told {
            at: ms(at),
            sentinel: format!("s:{port}").parse().unwrap(),
            event: event.to_owned(),
            payload: payload.to_owned(),
        }
    }

    #[test]
    fn the_first_of_each_step_behind_the_fault_is_told() {
        let told = [
            told(500, 1, "+sdown", "master m a 1"),
            told(1900, 1, "+sdown", "slave x @ m a 1"),
            told(2000, 1, "+sdown", "master m a 1"),
            told(2001, 2, "+sdown", "master m a 1"),
            told(2100, 2, "+odown", "master m a 1 #quorum 2/2"),
            told(2500, 2, "+switch-master", "m a 1 b 2"),
            told(2600, 1, "+switch-master", "m a 1 b 2"),
            told(2700, 1, "+switch-master", "m b 2 a 1"),
        ];
        let marks: Vec<_> = of_sentinels(&told, ms(1000))
            .iter()
            .map(|mark| (mark.event, mark.ms_since(ms(1000)).round() as i64))
            .collect();
        assert_eq!(
            marks,
            [
                ("sdown", 1000),
                ("odown", 1100),
                ("switch-master", 1500),
                ("switch-master", 1700),
                ("switch-master-all", 1600),
            ]
        );
        assert!(of_sentinels(&told, ms(9000)).is_empty());
    }

    #[test]
    fn a_pause_that_did_not_end_has_no_first_write() {
        let pause = |ended| Pause {
            from: ms(900),
            to: ms(1500),
            ended,
        };
        assert_eq!(of_pause(Some(pause(true))).len(), 2);
        let open = of_pause(Some(pause(false)));
        assert_eq!(open.len(), 1);
        assert!((open[0].ms_since(ms(1000)) + 100.0).abs() < 0.001);
    }
}
