//! What sentinels have said and done, and whether they may have: whom they voted for, which configurations they spread, whom
//! they told to lead. It outlives them: what one said before it was started again counts.

use super::sentinel::NAME;
use redkeep::embed::world::Place;
use std::collections::{BTreeMap, BTreeSet};

/// A configuration that somebody tells others of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The highest epoch that the sentinel knows.
    pub epoch: u64,
    /// `ip:port`
    pub leader: String,
    /// In which epoch that became the leader.
    pub since: u64,
}

impl Hello {
    /// Reads what is published: `ip,port,id,epoch,name,ip,port,epoch`.
    pub fn parse(text: &str) -> Option<Hello> {
        let parts: Vec<&str> = text.split(',').collect();
        let [_, _, _, epoch, NAME, ip, port, since] = parts[..] else {
            return None;
        };
        Some(Hello {
            epoch: epoch.parse().ok()?,
            leader: format!("{ip}:{port}"),
            since: since.parse().ok()?,
        })
    }
}

/// What is known of a sentinel.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The highest epoch that it has announced, and that of its configuration.
    epoch: u64,
    config: u64,
    /// The last epoch that it found out about.
    newest: u64,
    /// The epoch of the failover that it tries.
    tries: Option<u64>,
    /// It takes the leader for down, and others do as well.
    o_down: bool,
}

#[derive(Debug, Default)]
pub struct Witness {
    sentinels: BTreeMap<Place, Known>,
    /// Whom each has voted for in an epoch.
    votes: BTreeMap<(Place, u64), String>,
    /// Who has won an epoch.
    elected: BTreeMap<u64, Place>,
    /// Which node was told to lead in an epoch, and by whom.
    promoted: BTreeMap<u64, (Place, usize)>,
    /// The leader of a configuration.
    leaders: BTreeMap<u64, String>,
    /// Epochs in which somebody has tried to be elected since the last election, and since the leader is missing.
    tried: [BTreeSet<u64>; 2],
    /// The epoch of the newest configuration that is in use.
    switched: u64,
    /// In how many epochs it was tried until somebody was elected, for each election.
    pub rounds: Vec<usize>,
    /// In how many epochs it was tried until a leader was replaced, for each time. There may be too few servers that can be
    /// reached to replace it, whoever is elected.
    pub attempts: Vec<usize>,
    wrong: Vec<String>,
}

