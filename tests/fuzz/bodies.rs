//! What is done with bytes from outside: they are refused, or what they are read as survives being used.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a panic is what is looked for, and each target runs one of these"
)]

#[path = "log.rs"]
mod log;

pub use log::{Harm, Log};
use redkeep::ds::intset::Intset;
use redkeep::ds::listpack::Listpack;
use redkeep::ds::lzf;
use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::keyspace::snapshot::{Detail, Form};
use redkeep::persist::aof::Reader;
use redkeep::persist::aof::reader::Entry;
use redkeep::persist::{Loaded, Loader};
use redkeep::replication::link::{Event, Greeting, Link};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::service::config::{Allow, Config, Settings};
use redkeep::types::list::{Builder, End, Limits, List};
use redkeep::util::digest::crc64;
use std::cell::RefCell;
use std::collections::VecDeque;

/// The most that a body reads of its input.
const MOST: usize = 4096;

/// A listpack of any bytes: walked both ways, edited by the bytes behind it.
pub fn listpack(data: &[u8]) {
    let data = &data[..data.len().min(MOST)];
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    let Ok(mut lp) = Listpack::from_bytes(bytes.to_vec()) else {
        return;
    };
    let forward: Vec<usize> = lp.iter().map(|(pos, _)| pos).collect();
    let mut back: Vec<usize> = lp.iter_back().map(|(pos, _)| pos).collect();
    back.reverse();
    assert_eq!(forward, back);
    assert_eq!(lp.len(), forward.len());
    let pos = lp.seek(i64::from(first)).unwrap_or(lp.end());
    lp.insert(pos, bytes);
    lp.remove(pos, 1);
    lp.push(&bytes[..bytes.len().min(usize::from(first))]);
    lp.replace(pos, b"12345");
    let again = Listpack::from_bytes(lp.as_bytes().to_vec());
    assert_eq!(again.as_ref(), Ok(&lp));
}

/// Compressed data of any bytes: refused, or of the length that was asked for. And any bytes compressed come back.
pub fn lzf(data: &[u8]) {
    let data = &data[..data.len().min(MOST)];
    let Some((&[a, b], bytes)) = data.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes([a, b]));
    if let Ok(out) = lzf::decompress(bytes, length) {
        assert_eq!(out.len(), length);
    }
    if let Some(compressed) = lzf::compress(bytes, bytes.len()) {
        assert!(compressed.len() <= bytes.len());
        assert_eq!(lzf::decompress(&compressed, bytes.len()).unwrap(), bytes);
    }
}

/// A list under any edits: it holds what a deque holds, and its nodes make the same list.
pub fn list(data: &[u8]) {
    let data = &data[..data.len().min(MOST)];
    let Some((&[fill, depth, plain], ops)) = data.split_first_chunk() else {
        return;
    };
    let limits = Limits {
        fill: i32::from(fill.cast_signed()) / 20,
        depth: i32::from(depth % 4),
        plain_from: if plain % 3 == 0 {
            usize::from(plain) + 1
        } else {
            1 << 30
        },
    };
    let (mut list, mut model) = (List::new(), VecDeque::new());
    for op in ops.chunks_exact(3) {
        edit(&mut list, &mut model, [op[0], op[1], op[2]], limits);
        let mut held = Vec::new();
        list.for_each(0, usize::MAX, false, |e| {
            held.push(e.to_vec());
            true
        });
        assert_eq!(model, held);
    }
    let mut nodes = Builder::new(limits);
    for node in list.nodes() {
        let bytes = node.bytes().into_owned();
        if node.is_plain() {
            nodes.plain(bytes);
        } else {
            nodes.listpack(Listpack::from_bytes(bytes).unwrap());
        }
    }
    assert_eq!(nodes.finish(limits).len(), model.len());
}

