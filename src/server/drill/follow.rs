//! A client that goes to whom the sentinels name, and goes to look again when that is not the leader any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::ledger::{Clock, Moment};
use super::pulse::Pulse;
use super::reach::{Reach, Side};
use super::wire::{Codes, Conn, Trouble, text};
use crate::resp::Value;
use crate::server::ask::{Address, Credentials};

/// How long a client waits before it looks for the leader again.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What a server says of a write that it has done and nobody has confirmed, and of one that it has not done.
const UNCONFIRMED: &str = "NOREPLICAS ";
const REFUSED: &str = "NOREPLICAS Not enough good replicas";

/// Kinds of errors that are told apart.
const MOST_CODES: usize = 64;

/// What clients know of the servers, and have in common.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) sentinels: Vec<Address>,
    pub(super) master: String,
    pub(super) login: Credentials,
    pub(super) sentinel_login: Credentials,
    /// How long an answer may take.
    pub(super) patience: Duration,
    pub(super) reach: Reach,
    pub(super) clock: Clock,
    /// When something was written through the leader that the sentinels name.
    pub(super) pulse: Mutex<Pulse>,
    /// Whether clients hear of it when the sentinels make another the leader.
    pub(super) listens: bool,
    /// How often any sentinel has told of that.
    pub(super) switches: AtomicU64,
}

impl Place {
    /// The leader by the word of one sentinel.
    pub(super) async fn leader_of(&self, sentinel: &Address) -> Result<Address, Trouble> {
        let mut conn = Conn::open(sentinel, &self.sentinel_login, self.patience).await?;
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.master];
        let answer = conn.call(&words, self.patience).await?;
        match answer.as_array() {
            Some([host, port]) => {
                let host = text(host).ok_or(Trouble::Garbage)?.to_owned();
                let port = text(port).and_then(|p| p.parse().ok());
                let port = port.ok_or(Trouble::Garbage)?;
                Ok(Address { host, port })
            }
            _ => Err(Trouble::NoLeader),
        }
    }

    /// A connection to a server, whatever it is.
    pub(super) async fn connect(&self, server: &Address) -> Result<Conn, Trouble> {
        Conn::open(server, &self.login, self.patience).await
    }
}

/// Whether the server at the other end says that it leads.
pub(super) async fn leads(conn: &mut Conn, patience: Duration) -> Result<bool, Trouble> {
    let role = conn.call(&["ROLE"], patience).await?;
    let role = role.as_array().and_then(|words| words.first());
    Ok(role.and_then(text) == Some("master"))
}

/// Why a call failed, and whether it may have been done all the same.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) trouble: Trouble,
    pub(super) in_doubt: bool,
}

/// Calls that a client has made.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    pub(super) made: u64,
    /// Those that failed.
    pub(super) errors: Codes,
    /// Vain attempts to get a connection to a leader.
    pub(super) searches: Codes,
}

impl Calls {
    pub(super) fn absorb(&mut self, other: &Self) {
        self.made += other.made;
        for (code, n) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += n;
        }
        for (code, n) in &other.searches {
            *self.searches.entry(code.clone()).or_default() += n;
        }
    }
}

fn count(codes: &mut Codes, trouble: &Trouble) {
    let code = trouble.code();
    let code = if codes.contains_key(code) || codes.len() < MOST_CODES {
        code
    } else {
        "other"
    };
    *codes.entry(code.to_owned()).or_default() += 1;
}

/// The servers that a client got answers from, without the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Streak {
    pub(super) server: Address,
    /// Since when there was no other.
    pub(super) since: Moment,
}

/// A client's way to the leader.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) place: Arc<Place>,
    side: Side,
    conn: Option<Conn>,
    /// The sentinel that is asked next.
    next: usize,
    /// The changes of the leader that it has heard of.
    heard: u64,
    pub(super) calls: Calls,
    pub(super) streak: Option<Streak>,
}

impl Session {
    pub(super) fn new(place: Arc<Place>, side: Side, number: usize) -> Self {
        Self {
            place,
            side,
            conn: None,
            next: number,
            heard: 0,
            calls: Calls::default(),
            streak: None,
        }
    }

    /// Forgets the connection, as who crashes does.
    pub(super) fn hang_up(&mut self) {
        self.conn = None;
    }

