//! Before and after: what must hold of the servers so that a drill can begin, and what they have when it is over.

use std::time::Duration;

use tokio::time::sleep;

use super::follow::{Place, leads};
use super::ground::Unable;
use super::judge::Found;
use super::ledger::Record;
use super::stream::{self, GROUP};
use super::wire::{Conn, Trouble, text};
use super::work::{Crew, Names, Role};
use crate::resp::Value;
use crate::server::ask::{Address, Info};
use crate::util::num::{parse_i64, parse_u64};

/// How long servers may take to agree on a leader and to have a replica, before a drill.
const READY: Duration = Duration::from_secs(10);

/// How long they may take to agree after all that was done to them.
pub(super) const AGREEMENT: Duration = Duration::from_secs(30);

/// How long it waits before it asks them again.
const AGAIN: Duration = Duration::from_millis(100);

/// Elements that are read at once.
const PAGE: &str = "1000";

/// Servers as a drill found them.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// What they are, and of which version.
    pub(super) server: String,
    pub(super) leader: Address,
    pub(super) replicas: usize,
}

/// Looks whether the servers can be put to the test, and makes what the clients need.
pub(super) async fn prepare(place: &Place, sync: bool, names: &Names) -> Result<Scene, Unable> {
    let leader = agreed(place, READY).await?;
    let at_leader = |trouble: Trouble| Unable(format!("The leader {leader}: {trouble}"));
    check_quorum(place).await?;
    let mut conn = place.connect(&leader).await.map_err(at_leader)?;
    let replicas = replicas(place, &mut conn).await.map_err(at_leader)?;
    if replicas.is_empty() {
        return Err(Unable(format!("The leader {leader} has no replica.")));
    }
    if sync {
        is_sync(place, &mut conn, &leader).await?;
        for replica in &replicas {
            match &mut place.connect(replica).await {
                Ok(conn) => is_sync(place, conn, replica).await?,
                Err(trouble) => return Err(Unable(format!("The replica {replica}: {trouble}"))),
            }
        }
    }
    let info = call(place, &mut conn, &["INFO", "server"]).await;
    let info = info.map_err(at_leader)?;
    let stream = names.stream();
    let words = ["XGROUP", "CREATE", &stream, GROUP, "0", "MKSTREAM"];
    call(place, &mut conn, &words).await.map_err(at_leader)?;
    // Nobody is to miss it later.
    let patience = place.patience + Duration::from_millis(500);
    let waited = conn.call(&["WAIT", "1", "500"], patience).await;
    waited.map_err(at_leader)?;
    Ok(Scene {
        server: server_name(text(&info).unwrap_or_default()),
        replicas: replicas.len(),
        leader,
    })
}

/// The replicas that a leader has, as soon as there is one.
async fn replicas(place: &Place, conn: &mut Conn) -> Result<Vec<Address>, Trouble> {
    let until = place.clock.now() + READY;
    loop {
        let role = call(place, conn, &["ROLE"]).await?;
        let replicas: Vec<_> = match role.as_array() {
            Some([_, _, replicas]) => {
                let replicas = replicas.as_array().unwrap_or_default();
                replicas.iter().filter_map(address).collect()
            }
            _ => Vec::new(),
        };
        if !replicas.is_empty() || place.clock.now() > until {
            return Ok(replicas);
        }
        sleep(AGAIN).await;
    }
}

async fn call<A: AsRef<[u8]>>(
    place: &Place,
    conn: &mut Conn,
    words: &[A],
) -> Result<Value, Trouble> {
    conn.call(words, place.patience).await
}

/// A replica in the reply to ROLE.
fn address(replica: &Value) -> Option<Address> {
    match replica.as_array()? {
        [host, port, ..] => Some(Address {
            host: text(host)?.to_owned(),
            port: text(port)?.parse().ok()?,
        }),
        _ => None,
    }
}

fn server_name(text: &str) -> String {
    let mut info = Info::default();
    info.add(text);
    let known = [
        ("Redkeep", "redkeep_version"),
        ("Valkey", "valkey_version"),
        ("Redis", "redis_version"),
    ];
    known
        .iter()
        .find_map(|(name, version)| Some(format!("{name} {}", info.get(version)?)))
        .unwrap_or_else(|| "an unknown server".to_owned())
}

async fn check_quorum(place: &Place) -> Result<(), Unable> {
    let mut last = Trouble::NoLeader;
    for sentinel in &place.sentinels {
        let asked = async {
            let mut conn = Conn::open(sentinel, &place.sentinel_login, place.patience).await?;
            call(place, &mut conn, &["SENTINEL", "CKQUORUM", &place.master]).await
        };
        match asked.await {
            Ok(_) => return Ok(()),
            Err(trouble) => last = trouble,
        }
    }
    Err(Unable(format!("The sentinels have no quorum: {last}")))
}

async fn is_sync(place: &Place, conn: &mut Conn, server: &Address) -> Result<(), Unable> {
    let answer = call(place, conn, &["CONFIG", "GET", "sync-replicas"]).await;
    let value = answer.as_ref().ok().and_then(Value::as_array);
    match value.and_then(|words| text(words.get(1)?)) {
        None | Some("0") => Err(Unable(format!(
            "--sync is for servers with sync-replicas; {server} does not wait for any."
        ))),
        Some(_) => Ok(()),
    }
}

