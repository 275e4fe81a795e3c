//! Sentinels: those that are to watch a new leader, and those that would undo its promotion.

use std::time::{Duration, Instant};

use super::args::{Access, Setting, Side};
use super::journal::{Journal, PATIENCE, Peer};
use crate::resp::Value;
use crate::server::ask::{Address, AskError, Credentials, Info, text};

/// A sentinel says hello to each server that it watches within this time.
const HELLO: Duration = Duration::from_millis(2600);

/// How many characters of its id a sentinel shows in the name of its connection.
const SHOWN: usize = 8;

/// A name by which a sentinel knows a leader, with what it was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    pub name: String,
    /// Where that leader is.
    pub at: Option<Address>,
    quorum: Option<u32>,
    settings: Vec<Setting>,
}

/// A sentinel that takes part.
#[derive(Debug)]
pub(super) struct Guard {
    pub peer: Peer,
    /// None while it does not answer.
    id: Option<String>,
    /// What it has under the name of the leader.
    pub watched: Option<Watched>,
    /// Why it does not answer.
    pub error: Option<AskError>,
    /// It was made to forget what it had.
    forgot: bool,
}

/// Somebody who watches a server, seen from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watcher {
    /// The beginning of its id.
    pub id: String,
    /// Where its connection comes from.
    pub from: String,
    /// Where it listens, and how it calls the leader: as it says itself.
    pub hello: Option<Hello>,
}

/// What a sentinel says of itself and of a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub address: Address,
    pub id: String,
    pub name: String,
}

impl Guard {
    /// Asks a sentinel who it is and what it knows under that name.
    pub(super) fn look(address: &Address, name: &str, access: &Access) -> Self {
        let mut peer = Peer::new(address.clone(), access.open(address, Side::Sentinel));
        let found = peer.call(&["SENTINEL", "MYID"]).and_then(|id| {
            let watched = match peer.call(&["SENTINEL", "MASTER", name]) {
                Ok(fields) => Some(Watched::read(name, &Info::of_pairs(&fields))),
                Err(AskError::Refused(why)) if why.contains("No such master") => None,
                Err(error) => return Err(error),
            };
            Ok((text(&id).unwrap_or_default(), watched))
        });
        let (id, watched, error) = match found {
            Ok((id, watched)) => (Some(id), watched, None),
            Err(error) => (None, None, Some(error)),
        };
        Self {
            peer,
            id,
            watched,
            error,
            forgot: false,
        }
    }

    /// Whether it is the one that was seen somewhere.
    pub(super) fn is(&self, watcher: &Watcher) -> bool {
        self.id
            .as_ref()
            .is_some_and(|id| id.starts_with(&watcher.id))
    }

    /// Makes it forget the leader that it has under the name; whether it has none now.
    pub(super) fn forget(&mut self, journal: &mut Journal) -> bool {
        let Some(watched) = &self.watched else {
            return true;
        };
        self.forgot = journal.order(&mut self.peer, &["SENTINEL", "REMOVE", &watched.name]);
        self.forgot
    }

    /// Makes it watch again whom it was made to forget.
    pub(super) fn remember(&mut self, who: &Credentials, journal: &mut Journal) {
        if std::mem::take(&mut self.forgot)
            && let Some(watched) = self.watched.clone()
            && let Some(leader) = &watched.at
        {
            let quorum = watched.quorum.unwrap_or(1);
            self.watch(&watched, leader, quorum, who, journal);
        }
    }

    /// Makes it watch a leader.
    pub(super) fn watch(
        &mut self,
        as_before: &Watched,
        leader: &Address,
        quorum: u32,
        who: &Credentials,
        journal: &mut Journal,
    ) {
        let name = as_before.name.as_str();
        let (port, quorum) = (leader.port.to_string(), quorum.to_string());
        let monitor = ["SENTINEL", "MONITOR", name, &leader.host, &port, &quorum];
        if !journal.order(&mut self.peer, &monitor) {
            return;
        }
        let set = |option: &str, value: &str| Setting {
            option: option.to_owned(),
            value: value.to_owned(),
        };
        let user = who.user.iter().map(|user| set("auth-user", user));
        let password = who.password.iter().map(|pass| set("auth-pass", pass));
        for Setting { option, value } in user.chain(password).chain(as_before.settings.clone()) {
            journal.order(&mut self.peer, &["SENTINEL", "SET", name, &option, &value]);
        }
    }