fn edit(list: &mut List, model: &mut VecDeque<Vec<u8>>, [op, a, b]: [u8; 3], limits: Limits) {
    let (end, other) = if a % 2 == 0 {
        (End::Head, End::Tail)
    } else {
        (End::Tail, End::Head)
    };
    let value = match b % 4 {
        0 => b.to_string().into_bytes(),
        1 => vec![b],
        _ => vec![b; usize::from(a)],
    };
    let at = usize::from(a) % model.len().max(1);
    let push = |model: &mut VecDeque<_>, end, value| match end {
        End::Head => model.push_front(value),
        End::Tail => model.push_back(value),
    };
    let pop = |model: &mut VecDeque<_>, end| match end {
        End::Head => model.pop_front(),
        End::Tail => model.pop_back(),
    };
    match op % 8 {
        0 | 1 => {
            list.push(end, &value, limits);
            push(model, end, value);
        }
        2 => assert_eq!(list.pop(end, limits, |e| e.to_vec()), pop(model, end)),
        3 => {
            list.keep(at, usize::from(b), limits);
            *model = model
                .iter()
                .skip(at)
                .take(usize::from(b))
                .cloned()
                .collect();
        }
        4 => {
            let pivot = model.get(at).cloned().unwrap_or_default();
            let place = model.iter().position(|e| *e == pivot);
            assert_eq!(
                list.insert(&pivot, b > 127, &value, limits),
                place.is_some()
            );
            if let Some(place) = place {
                model.insert(place + usize::from(b > 127), value);
            }
        }
        5 => {
            if list.replace(Some(at), &value, limits) {
                model[at] = value;
            }
        }
        6 => {
            let value = model.get(at).cloned().unwrap_or_default();
            let before = model.len();
            model.retain(|e| *e != value);
            let removed = list.remove_equal(&value, usize::MAX, end, limits);
            assert_eq!(removed, before - model.len());
        }
        _ => {
            list.rotate(end, other, limits, |_| ());
            if let Some(value) = pop(model, end) {
                push(model, other, value);
            }
        }
    }
}

/// An intset of any bytes: its numbers ascend, and it finds, takes and loses others.
pub fn intset(data: &[u8]) {
    let data = &data[..data.len().min(MOST)];
    let Some((number, bytes)) = data.split_first_chunk::<8>() else {
        return;
    };
    let Ok(mut set) = Intset::from_bytes(bytes.to_vec()) else {
        return;
    };
    let number = i64::from_le_bytes(*number);
    let all: Vec<i64> = set.iter().collect();
    assert!(all.is_sorted_by(|a, b| a < b));
    assert!(all.iter().all(|&n| set.contains(n)));
    for n in [number, i64::from(number as i32), i64::from(number as i16)] {
        let new = !set.contains(n);
        assert_eq!(set.add(n), new);
        assert!(set.contains(n) && Intset::from_bytes(set.as_bytes().to_vec()).is_ok());
    }
    for n in all {
        assert!(set.remove(n) || n == number);
    }
}

/// A string of any bytes, taken for a HyperLogLog.
pub fn hll(data: &[u8]) {
    let data = &data[..data.len().min(16 * 1024)];
    with_engine(|e| {
        e.run(&[b"SET", b"k", data]);
        e.run(&[b"PFCOUNT", b"k"]);
        e.run(&[b"PFADD", b"k", b"a", b"b"]);
        e.run(&[b"PFCOUNT", b"k", b"other"]);
        e.run(&[b"PFMERGE", b"sum", b"k"]);
        for what in [&b"DECODE"[..], b"ENCODING", b"GETREG", b"TODENSE"] {
            e.run(&[b"PFDEBUG", what, b"k"]);
        }
        e.run(&[b"PFADD", b"k", b"c"]);
        e.run(&[b"PFMERGE", b"k", b"sum"]);
        e.run(&[b"PFCOUNT", b"k"]);
    });
}

/// A payload of any bytes, with a good footer: what it holds is read, moved on, and edited.
pub fn restore(data: &[u8]) {
    let mut payload = data[..data.len().min(16 * 1024)].to_vec();
    payload.extend(10u16.to_le_bytes());
    payload.extend(crc64(0, &payload).to_le_bytes());
    with_engine(|e| {
        if e.run(&[b"RESTORE", b"k", b"0", &payload]) != b"+OK\r\n" {
            assert_eq!(e.run(&[b"DBSIZE"]), b":0\r\n");
            return;
        }
        let dump = e.run(&[b"DUMP", b"k"]);
        // `$length`, the payload, a line end. A value may be gone at once: all its fields are over.
        let Some(start) = dump.iter().position(|&b| b == b'\n') else {
            return;
        };
        let Some(again) = dump.get(start + 1..dump.len() - 2) else {
            return;
        };
        if !again.is_empty() {
            assert_eq!(e.run(&[b"RESTORE", b"l", b"0", again]), b"+OK\r\n");
            assert_eq!(
                e.run(&[b"DEBUG", b"DIGEST-VALUE", b"k"]),
                e.run(&[b"DEBUG", b"DIGEST-VALUE", b"l"])
            );
        }
        e.run(&[b"DEL", b"l"]);
        e.remakes();
        for words in USES {
            let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            e.run(&words);
        }
    });
}

