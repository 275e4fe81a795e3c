//! Good samples, to be mutated.

use redkeep::ds::intset::Intset;
use redkeep::ds::listpack::Listpack;
use redkeep::ds::lzf;
use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::State;
use redkeep::exec::persist::save::{self, Purpose, SaveStep};
use redkeep::exec::session::Peer;
use redkeep::persist::aof::reader;
use redkeep::resp::{Proto, ReplyBuf};

pub fn listpacks() -> Vec<Vec<u8>> {
    let texts: &[&[&str]] = &[
        &[],
        &["a", "1", "-1", "4096", "12345678", "-9223372036854775808"],
        &[
            "a string of more than sixty-three bytes, which takes a header of two bytes",
            "x",
        ],
    ];
    let with_hint = |lp: Listpack| [&[2][..], lp.as_bytes()].concat();
    let mut all: Vec<_> = texts
        .iter()
        .map(|items| {
            let mut lp = Listpack::new();
            items.iter().for_each(|i| lp.push(i.as_bytes()));
            with_hint(lp)
        })
        .collect();
    let mut lp = Listpack::new();
    lp.push(&[b'x'; 300]);
    lp.push_int(5);
    all.push(with_hint(lp));
    all
}

pub fn compressed() -> Vec<Vec<u8>> {
    [
        "hello hello hello hello",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "abcd",
    ]
    .iter()
    .map(|text| {
        let length = (text.len() as u16).to_le_bytes();
        let data = lzf::compress(text.as_bytes(), text.len());
        let data = data.unwrap_or_else(|| [&[3][..], text.as_bytes()].concat());
        [&length[..], &data].concat()
    })
    .collect()
}

/// Limits, then edits of three bytes.
pub fn lists() -> Vec<Vec<u8>> {
    let push = |n: u8| [n % 2, n.wrapping_mul(37), n.wrapping_mul(91)];
    let edit = |n: u8| [n, n.wrapping_mul(53), n.wrapping_mul(111)];
    let of = |limits: [u8; 3]| {
        let ops = (0..60).map(push).chain((0..120).map(edit)).flatten();
        limits.into_iter().chain(ops).collect()
    };
    [
        [60, 0, 1],
        [80, 1, 1],
        [246, 2, 1],
        [60, 1, 9],
        [0, 0, 0],
        [140, 3, 2],
    ]
    .map(of)
    .into()
}

pub fn intsets() -> Vec<Vec<u8>> {
    let numbers: &[&[i64]] = &[&[], &[1, 2, 3], &[-5, 70_000], &[i64::MIN, 0, i64::MAX]];
    let of = |numbers: &&[i64]| {
        let mut set = Intset::new();
        numbers.iter().for_each(|&n| _ = set.add(n));
        [&7i64.to_le_bytes()[..], set.as_bytes()].concat()
    };
    numbers.iter().map(of).collect()
}