    /// Waits until it names the leader, could make another one with those that it has found, and has found so many replicas.
    pub(super) fn verify(
        &mut self,
        name: &str,
        leader: &Address,
        replicas: usize,
        journal: &mut Journal,
    ) {
        let address = self.peer.address.clone();
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name];
        let by_hand = self.peer.by_hand(&question);
        let what = format!("names {leader} as {name}");
        journal.expect(&address, &what, &by_hand, PATIENCE, || {
            let answer = self.peer.call(&question).map_err(|e| e.to_string())?;
            let named: Vec<_> = answer
                .as_array()
                .unwrap_or_default()
                .iter()
                .filter_map(text)
                .collect();
            match *named == [leader.host.clone(), leader.port.to_string()] {
                true => Ok(()),
                false => Err(format!("it names {}", named.join(":"))),
            }
        });
        let question = ["SENTINEL", "CKQUORUM", name];
        let by_hand = self.peer.by_hand(&question);
        journal.expect(
            &address,
            "has a quorum and a majority",
            &by_hand,
            PATIENCE,
            || {
                self.peer
                    .call(&question)
                    .map(drop)
                    .map_err(|e| e.to_string())
            },
        );
        let question = ["SENTINEL", "REPLICAS", name];
        let by_hand = self.peer.by_hand(&question);
        let what = format!("has found {replicas} replicas");
        journal.expect(&address, &what, &by_hand, PATIENCE, || {
            let answer = self.peer.call(&question).map_err(|e| e.to_string())?;
            let all = answer.as_array().unwrap_or_default();
            let is_well = |one: &&Value| Info::of_pairs(one).get("flags") == Some("slave");
            match all.iter().filter(is_well).count() {
                n if n >= replicas => Ok(()),
                n => Err(format!("it has found {n}")),
            }
        });
    }
}

impl Watched {
    /// A name without anything that was ever told of it.
    pub(super) fn fresh(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            at: None,
            quorum: None,
            settings: Vec::new(),
        }
    }

    /// What SENTINEL MASTER says. Passwords are not told, and scripts may be set in the file alone.
    fn read(name: &str, fields: &Info) -> Self {
        let options = [
            "down-after-milliseconds",
            "failover-timeout",
            "parallel-syncs",
        ];
        let setting = |option: &str| {
            Some(Setting {
                option: option.to_owned(),
                value: fields.get(option)?.to_owned(),
            })
        };
        Self {
            name: name.to_owned(),
            at: fields
                .get("ip")
                .and_then(|ip| Some(Address::new(ip, fields.number("port")?))),
            quorum: fields.number("quorum"),
            settings: options.into_iter().filter_map(setting).collect(),
        }
    }

    pub(super) const fn quorum(&self) -> Option<u32> {
        self.quorum
    }

    /// The same under another name.
    pub(super) fn named(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// The same with other settings: what is given goes before what was.
    pub(super) fn with(&self, settings: &[Setting]) -> Self {
        let given = |old: &&Setting| !settings.iter().any(|new| new.option == old.option);
        let kept = self.settings.iter().filter(given).chain(settings);
        Self {
            name: self.name.clone(),
            at: self.at.clone(),
            quorum: self.quorum,
            settings: kept.cloned().collect(),
        }
    }
}

impl Watcher {
    /// Who watches a server beside those who are known: sentinels name their connections. Where there are any, listens until
    /// each has said hello, or had the time to.
    pub(super) fn others(
        address: &Address,
        side: Side,
        known: &[Guard],
        access: &Access,
    ) -> Result<Vec<Self>, AskError> {
        let mut ask = access.open(address, side)?;
        let list = ask.call(&["CLIENT", "LIST"])?;
        let mut watchers = connected(&text(&list).unwrap_or_default());
        watchers.retain(|w| !known.iter().any(|guard| guard.is(w)));
        if watchers.is_empty() {
            return Ok(watchers);
        }
        ask.send(&["SUBSCRIBE", "__sentinel__:hello"])?;
        let until = Instant::now() + HELLO;
        while watchers.iter().any(|w| w.hello.is_none()) {
            let Some(message) = ask.next(until)? else {
                break;
            };
            let Some(hello) = Hello::read(&message) else {
                continue;
            };
            if let Some(w) = watchers.iter_mut().find(|w| hello.id.starts_with(&w.id)) {
                w.hello = Some(hello);
            }
        }
        Ok(watchers)
    }