/// What values are read with.
pub fn limits() -> redkeep::types::dump::Limits {
    redkeep::types::dump::Limits {
        list: redkeep::types::list::Limits {
            fill: -2,
            depth: 1,
            plain_from: 1 << 30,
        },
        hash: redkeep::types::hash::Limits {
            entries: 8,
            value: 64,
            seed: redkeep::ds::table::Seed::random(|| 1),
        },
        set: redkeep::types::set::Limits {
            max_intset: 8,
            max_packed: 8,
            max_value: 64,
            seed: redkeep::ds::table::Seed::random(|| 1),
        },
        zset: redkeep::types::zset::Limits {
            entries: 8,
            value: 64,
            seed: redkeep::ds::table::Seed::random(|| 1),
        },
    }
}

/// An RDB file of any bytes, which come in pieces: an error with a place in it, or what it holds. How it is cut into
/// pieces makes no difference.
pub fn rdb_file(data: &[u8]) {
    let data = &data[..data.len().min(64 * 1024)];
    let Some((&piece, file)) = data.split_first() else {
        return;
    };
    let limits = limits();
    let read = |piece: usize| {
        let mut loader = Loader::new(false);
        let mut pieces = file.chunks(piece).chain([&b""[..]]);
        let mut names = Vec::new();
        loop {
            match loader.next(&limits, 1_700_000_000_000) {
                Ok(None) => loader.feed(pieces.next().unwrap()),
                Ok(Some(Loaded::End)) => return (names, Ok(loader.position())),
                Ok(Some(Loaded::Key(key))) => names.push(key.name),
                Ok(Some(_)) => {}
                Err(e) => {
                    assert!(e.offset <= file.len() as u64);
                    return (names, Err(e));
                }
            }
        }
    };
    assert_eq!(read(usize::from(piece) * 16 + 1), read(file.len().max(1)));
}

/// An append-only file of any bytes, which come in pieces: its commands, and where it is torn or damaged. How it is cut
/// into pieces makes no difference. And a log of ours to which the bytes say what is done.
pub fn log(data: &[u8]) {
    let data = &data[..data.len().min(64 * 1024)];
    let Some((&piece, file)) = data.split_first() else {
        return;
    };
    let piece = usize::from(piece) + 1;
    let (commands, whole, wrong) = log::read(file, piece);
    assert!(whole <= file.len() as u64);
    assert!(
        wrong
            .as_ref()
            .is_none_or(|w| w.offset() <= file.len() as u64)
    );
    assert_eq!((commands, whole, wrong), log::read(file, file.len()));
    if let Some((&[kind, byte, a, b, c, d], rest)) = file.split_first_chunk() {
        let log = log_of(rest);
        let (at, more) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let len = log.bytes.len();
        if len > 0 {
            let harm = Harm::of(kind, at.into(), more.into(), byte, len);
            log.suffers(&harm, piece);
        }
    }
}

/// What a leader says, of any bytes, which come in pieces: what it means, and why the link is refused if it is. How it is
/// cut into pieces makes no difference, and next to nothing is kept.
pub fn link(data: &[u8]) {
    let data = &data[..data.len().min(64 * 1024)];
    let Some((&[how, piece], said)) = data.split_first_chunk() else {
        return;
    };
    let greeting = Greeting {
        password: vec![b'x'; usize::from(how & 1)],
        from: (how & 2 != 0).then(|| ("0".repeat(40), 1000)),
        failover: how & 4 != 0,
        rdb_only: how & 8 != 0,
        ..Greeting::default()
    };
    let hear = |piece: usize| {
        let mut link = Link::new(greeting.clone());
        let (mut told, mut payload, mut stream) = (Vec::new(), Vec::new(), Vec::new());
        for bytes in said.chunks(piece) {
            link.receive(bytes);
            loop {
                match link.next() {
                    Ok(Event::Hungry) => break,
                    Ok(Event::Payload(piece)) => payload.extend_from_slice(piece),
                    Ok(Event::Stream(bytes)) => stream.extend(bytes),
                    Ok(event) => told.push(format!("{event:?}")),
                    Err(refused) => {
                        told.push(refused.why);
                        return (told, payload, stream);
                    }
                }
            }
        }
        (told, payload, stream)
    };
    let heard = hear(usize::from(piece) + 1);
    assert!(heard.1.len() + heard.2.len() <= said.len());
    assert_eq!(heard, hear(said.len().max(1)));
}