    /// The leader's answer to a command that changes something.
    pub(super) async fn write<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Value, Failed> {
        let answer = self.call(words, Duration::ZERO).await?;
        let place = &self.place;
        if self.side == Side::Sentinels {
            place.pulse.lock().beat(place.clock.now());
        }
        Ok(answer)
    }

    /// The leader's answer; `blocks` is how long the command itself may wait.
    pub(super) async fn call<A: AsRef<[u8]>>(
        &mut self,
        words: &[A],
        blocks: Duration,
    ) -> Result<Value, Failed> {
        self.listen();
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.search().await?,
        };
        self.calls.made += 1;
        let place = Arc::clone(&self.place);
        let patience = place.patience + blocks;
        let through = async {
            place.reach.open(self.side, &conn.peer).await;
            let answer = conn.call(words, patience).await;
            // What was answered before the cut does not come through it either.
            place.reach.open(self.side, &conn.peer).await;
            answer
        };
        let answer = timeout(patience, through).await;
        match answer.unwrap_or(Err(Trouble::Timeout)) {
            Ok(value) => {
                self.note(&conn.peer);
                self.conn = Some(conn);
                Ok(value)
            }
            Err(trouble) => {
                count(&mut self.calls.errors, &trouble);
                if keeps_connection(&trouble) {
                    self.conn = Some(conn);
                }
                let in_doubt = match &trouble {
                    Trouble::Timeout | Trouble::Closed | Trouble::Garbage => true,
                    Trouble::Reply(text) => {
                        text.starts_with(UNCONFIRMED) && !text.starts_with(REFUSED)
                    }
                    Trouble::Refused | Trouble::NoLeader => false,
                };
                Err(Failed { trouble, in_doubt })
            }
        }
    }

    /// Leaves a leader that is none any more, if clients are told and this one can hear it.
    fn listen(&mut self) {
        let place = &self.place;
        let is_cut_off = self.side == Side::Leader && place.reach.isolated().is_some();
        if place.listens && !is_cut_off {
            let told = place.switches.load(Ordering::Relaxed);
            if std::mem::replace(&mut self.heard, told) != told {
                self.conn = None;
            }
        }
    }

    fn note(&mut self, server: &Address) {
        if self.streak.as_ref().is_none_or(|s| s.server != *server) {
            self.streak = Some(Streak {
                server: server.clone(),
                since: self.place.clock.now(),
            });
        }
    }

    /// Looks for the leader once, and waits a little where that was in vain.
    async fn search(&mut self) -> Result<Conn, Failed> {
        match self.find().await {
            Ok(conn) => Ok(conn),
            Err(trouble) => {
                count(&mut self.calls.searches, &trouble);
                sleep(BACK_OFF).await;
                Err(Failed {
                    trouble,
                    in_doubt: false,
                })
            }
        }
    }

    async fn find(&mut self) -> Result<Conn, Trouble> {
        let place = Arc::clone(&self.place);
        let leader = match place.reach.isolated() {
            Some(leader) if self.side == Side::Leader => leader,
            _ => self.ask().await?,
        };
        let reached = async {
            place.reach.open(self.side, &leader).await;
            let mut conn = place.connect(&leader).await?;
            if !leads(&mut conn, place.patience).await? {
                return Err(Trouble::NoLeader);
            }
            place.reach.open(self.side, &leader).await;
            Ok(conn)
        };
        let reached = timeout(place.patience, reached).await;
        reached.unwrap_or(Err(Trouble::Timeout))
    }

    /// The first sentinel that answers is believed; another one is asked first the next time.
    async fn ask(&mut self) -> Result<Address, Trouble> {
        let sentinels = &self.place.sentinels;
        let mut last = Trouble::NoLeader;
        for _ in 0..sentinels.len() {
            let sentinel = sentinels.get(self.next % sentinels.len());
            self.next = self.next.wrapping_add(1);
            let Some(sentinel) = sentinel else { break };
            match self.place.leader_of(sentinel).await {
                Ok(leader) => return Ok(leader),
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }
}

/// Whether a server that says this may be the leader still.
fn keeps_connection(trouble: &Trouble) -> bool {
    const NOT_LEADING: [&str; 4] = ["READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED"];
    matches!(trouble, Trouble::Reply(_)) && !NOT_LEADING.contains(&trouble.code())
}