pub fn hyperloglogs() -> Vec<Vec<u8>> {
    let (few, many): (Vec<String>, Vec<String>) = (
        (0..20).map(|n| n.to_string()).collect(),
        (0..5000).map(|n| n.to_string()).collect(),
    );
    let of = |elements: &[String]| {
        let words = ["PFADD".to_owned(), "k".to_owned()];
        let all: Vec<String> = words.into_iter().chain(elements.iter().cloned()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        value_of(&[&all], &["GET", "k"])
    };
    vec![of(&few), of(&many)]
}

/// Payloads of DUMP, without their footers.
pub fn payloads() -> Vec<Vec<u8>> {
    let long = "x".repeat(100);
    let numbers: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    let with = |name: &str| -> Vec<String> {
        let mut words = vec![name.to_owned(), "k".to_owned()];
        words.extend(numbers.iter().cloned());
        words
    };
    let (list, set, hash, zset) = (with("RPUSH"), with("SADD"), with("HSET"), with("ZADD"));
    let lines: Vec<Vec<Vec<String>>> = vec![
        vec![words("SET k 12345")],
        vec![words("SET k hello")],
        vec![words(&format!("SET k {long}"))],
        vec![words("RPUSH k a 1 -1 70000")],
        vec![words(&format!("RPUSH k a {long} b"))],
        vec![list],
        vec![words("SADD k 1 2 3")],
        vec![words("SADD k a b c")],
        vec![words(&format!("SADD k a {long}"))],
        vec![set],
        vec![words("HSET k a 1 b 2")],
        vec![words(&format!("HSET k a {long}"))],
        vec![hash],
        vec![
            words("HSET k a 1 b 2"),
            words("HPEXPIRE k 10000000 FIELDS 1 a"),
        ],
        vec![
            words(&format!("HSET k a {long} b 2")),
            words("HPEXPIRE k 10000000 FIELDS 1 a"),
        ],
        vec![words("ZADD k 1 a 2.5 b inf c")],
        vec![words(&format!("ZADD k 1 a 2.5 {long}"))],
        vec![zset],
        vec![
            words("XADD k 1-1 a 1 b 2"),
            words("XADD k 1-2 a 1 b 2"),
            words("XADD k 2-0 c 1"),
            words("XDEL k 1-2"),
            words("XGROUP CREATE k g 0"),
            words("XREADGROUP GROUP g c COUNT 1 STREAMS k >"),
            words("XGROUP CREATE k h $"),
        ],
        // Pending entries that are gone, one handed back, and producers.
        vec![
            words("XADD k 1-1 a 1"),
            words("XADD k 1-2 a 1"),
            words("XADD k 2-0 a 1"),
            words("XADD k 3-0 a 1"),
            words("XGROUP CREATE k g 0"),
            words("XREADGROUP GROUP g c STREAMS k >"),
            words("XNACK k g FAIL IDS 1 3-0"),
            words("XIDMPRECORD k p i 3-0"),
            words("XTRIM k MINID 1-2"),
            words("XDEL k 2-0"),
        ],
    ];
    lines
        .iter()
        .map(|commands| {
            let commands: Vec<Vec<&str>> = commands
                .iter()
                .map(|c| c.iter().map(String::as_str).collect())
                .collect();
            let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
            let mut payload = value_of(&commands, &["DUMP", "k"]);
            payload.truncate(payload.len() - 10);
            payload
        })
        .collect()
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// The string that a command answers with, after others.
fn value_of(before: &[&[&str]], ask: &[&str]) -> Vec<u8> {
    let mut engine = Engine::new(Options::default());
    let client = engine.connect(Peer::default());
    engine.refresh_time();
    let mut reply = ReplyBuf::new(Proto::Resp2);
    for command in before.iter().chain([&ask]) {
        let args: Vec<&[u8]> = command.iter().map(|w| w.as_bytes()).collect();
        reply.clear();
        engine.execute(client, Args::new(&args), &mut reply);
        assert!(!reply.as_slice().starts_with(b"-"), "{command:?}");
    }
    let reply = reply.take();
    let start = reply.iter().position(|&b| b == b'\n').unwrap() + 1;
    reply[start..reply.len() - 2].to_vec()
}

/// Libraries as payloads hold them, without a footer.
pub fn libraries() -> Vec<Vec<u8>> {
    let codes: &[&[&str]] = &[
        &[],
        &[
            "#!lua name=a\nredis.register_function('f', function(keys, args) return {keys, args} end)",
        ],
        &[
            "#!lua name='b'\nlocal r = redis.register_function r('g', function() return 1 end) r('h', function() end)",
            "#!LUA name=c\nredis.register_function{function_name = 'i', callback = function() return 1 end, \
             description = 'what it does', flags = {'no-writes', 'allow-oom'}}",
        ],
    ];
    let of = |codes: &&[&str], compress: bool| {
        let mut out = Vec::new();
        for code in *codes {
            redkeep::rdb::library::write(&mut out, code.as_bytes(), compress);
        }
        out
    };
    let both = codes
        .iter()
        .flat_map(|codes| [of(codes, false), of(codes, true)]);
    both.collect()
}

/// Values of all types, some with a deadline.
const CONTENTS: &[&str] = &[
    "SET text value",
    "SET number 12345 PX 99999999",
    "SET long aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "RPUSH list a 1 -5 70000 bb",
    "HSET hash f v g 1",
    "SADD ints 1 2 300",
    "SADD words a b c 1",
    "ZADD scores 1 a 2.5 b -inf c",
    "XADD stream 1-1 f v",
    "XADD stream 2-1 f v",
    "XGROUP CREATE stream g 0",
    "XREADGROUP GROUP g c STREAMS stream >",
    "SELECT 3",
    "HSET ttl a 1 b 2",
    "HPEXPIRE ttl 99999999 FIELDS 1 a",
    "RPUSH many 1 2 3 4 5 6 7 8 9 10 11 12 13 14",
];

/// The size of pieces, then a file.
pub fn rdb_files() -> Vec<Vec<u8>> {
    let mut writer = RdbWriter::default();
    let file = |line: &&str| {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        writer.run(&argv);
        [&[3], &writer.file()[..]].concat()
    };
    CONTENTS.iter().map(file).collect()
}

/// A file of what these commands (in RESP) make.
pub fn rdb_file_of(commands: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = RdbWriter::default();
    for command in commands {
        let mut reader = reader::Reader::new(0);
        reader.feed(command);
        reader.feed(b"");
        if let Ok(Some(reader::Entry::Command(words))) = reader.next_entry() {
            writer.run(&words.argv());
        }
    }
    writer.file()
}

/// An engine that is saved.
struct RdbWriter {
    engine: Engine,
    client: redkeep::exec::SessionId,
}

impl Default for RdbWriter {
    fn default() -> RdbWriter {
        let mut engine = Engine::new(Options::default());
        let client = engine.connect(Peer::default());
        RdbWriter { engine, client }
    }
}

impl RdbWriter {
    fn run(&mut self, argv: &[&[u8]]) {
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        self.engine
            .execute(self.client, Args::new(argv), &mut reply);
    }

    fn file(&mut self) -> Vec<u8> {
        let State { ks, sys, .. } = self.engine.state();
        let mut file = Vec::new();
        let id = save::begin_save(ks, sys, Purpose::Foreground, &mut file).unwrap();
        let header = loop {
            match save::save_step(ks, sys, id, &mut file) {
                SaveStep::Done(header) => break header.unwrap(),
                SaveStep::More => {}
                SaveStep::Cancelled => unreachable!(),
            }
        };
        file[..header.len()].copy_from_slice(&header);
        save::end_save(ks, sys, id, false);
        file
    }
}

/// The size of pieces, then a log: with batches that are vouched for, and without.
/// How the replica is and in what pieces it hears, then all that a leader says.
pub fn leaders() -> Vec<Vec<u8>> {
    let mark = "a1aa1aaa1aaaa1aaaaa1aaaaaa1aaaaaaa1aaaab";
    let id = "0123456789abcdef".repeat(3);
    let id = &id[..40];
    let stream = "*1\r\n$4\r\nPING\r\n";
    let begun = "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n";
    let all = [
        (
            0,
            format!("+FULLRESYNC {id} 77\r\n\n$EOF:{mark}\r\nREDIS0011{mark}{stream}"),
        ),
        (
            1,
            format!("+OK\r\n\n+FULLRESYNC {id} 77\r\n\n\n$9\r\nREDIS0011{stream}"),
        ),
        (2, format!("\n+CONTINUE\r\n{stream}")),
        (6, format!("+CONTINUE {id}\r\n{stream}")),
        (8, format!("-ERR what\r\n-ERR what\r\n\n$0\r\n{stream}")),
        (2, "-LOADING\r\n".into()),
        (4, "-ERR what\r\n".into()),
    ];
    let sample =
        |(how, said): &(u8, String)| [&[*how, 6], begun.as_bytes(), said.as_bytes()].concat();
    all.iter().map(sample).collect()
}

pub fn logs() -> Vec<Vec<u8>> {
    let (mut plain, mut vouched) = (vec![9], vec![30]);
    for (n, line) in CONTENTS.iter().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = format!("*{}\r\n", words.len());
        words
            .iter()
            .for_each(|w| command += &format!("${}\r\n{w}\r\n", w.len()));
        if n % 5 == 0 {
            command = format!("#TS:17000000{n:02}\r\n{command}");
        }
        plain.extend(command.bytes());
        vouched.extend(command.bytes());
        reader::vouch(
            &mut vouched,
            crc32fast::hash(command.as_bytes()),
            command.len() as u64,
            0,
        );
    }
    // What is done to a log of ours, and what that is made of.
    let harmed = (0..7).map(|kind| {
        [
            &[70, kind, b'7', 90, 0, 30, 0][..],
            &[0x21, 0x45, 0x02, 0x63, 0xE4, 0x85],
        ]
        .concat()
    });
    [plain, vouched].into_iter().chain(harmed).collect()
}

/// What to do, how much of the rest is a format, and the rest.
pub fn for_script_libraries() -> Vec<Vec<u8>> {
    let of =
        |kind: u8, format: &[u8], data: &[u8]| [&[kind, format.len() as u8], format, data].concat();
    vec![
        of(0, b"", b"\x93\x01\xa3abc\x82\xa1k\xc0\x02\xcb\x3f\xf8\0\0\0\0\0\0"),
        of(0, b"", b"\xdc\0\x02\xdd\0\0\0\x01\xde\0\x01\xc3\xdf\0\0\0\x01\xd9\x01x\xda\0\x01y"),
        of(0, b"", b"\xcc\xff\xcd\xff\xff\xce\xff\xff\xff\xff\xd0\x80\xd1\x80\0\xd2\x80\0\0\0\xdb\0\0\0\x01z"),
        of(1, b"ab", b"\x01\x02\x03\xa2xy\xc2"),
        of(2, b">!8bhi3lBHILTfd", &[7; 60]),
        of(2, b"<sc0bc0x c5i16", b"3\0abc\x02xy1234567890123456789012345"),
        of(3, b"", br#"{"a":[1,-2.5e3,true,null,"x\u00e4\ud83d\ude00\n"],"b":{"c":{}}}"#),
        of(3, b"", b"[[[[]],0x10,nan,-inf,1e999,\"\"]]"),
    ]
}

/// Lines of transcripts, without what was answered: whose it is, then a command.
fn transcripts() -> Vec<Vec<Vec<u8>>> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "resp"));
    files.sort();
    let of = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().filter_map(|line| {
            let (who, command) = line.split_once("> ")?;
            let number = who.strip_prefix('c')?.parse::<u8>().ok()?;
            Some([&[b'0' + (number - 1) % 4], command.as_bytes()].concat())
        });
        lines.collect()
    };
    files.iter().map(of).collect()
}