/// The leader that most of the sentinels name, and all of those that answer, and that leads and can be written to.
pub(super) async fn agreed(place: &Place, within: Duration) -> Result<Address, Unable> {
    let until = place.clock.now() + within;
    loop {
        let why = match try_agree(place).await {
            Ok(leader) => return Ok(leader),
            Err(why) => why,
        };
        if place.clock.now() > until {
            let seconds = within.as_secs();
            return Err(Unable(format!("No leader within {seconds} s: {why}.")));
        }
        sleep(AGAIN).await;
    }
}

async fn try_agree(place: &Place) -> Result<Address, String> {
    let mut named = Vec::new();
    for sentinel in &place.sentinels {
        match place.leader_of(sentinel).await {
            Ok(leader) => named.push(leader),
            // The others may do.
            Err(Trouble::Refused | Trouble::Timeout | Trouble::Closed) => {}
            Err(trouble) => return Err(format!("{sentinel}: {trouble}")),
        }
    }
    named.dedup();
    let [leader] = named.as_slice() else {
        return Err(match named.as_slice() {
            [] => "no sentinel answers".to_owned(),
            _ => "the sentinels do not agree".to_owned(),
        });
    };
    let asked = async {
        let mut conn = place.connect(leader).await?;
        leads(&mut conn, place.patience).await
    };
    match asked.await {
        Ok(true) => Ok(leader.clone()),
        Ok(false) => Err(format!("{leader} does not lead")),
        Err(trouble) => Err(format!("{leader}: {trouble}")),
    }
}

/// What the leader has of all that was written.
pub(super) async fn take_stock(
    place: &Place,
    leader: &Address,
    names: &Names,
    crew: Crew,
) -> Result<Found, Trouble> {
    let mut conn = place.connect(leader).await?;
    let mut found = Found::default();
    read_stream(place, &mut conn, names, &mut found).await?;
    for client in (0..crew.clients).filter(|client| Crew::role(*client) == Role::Locker) {
        read_records(place, &mut conn, names, client, &mut found).await?;
    }
    for lock in 0..crew.locks() {
        let answer = call(place, &mut conn, &["GET", &names.fence(lock)]).await?;
        if let Some(number) = answer.as_bytes().and_then(parse_i64) {
            found.fences.insert(lock, number);
        }
    }
    Ok(found)
}

async fn read_stream(
    place: &Place,
    conn: &mut Conn,
    names: &Names,
    found: &mut Found,
) -> Result<(), Trouble> {
    let stream = names.stream();
    let mut from = "-".to_owned();
    loop {
        let words = ["XRANGE", &stream, &from, "+", "COUNT", PAGE];
        let entries = stream::entries_of(&call(place, conn, &words).await?);
        let Some((last, _)) = entries.last() else {
            return Ok(());
        };
        from = format!("({}-{}", last.0, last.1);
        let whole = entries.into_iter().filter_map(|(id, m)| Some((m?, id)));
        found.entries.extend(whole);
    }
}

async fn read_records(
    place: &Place,
    conn: &mut Conn,
    names: &Names,
    client: u32,
    found: &mut Found,
) -> Result<(), Trouble> {
    let key = names.records(client);
    let mut cursor = "0".to_owned();
    loop {
        let answer = call(place, conn, &["HSCAN", &key, &cursor, "COUNT", PAGE]).await?;
        let Some([next, fields]) = answer.as_array() else {
            return Err(Trouble::Garbage);
        };
        let pairs = fields.as_array().unwrap_or_default().chunks_exact(2);
        found.records.extend(pairs.filter_map(|pair| {
            Some(Record {
                client,
                number: parse_u64(pair.first()?.as_bytes()?)?,
                fence: parse_i64(pair.last()?.as_bytes()?)?,
            })
        }));
        match text(next) {
            Some("0") => return Ok(()),
            Some(next) => next.clone_into(&mut cursor),
            None => return Err(Trouble::Garbage),
        }
    }
}

/// Takes away what the drill has written.
pub(super) async fn clean_up(
    place: &Place,
    leader: &Address,
    names: &Names,
    crew: Crew,
) -> Result<(), Trouble> {
    let mut conn = place.connect(leader).await?;
    for names in names.all(crew).chunks(100) {
        let words = std::iter::once("UNLINK").chain(names.iter().map(String::as_str));
        call(place, &mut conn, &words.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_called_by_their_own_name() {
        let name = |info: &str| server_name(info);
        assert_eq!(name("# Server\r\nredis_version:7.0.15\r\n"), "Redis 7.0.15");
        assert_eq!(
            name("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n"),
            "Valkey 8.0.1"
        );
        assert_eq!(
            name("redis_version:7.2.0\r\nredkeep_version:0.1.0\r\n"),
            "Redkeep 0.1.0"
        );
        assert_eq!(name(""), "an unknown server");
    }
}