impl Witness {
    /// What must not have happened, since this was asked last.
    pub fn take_wrong(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wrong)
    }

    /// Whether there is a failover.
    pub fn is_somebody_trying(&self) -> bool {
        self.sentinels.values().any(|known| known.tries.is_some())
    }

    fn known(&mut self, place: Place) -> &mut Known {
        self.sentinels.entry(place).or_default()
    }

    /// A sentinel has published this.
    pub fn hears(&mut self, place: Place, event: &str, text: &str) {
        let mut words = text.split(' ');
        match event {
            "+new-epoch" => self.known(place).newest = number(words.next()),
            "+vote-for-leader" => {
                let whom = words.next().unwrap_or_default();
                self.voted(place, whom, number(words.next()));
            }
            "+try-failover" => {
                let known = self.known(place);
                let epoch = known.newest;
                known.tries = Some(epoch);
                for tried in &mut self.tried {
                    tried.insert(epoch);
                }
            }
            "+elected-leader" => {
                if let Some(epoch) = self.known(place).tries {
                    self.won(place, epoch);
                }
            }
            "+odown" => self.known(place).o_down = true,
            "-odown" => self.known(place).o_down = false,
            "+switch-master" => {
                let known = self.known(place);
                (known.o_down, known.tries) = (false, None);
            }
            _ if event.starts_with("-failover-abort") => self.known(place).tries = None,
            _ => return,
        }
        self.look_whether_all_is_well();
    }

    /// A sentinel is started: this is what it remembers.
    pub fn starts(&mut self, place: Place, epoch: u64, config: u64, vote: u64) {
        let known = self.known(place);
        let (said, held) = (known.epoch.max(known.newest), known.config);
        let voted = self.votes.range((place, 0)..=(place, u64::MAX));
        let voted = voted.last().map_or(0, |((_, epoch), _)| *epoch);
        if epoch < said.max(voted) || config < held || vote < voted {
            let text = format!(
                "sentinel {place} has forgotten that it was in epoch {said}, had the configuration of {held} and voted in {voted}: \
                 {epoch}, {config}, {vote}"
            );
            self.wrong.push(text);
        }
    }

    /// A sentinel is gone.
    pub fn ends(&mut self, place: Place) {
        let known = self.known(place);
        (known.o_down, known.tries) = (false, None);
        self.look_whether_all_is_well();
    }

    /// The leader is back before it was replaced.
    fn look_whether_all_is_well(&mut self) {
        let is_over = |known: &Known| !known.o_down && known.tries.is_none();
        if self.sentinels.values().all(is_over) {
            self.tried = Default::default();
        }
    }

    /// A sentinel has voted, or tells for whom it has.
    pub fn voted(&mut self, place: Place, whom: &str, epoch: u64) {
        let vote = self.votes.entry((place, epoch));
        let before = vote.or_insert_with(|| whom.to_owned());
        if before != whom {
            let text = format!("sentinel {place} votes for {before} and {whom} in epoch {epoch}");
            self.wrong.push(text);
        }
    }

    fn won(&mut self, place: Place, epoch: u64) {
        let before = *self.elected.entry(epoch).or_insert(place);
        if before != place {
            let text = format!("sentinels {before} and {place} are elected in epoch {epoch}");
            self.wrong.push(text);
        }
        self.rounds.extend(count_until(&mut self.tried[0], epoch));
    }

    /// A sentinel tells a node to lead.
    pub fn tells_to_lead(&mut self, place: Place, node: usize) {
        let Some(epoch) = self.known(place).tries else {
            let text = format!("sentinel {place} tells node {node} to lead without having tried");
            return self.wrong.push(text);
        };
        let before = *self.promoted.entry(epoch).or_insert((place, node));
        if before != (place, node) {
            let text = format!(
                "two are told to lead in epoch {epoch}: {before:?}, {:?}",
                (place, node)
            );
            self.wrong.push(text);
        }
    }

    /// A sentinel tells others who leads.
    pub fn says(&mut self, place: Place, hello: &Hello) {
        let known = self.known(place);
        let (epoch, config) = (known.epoch, known.config);
        (known.epoch, known.config) = (epoch.max(hello.epoch), config.max(hello.since));
        if hello.epoch < epoch || hello.since < config {
            let text =
                format!("sentinel {place} goes back from epochs {epoch} and {config}: {hello:?}");
            self.wrong.push(text);
        }
        self.holds(place, hello.since, &hello.leader);
    }

    /// A sentinel takes this for the leader, since an epoch.
    pub fn holds(&mut self, place: Place, since: u64, leader: &str) {
        let known = self
            .leaders
            .entry(since)
            .or_insert_with(|| leader.to_owned());
        if known != leader {
            let text = format!("{known} and, to sentinel {place}, {leader} lead in epoch {since}");
            self.wrong.push(text);
        }
        if since > self.switched {
            self.switched = since;
            self.attempts.extend(count_until(&mut self.tried[1], since));
        }
    }
}

/// How many of these are not later than an epoch, if any is; they are taken out.
fn count_until(tried: &mut BTreeSet<u64>, epoch: u64) -> Option<usize> {
    let later = tried.split_off(&(epoch + 1));
    let until = std::mem::replace(tried, later).len();
    (until > 0).then_some(until)
}

