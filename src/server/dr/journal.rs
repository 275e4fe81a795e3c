//! What a promotion does, step by step: told as it happens, and what to do by hand where it fails.

use std::time::{Duration, Instant};

use super::say;
use crate::resp::Value;
use crate::server::ask::{Address, Ask, AskError};
use crate::server::json::Json;

/// How long a consequence is waited for: a link that comes up, sentinels that find each other.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// How often it is looked for meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Options and parameters whose values are not shown.
const SECRETS: &[&str] = &["masterauth", "auth-pass"];

/// A server or a sentinel that is told what to do.
#[derive(Debug)]
pub(super) struct Peer {
    pub address: Address,
    ask: Result<Ask, AskError>,
}

impl Peer {
    pub(super) const fn new(address: Address, ask: Result<Ask, AskError>) -> Self {
        Self { address, ask }
    }

    /// Asks something that changes nothing.
    pub(super) fn call(&mut self, words: &[&str]) -> Result<Value, AskError> {
        self.ask()?.call(words)
    }

    pub(super) fn ask(&mut self) -> Result<&mut Ask, AskError> {
        self.ask.as_mut().map_err(|error| error.clone())
    }

    /// A command as it would be given by hand.
    pub(super) fn by_hand(&self, words: &[&str]) -> String {
        let Address { host, port } = &self.address;
        format!("redis-cli -h {host} -p {port} {}", shown(words))
    }
}

/// A command, without what is nobody's business.
fn shown(words: &[&str]) -> String {
    let mut secret = false;
    let shown = words.iter().map(|word| {
        let hidden = std::mem::replace(&mut secret, SECRETS.contains(word));
        match word {
            _ if hidden => "PASSWORD",
            &"" => "''",
            word => word,
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed(String),
    /// It would be done.
    Planned,
}

#[derive(Debug, Clone)]
struct Step {
    address: String,
    what: String,
    outcome: Outcome,
    by_hand: Option<String>,
    /// Since the step before.
    took: Duration,
}

/// What was done.
#[derive(Debug)]
pub(super) struct Journal {
    steps: Vec<Step>,
    last: Instant,
    /// Nothing is done, only told.
    dry: bool,
    quiet: bool,
}

impl Journal {
    pub(super) fn new(dry: bool, quiet: bool) -> Self {
        Self {
            steps: Vec::new(),
            last: Instant::now(),
            dry,
            quiet,
        }
    }

    /// Gives a command; whether it was carried out.
    pub(super) fn order(&mut self, to: &mut Peer, words: &[&str]) -> bool {
        let by_hand = to.by_hand(words);
        let done = match self.dry {
            true => None,
            false => Some(to.call(words).map(drop).map_err(|error| error.to_string())),
        };
        self.add(&to.address, shown(words), done, Some(by_hand))
    }

    /// Waits until something is so; whether it came to be. Where it does not, what the last look found is told.
    pub(super) fn expect(
        &mut self,
        at: &Address,
        what: &str,
        by_hand: &str,
        patience: Duration,
        mut look: impl FnMut() -> Result<(), String>,
    ) -> bool {
        let until = Instant::now() + patience;
        let done = (!self.dry).then(|| {
            loop {
                let found = look();
                if found.is_ok() || Instant::now() >= until {
                    return found;
                }
                std::thread::sleep(LOOK_AGAIN);
            }
        });
        self.add(at, what.to_owned(), done, Some(by_hand.to_owned()))
    }

    /// What could not even be tried.
    pub(super) fn fail(&mut self, at: &Address, what: &str, why: &str, by_hand: Option<String>) {
        self.add(at, what.to_owned(), Some(Err(why.to_owned())), by_hand);
    }

    fn add(
        &mut self,
        at: &Address,
        what: String,
        done: Option<Result<(), String>>,
        by_hand: Option<String>,
    ) -> bool {
        let outcome = match done {
            None => Outcome::Planned,
            Some(Ok(())) => Outcome::Done,
            Some(Err(why)) => Outcome::Failed(why),
        };
        let step = Step {
            address: at.to_string(),
            what,
            outcome,
            by_hand,
            took: self.last.elapsed(),
        };
        self.last += step.took;
        if !self.quiet {
            say(&step.line());
        }
        let went_well = !matches!(step.outcome, Outcome::Failed(_));
        self.steps.push(step);
        went_well
    }

    /// Whether nothing went wrong.
    pub(super) fn is_clean(&self) -> bool {
        let failed = |step: &Step| matches!(step.outcome, Outcome::Failed(_));
        !self.steps.iter().any(failed)
    }

    /// Whether nothing is to be changed.
    pub(super) const fn is_dry(&self) -> bool {
        self.dry
    }

    pub(super) fn json(&self) -> Json {
        self.steps.iter().map(Step::json).collect()
    }
}

impl Step {
    fn line(&self) -> String {
        let (mark, why) = match &self.outcome {
            Outcome::Done => ("done   ", None),
            Outcome::Planned => ("would  ", None),
            Outcome::Failed(why) => ("FAILED ", Some(why)),
        };
        let mut line = format!("{mark} {}  {}\n", self.address, self.what);
        if let Some(why) = why {
            line += &format!("        {why}\n");
            if let Some(by_hand) = &self.by_hand {
                line += &format!("        by hand: {by_hand}\n");
            }
        }
        line
    }

    fn json(&self) -> Json {
        let (outcome, why) = match &self.outcome {
            Outcome::Done => ("done", None),
            Outcome::Planned => ("planned", None),
            Outcome::Failed(why) => ("failed", Some(why.as_str())),
        };
        Json::Object(vec![
            ("address", self.address.as_str().into()),
            ("step", self.what.as_str().into()),
            ("outcome", outcome.into()),
            ("error", why.into()),
            (
                "ms",
                u64::try_from(self.took.as_millis())
                    .unwrap_or(u64::MAX)
                    .into(),
            ),
            ("by_hand", self.by_hand.as_deref().into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            shown(&["SENTINEL", "SET", "m", "auth-pass", "secret"]),
            "SENTINEL SET m auth-pass PASSWORD"
        );
        assert_eq!(
            shown(&["CONFIG", "SET", "masteruser", ""]),
            "CONFIG SET masteruser ''"
        );
    }

    #[test]
    fn what_fails_is_told_with_what_to_do() {
        let refused = AskError::Refused("ERR no".into());
        let mut peer = Peer::new(Address::new("a", 1), Err(refused));
        let mut journal = Journal::new(false, true);
        assert!(!journal.order(&mut peer, &["REPLICAOF", "b", "2"]));
        assert!(!journal.is_clean());
        assert_eq!(
            journal.steps[0].line(),
            "FAILED  a:1  REPLICAOF b 2\n        ERR no\n        by hand: redis-cli -h a -p 1 REPLICAOF b 2\n"
        );
        // Nothing is tried.
        let mut journal = Journal::new(true, true);
        assert!(journal.order(&mut peer, &["REPLICAOF", "b", "2"]));
        assert!(journal.is_clean());
    }
}