/// A log of some commands, each byte says what comes next.
pub fn log_of(bytes: &[u8]) -> Log {
    const COMMANDS: [&[u8]; 6] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
        b"*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*1\r\n$4\r\nEXEC\r\n",
        b"#TS:1700000000\r\n",
        b"*2\r\n$6\r\nSELECT\r\n$2\r\n10\r\n",
        b"*3\r\n$5\r\nRPUSH\r\n$4\r\nlist\r\n$11\r\n\r\n*1\r\n$1\r\nx\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$31\r\n#CRC:00000000:10:100\r\n#CRC:0:\r\n\r\n",
    ];
    let mut log = Log::default();
    for byte in bytes.iter().take(32) {
        let (how, n) = (byte >> 5, usize::from(byte & 31));
        let commands: Vec<&[u8]> = (0..=n % 4).map(|i| COMMANDS[(n + i) % 6]).collect();
        match how {
            0 => log.disclaimed(&commands),
            1..=4 => log.batch(&commands, true),
            _ => log.batch(&commands, false),
        }
    }
    log
}

/// Reads and edits for every type; those of the others are errors.
const USES: &[&str] = &[
    "OBJECT ENCODING k",
    "MEMORY USAGE k",
    "COPY k c",
    "SORT k ALPHA LIMIT 0 5",
    "GETRANGE k 0 20",
    "APPEND k x",
    "SETBIT k 7 1",
    "LRANGE k 0 -1",
    "LRANGE k -3 -1",
    "LINSERT k BEFORE a b",
    "LPUSH k x",
    "RPUSH k 1",
    "LSET k 0 y",
    "LREM k 1 a",
    "LTRIM k 1 -2",
    "RPOP k 2",
    "LPOP k",
    "HGETALL k",
    "HSCAN k 0",
    "HRANDFIELD k 3 WITHVALUES",
    "HSET k a 1 b 2",
    "HPEXPIRE k 100000 FIELDS 1 a",
    "HDEL k a",
    "HINCRBY k n 1",
    "SMEMBERS k",
    "SSCAN k 0",
    "SRANDMEMBER k -3",
    "SADD k 1 a 99999999999",
    "SREM k 1 a",
    "SPOP k 2",
    "ZRANGE k 0 -1 WITHSCORES",
    "ZRANGEBYSCORE k -inf +inf",
    "ZRANGEBYLEX k - +",
    "ZSCAN k 0",
    "ZADD k 1 a 2 b",
    "ZINCRBY k 1 a",
    "ZRANK k a",
    "ZREM k a",
    "ZPOPMIN k 2",
    "ZPOPMAX k",
    "GEOSEARCH k FROMLONLAT 0 0 BYRADIUS 1000 km",
    "XRANGE k - +",
    "XREVRANGE k + - COUNT 3",
    "XINFO STREAM k FULL",
    "XADD k * f v",
    "XGROUP CREATE k new 0",
    "XREADGROUP GROUP new c COUNT 2 STREAMS k >",
    "XREADGROUP GROUP g c COUNT 2 STREAMS k >",
    "XPENDING k g - + 5",
    "XAUTOCLAIM k g c 0 0",
    "XTRIM k MAXLEN 2",
    "XDEL k 1-1",
    "XGROUP DESTROY k g",
    "RENAME k r",
    "DEL r",
];

/// Libraries of any bytes, with a good footer: none is there, or all, and they go on as they came.
pub fn functions(data: &[u8]) {
    let mut payload = data[..data.len().min(MOST)].to_vec();
    payload.extend(10u16.to_le_bytes());
    payload.extend(crc64(0, &payload).to_le_bytes());
    with_engine(|e| {
        let libraries = |e: &mut Instance| e.run(&[b"FUNCTION", b"LIST", b"WITHCODE"]);
        if e.run(&[b"FUNCTION", b"RESTORE", &payload]) != b"+OK\r\n" {
            assert_eq!(libraries(e), b"*0\r\n");
            return;
        }
        let (before, dump) = (libraries(e), e.run(&[b"FUNCTION", b"DUMP"]));
        let start = dump.iter().position(|&b| b == b'\n').map_or(0, |at| at + 1);
        let again = dump.get(start..dump.len() - 2).unwrap_or_default();
        assert_eq!(
            e.run(&[b"FUNCTION", b"RESTORE", again, b"FLUSH"]),
            b"+OK\r\n"
        );
        assert_eq!(libraries(e), before);
        assert_eq!(e.run(&[b"FUNCTION", b"FLUSH"]), b"+OK\r\n");
    });
}