fn number(word: Option<&str>) -> u64 {
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(epoch: u64, leader: &str, since: u64) -> Hello {
        let leader = leader.to_owned();
        Hello {
            epoch,
            leader,
            since,
        }
    }

    /// What is said of these events, by sentinels 3 and 4.
    fn judge(events: &[(Place, &str, &str)]) -> Vec<String> {
        let mut witness = Witness::default();
        for (place, event, text) in events {
            witness.hears(*place, event, text);
        }
        witness.take_wrong()
    }

    #[test]
    fn a_hello_is_read() {
        let text = "10.0.0.4,26379,0123,7,mymaster,10.0.0.2,6379,5";
        assert_eq!(Hello::parse(text), Some(hello(7, "10.0.0.2:6379", 5)));
        assert_eq!(
            Hello::parse("10.0.0.4,26379,0123,7,other,10.0.0.2,6379,5"),
            None
        );
    }

    #[test]
    fn two_votes_in_one_epoch_are_noticed() {
        let one = (3, "+vote-for-leader", "aa 2");
        assert_eq!(judge(&[one, one, (3, "+vote-for-leader", "bb 3")]), [""; 0]);
        assert_eq!(judge(&[one, (4, "+vote-for-leader", "bb 2")]), [""; 0]);
        let mut witness = Witness::default();
        witness.hears(3, "+vote-for-leader", "aa 2");
        witness.ends(3);
        witness.voted(3, "bb", 2);
        assert_eq!(witness.take_wrong().len(), 1);
    }

    #[test]
    fn two_winners_of_one_epoch_are_noticed() {
        let wins = |place, epoch| {
            [
                (place, "+new-epoch", epoch),
                (place, "+try-failover", ""),
                (place, "+elected-leader", ""),
            ]
        };
        assert_eq!(judge(&[wins(3, "2"), wins(4, "3")].concat()), [""; 0]);
        assert_eq!(judge(&[wins(3, "2"), wins(4, "2")].concat()).len(), 1);
    }

    #[test]
    fn two_promotions_in_one_epoch_are_noticed() {
        let mut witness = Witness::default();
        witness.tells_to_lead(3, 1);
        assert_eq!(witness.take_wrong().len(), 1);
        witness.hears(3, "+new-epoch", "2");
        witness.hears(3, "+try-failover", "");
        witness.tells_to_lead(3, 1);
        witness.tells_to_lead(3, 1);
        assert_eq!(witness.take_wrong(), [""; 0]);
        witness.tells_to_lead(3, 2);
        assert_eq!(witness.take_wrong().len(), 1);
    }

    #[test]
    fn two_leaders_of_one_epoch_are_noticed() {
        let mut witness = Witness::default();
        witness.says(3, &hello(2, "a", 2));
        witness.says(4, &hello(3, "a", 2));
        witness.holds(4, 3, "b");
        assert_eq!(witness.take_wrong(), [""; 0]);
        witness.says(3, &hello(3, "c", 3));
        assert_eq!(witness.take_wrong().len(), 1);
    }

    #[test]
    fn epochs_that_go_back_are_noticed() {
        let mut witness = Witness::default();
        witness.says(3, &hello(5, "a", 2));
        witness.ends(3);
        witness.says(4, &hello(4, "a", 2));
        assert_eq!(witness.take_wrong(), [""; 0]);
        witness.says(3, &hello(4, "a", 2));
        assert_eq!(witness.take_wrong().len(), 1);
        witness.says(3, &hello(5, "z", 1));
        assert_eq!(witness.take_wrong().len(), 1);
    }

    #[test]
    fn what_is_forgotten_is_noticed() {
        let mut witness = Witness::default();
        witness.says(3, &hello(5, "a", 2));
        witness.hears(3, "+vote-for-leader", "aa 4");
        witness.starts(4, 0, 0, 0);
        witness.starts(3, 5, 2, 4);
        assert_eq!(witness.take_wrong(), [""; 0]);
        for (epoch, config, vote) in [(4, 2, 4), (5, 1, 4), (5, 2, 3)] {
            witness.starts(3, epoch, config, vote);
            assert_eq!(witness.take_wrong().len(), 1);
        }
    }

    #[test]
    fn rounds_are_counted_until_somebody_is_elected() {
        let mut witness = Witness::default();
        let tries = |witness: &mut Witness, place, epoch| {
            witness.hears(place, "+odown", "");
            witness.hears(place, "+new-epoch", epoch);
            witness.hears(place, "+try-failover", "");
        };
        tries(&mut witness, 3, "1");
        witness.hears(3, "-failover-abort-not-elected", "");
        tries(&mut witness, 4, "2");
        witness.hears(4, "+elected-leader", "");
        assert_eq!(witness.rounds, [2]);
        witness.hears(4, "-failover-abort-no-good-slave", "");
        tries(&mut witness, 3, "3");
        witness.hears(3, "+elected-leader", "");
        assert_eq!(
            (&witness.rounds[..], witness.attempts.len()),
            (&[2, 1][..], 0)
        );
        witness.holds(4, 3, "b");
        assert_eq!(witness.attempts, [3]);
        // The leader came back by itself: that was no round of what follows.
        tries(&mut witness, 3, "4");
        witness.hears(3, "-failover-abort-not-elected", "");
        witness.hears(3, "-odown", "");
        witness.hears(4, "+switch-master", "");
        tries(&mut witness, 4, "5");
        witness.hears(4, "+elected-leader", "");
        witness.holds(3, 5, "c");
        assert_eq!(
            (witness.rounds, witness.attempts),
            (vec![2, 1, 1], vec![3, 1])
        );
    }
}