    /// How people are told of it.
    pub(super) fn words(&self) -> String {
        match &self.hello {
            Some(Hello { address, name, .. }) => format!("the sentinel {address} (leader {name})"),
            None => format!("a sentinel on {} that is silent now", self.from),
        }
    }
}

/// The sentinels among the clients of a server.
fn connected(list: &str) -> Vec<Watcher> {
    let mut found: Vec<Watcher> = Vec::new();
    for line in list.lines() {
        let field = |name: &str| {
            let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
            fields.find(|(n, _)| *n == name).map(|(_, value)| value)
        };
        let id = field("name")
            .and_then(|name| name.strip_prefix("sentinel-"))
            .and_then(|rest| rest.strip_suffix("-cmd"))
            .filter(|id| id.len() == SHOWN);
        let from = field("addr").and_then(|addr| addr.rsplit_once(':'));
        if let (Some(id), Some((from, _))) = (id, from)
            && !found.iter().any(|w| w.id == id)
        {
            found.push(Watcher {
                id: id.to_owned(),
                from: from.to_owned(),
                hello: None,
            });
        }
    }
    found
}

impl Hello {
    /// A message on the channel: ip, port, id, epoch, then the leader's name, ip, port and epoch.
    fn read(message: &Value) -> Option<Self> {
        let items = message.as_array()?;
        if text(items.first()?)? != "message" {
            return None;
        }
        let said = text(items.get(2)?)?;
        let words: Vec<_> = said.split(',').collect();
        let [ip, port, id, _, name, ..] = words[..] else {
            return None;
        };
        (words.len() == 8 && id.len() > SHOWN).then_some(())?;
        Some(Self {
            address: Address::new(ip, port.parse().ok()?),
            id: id.to_owned(),
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.into())
    }

    #[test]
    fn sentinels_are_known_among_clients() {
        let list = "id=3 addr=10.1.0.5:4711 laddr=10.1.0.1:6379 fd=8 name=sentinel-01234567-cmd age=3\n\
            id=4 addr=10.1.0.5:4712 name=sentinel-01234567-pubsub\n\
            id=5 addr=10.1.0.9:1 name=sentinel-x-cmd\nid=6 addr=10.1.0.9:1 name=\n\
            id=7 addr=10.1.0.5:4713 name=sentinel-01234567-cmd\n";
        let found = connected(list);
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].id, &*found[0].from), ("01234567", "10.1.0.5"));
    }

    #[test]
    fn hellos() {
        let said = |text: &str| {
            Value::Array(vec![
                bulk("message"),
                bulk("__sentinel__:hello"),
                bulk(text),
            ])
        };
        let hello = Hello::read(&said("10.1.0.5,26379,0123456789,7,main,10.1.0.1,6379,3")).unwrap();
        assert_eq!(hello.address.to_string(), "10.1.0.5:26379");
        assert_eq!(hello.name, "main");
        assert_eq!(Hello::read(&said("10.1.0.5,26379,0123456789,7,main")), None);
        assert_eq!(
            Hello::read(&said("10.1.0.5,x,0123456789,7,main,a,1,3")),
            None
        );
        assert_eq!(Hello::read(&Value::Array(vec![bulk("subscribe")])), None);
    }

    #[test]
    fn what_is_given_goes_before_what_was() {
        let fields = Value::Array(
            [
                "name",
                "m",
                "quorum",
                "2",
                "failover-timeout",
                "60000",
                "parallel-syncs",
                "1",
            ]
            .map(bulk)
            .to_vec(),
        );
        let was = Watched::read("m", &Info::of_pairs(&fields));
        assert_eq!(was.quorum(), Some(2));
        let set = |option: &str, value: &str| Setting {
            option: option.into(),
            value: value.into(),
        };
        let now = was.with(&[set("parallel-syncs", "2")]);
        assert_eq!(
            now.settings,
            [set("failover-timeout", "60000"), set("parallel-syncs", "2")]
        );
    }
}