struct Instance {
    engine: Engine,
    client: SessionId,
    reply: ReplyBuf,
}

impl Instance {
    fn new() -> Instance {
        let config = Config {
            enable_debug_command: Allow::Yes,
            ..Config::default()
        };
        let mut engine = Engine::new(Options {
            settings: Settings::new(config, None),
            seed: Some(1),
            ..Options::default()
        });
        let client = engine.connect(Peer::default());
        engine.refresh_time();
        Instance {
            engine,
            client,
            reply: ReplyBuf::new(Proto::Resp2),
        }
    }

    fn run(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.reply.clear();
        self.engine
            .execute(self.client, Args::new(args), &mut self.reply);
        self.reply.take()
    }

    /// Makes the only key again by the commands that it is written as, none of which fails.
    fn remakes(&mut self) {
        let was = self.run(&[b"DEBUG", b"DIGEST"]);
        let ks = &mut self.engine.state().ks;
        ks.begin_snapshot(Detail {
            form: Form::Commands,
            ..Detail::default()
        });
        let mut reader = Reader::default();
        let step = ks.walk_snapshot(usize::MAX, |_, commands| reader.feed(commands));
        ks.end_snapshot();
        reader.feed(b"");
        assert!(step.done);
        self.run(&[b"FLUSHALL"]);
        let mut told = Vec::new();
        while let Some(Entry::Command(words)) = reader.next_entry().unwrap() {
            let words = words.argv();
            let reply = self.run(&words);
            let line = words.join(&b' ').escape_ascii().to_string();
            assert!(!reply.starts_with(b"-"), "{line} {reply:?}");
            told.push(line);
        }
        // A score of -0 is 0 in a small sorted set, as which any begins.
        let negative = |line: &String| line.starts_with("ZADD") && line.contains(" -0 ");
        let is = self.run(&[b"DEBUG", b"DIGEST"]);
        assert!(is == was || told.iter().any(negative), "{told:#?}");
    }
}

/// Calls with an engine that is empty.
fn with_engine(use_it: impl FnOnce(&mut Instance)) {
    thread_local! {
        static ENGINE: RefCell<Instance> = RefCell::new(Instance::new());
    }
    ENGINE.with_borrow_mut(|e| {
        e.run(&[b"FLUSHALL"]);
        use_it(e);
    });
}

/// Bytes that scripts take apart with cmsgpack, struct and cjson: a value or an error, and the interpreter stays.
pub fn script_libraries(data: &[u8]) {
    const SCRIPT: &[u8] = b"local kind, data, format = ARGV[1], ARGV[2], ARGV[3]
        if kind == '0' then
            local values = { pcall(cmsgpack.unpack, data) }
            if values[1] then return #cmsgpack.pack(unpack(values, 2, #values > 1 and #values or 2)) end
        elseif kind == '1' then
            return pcall(cmsgpack.unpack_limit, data, #format, #data % 7) and 1
        elseif kind == '2' then
            local size = select(2, pcall(struct.size, format))
            return { size, pcall(struct.unpack, format, data), pcall(struct.pack, format, data, data, #data, #data) }
        else
            local ok, value = pcall(cjson.decode, data)
            if ok then return cjson.decode(cjson.encode({ value }))[1] end
        end";
    let Some((&[kind, split], bytes)) = data.split_first_chunk() else {
        return;
    };
    let bytes = &bytes[..bytes.len().min(MOST)];
    let (format, bytes) = bytes.split_at(usize::from(split).min(bytes.len()));
    thread_local! {
        static SERVER: RefCell<(Engine, SessionId)> = RefCell::new({
            let mut engine = Engine::new(Options::default());
            let client = engine.connect(Peer::default());
            (engine, client)
        });
    }
    SERVER.with_borrow_mut(|(engine, client)| {
        let kind = [b'0' + kind % 4];
        let mut run = |args: &[&[u8]]| {
            let mut reply = ReplyBuf::new(Proto::Resp2);
            engine.execute(*client, Args::new(args), &mut reply);
            reply.take()
        };
        let reply = run(&[b"EVAL", SCRIPT, b"0", &kind, bytes, format]);
        let text = String::from_utf8_lossy(&reply);
        assert!(!text.contains("Internal error"), "{text}");
        assert_eq!(run(&[b"EVAL", b"return 1", b"0"]), b":1\r\n");
    });
}