/// What each client of some says, a line each; see `sessions.rs`.
pub fn sessions() -> Vec<Vec<u8>> {
    let of =
        |lines: &[Vec<u8>]| [&lines.join(&b'\n')[..], b"\n!100\n-0\n3AUTH pw\n3MULTI"].concat();
    let all = transcripts();
    let mut samples: Vec<_> = all
        .iter()
        .flat_map(|lines| lines.chunks(40).map(of))
        .collect();
    samples.push(
        b"0CLIENT PAUSE 100\n1SET a b\n1BLPOP l 1\n!200\n0LPUSH l a\n2AUTH pw\n2MONITOR\n0RESET"
            .to_vec(),
    );
    samples
}

/// What holds for a client, how long the pieces are, and what it sends; see `requests.rs`.
pub fn requests() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for (n, lines) in transcripts().iter().step_by(4).enumerate() {
        let mut bytes = vec![(n * 37) as u8, (n * 11) as u8];
        for (n, line) in lines.iter().take(12).enumerate() {
            let Ok(words) = redkeep::resp::split_line(&line[1..]) else {
                continue;
            };
            if n % 5 == 4 {
                bytes.extend([&line[1..], b"\r\n"].concat());
                continue;
            }
            bytes.extend(format!("*{}\r\n", words.len()).bytes());
            for word in words {
                bytes.extend(format!("${}\r\n", word.len()).bytes());
                bytes.extend([&word[..], b"\r\n"].concat());
            }
        }
        samples.push(bytes);
    }
    let odd: &[&[u8]] = &[
        b"\x00\x05*1\r\n$20000\r\na\xFD\x47\r\nPING\r\n",
        b"\x02\x05*x\r\n",
        b"\x42\x00*10\r\n$3\r\nDEL\r\n$0\r\n\r\n$0\r\n\r\n",
        b"\x00\x00PING a\xFD\xB4 b\r\nPING\r\n",
        b"\x00\x00*1\0\xFD\xB4\r\n",
        b"\x10\x07*0\r\n*-1\r\n\r\n\"a\\x41\" 'b'\r\n*1\r\n$-1\r\n",
        b"\x00\x30*1000000\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n",
    ];
    samples.extend(odd.iter().map(|bytes| bytes.to_vec()));
    samples
}
