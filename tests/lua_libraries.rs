//! The same random scripts go to a real redis-server 7.0.15 and to Redkeep: what they make with cjson, cmsgpack, struct
//! and bit must be the same, errors included.
//!
//! `REDKEEP_DIFF=N` sets the number of scripts (4,000 by default), `REDKEEP_DIFF_SEED=S` the seed.
#![cfg(feature = "lua")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise"
)]

mod common;

use common::{Client, Reply, Server};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Shows values in full, in the order in which tables hold them where the order is the same everywhere.
const SHOW: &str = r"
local function show(v, depth)
  local kind = type(v)
  if kind == 'table' then
    if depth > 8 then return 'deep' end
    local out, sort = {}, false
    for k, x in pairs(v) do
      if type(k) ~= 'string' and type(k) ~= 'number' then sort = true end
      out[#out + 1] = show(k, depth + 1) .. '=' .. show(x, depth + 1)
    end
    if sort then table.sort(out) end
    return '{' .. table.concat(out, ',') .. '}'
  elseif kind == 'number' then
    return string.format('%.17g', v)
  elseif kind == 'string' then
    return #v .. ':' .. v
  elseif kind == 'userdata' then
    return 'null ' .. tostring(v == cjson.null)
  elseif kind == 'function' then
    return 'function'
  end
  return tostring(v)
end
local function all(...)
  local out = {}
  for i = 1, select('#', ...) do
    local v = select(i, ...)
    out[i] = show(v, 0)
  end
  return table.concat(out, ' ')
end
";

#[test]
fn libraries_do_as_those_of_redis() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    let ours = Server::redkeep(&[]);
    let (mut theirs, mut ours) = (redis.client(), ours.client());
    let setting = |name: &str, default: u64| {
        let value = std::env::var(name).ok();
        value.and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let seed = setting("REDKEEP_DIFF_SEED", 7);
    let mut make = Maker(SmallRng::seed_from_u64(seed));
    let (mut differ, mut failed) = (0, 0);
    let count = setting("REDKEEP_DIFF", 4000);
    for _ in 0..count {
        let (call, data) = make.case();
        let (wanted, found) = (run(&mut theirs, &call, &data), run(&mut ours, &call, &data));
        failed += u64::from(wanted.starts_with('-'));
        if wanted != found {
            differ += 1;
            let data = data.escape_ascii();
            println!("{call}\n  with {data}\n  redis   {wanted}\n  redkeep {found}\n");
        }
        assert!(differ < 20, "seed {seed}: too many differences");
    }
    assert_eq!(differ, 0, "seed {seed}");
    // The scripts must be worth their while.
    assert!(failed > count / 20 && failed < count * 3 / 4, "{failed}");
}

/// Runs a call and shows all that it returned, or how it failed.
fn run(client: &mut Client, call: &str, data: &[u8]) -> String {
    let script = format!("{SHOW}return all({call})");
    let reply = client
        .call(&[b"EVAL", script.as_bytes(), b"0", data])
        .unwrap();
    let text = match &reply {
        Reply::Error(text) => format!("-{}", shown(text)),
        Reply::Bulk(text) => text.escape_ascii().to_string(),
        other => panic!("{other:?}"),
    };
    without_addresses(&text)
}

/// Errors are text here, and one line.
fn shown(text: &[u8]) -> String {
    let line: Vec<u8> = text
        .iter()
        .map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b })
        .collect();
    String::from_utf8_lossy(&line).into_owned()
}

/// Two servers put their values at different places.
fn without_addresses(text: &str) -> String {
    let mut pieces = text.split("0x");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.chars().take_while(char::is_ascii_hexdigit).count();
        out.push_str(if digits >= 8 { "0x…" } else { "0x" });
        out.push_str(if digits >= 8 { &piece[digits..] } else { piece });
    }
    out
}

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "15",
    "16",
    "17",
    "31",
    "32",
    "33",
    "-31",
    "-32",
    "-33",
    "127",
    "128",
    "129",
    "-127",
    "-128",
    "-129",
    "255",
    "256",
    "257",
    "32767",
    "32768",
    "-32768",
    "-32769",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "2^53",
    "2^53+1",
    "-2^53",
    "2^63",
    "-2^63",
    "2^64",
    "1e15",
    "1e14",
    "1e13",
    "123456789012345",
    "0.1",
    "-0.1",
    "0.5",
    "1/3",
    "-1/3",
    "1e300",
    "-1e300",
    "5e-324",
    "1e-5",
    "0.0001",
    "1.5",
    "2.5",
    "-2.5",
    "12345.678",
    "99999999999999.9",
    "3.4e38",
    "1e39",
    "0/0",
    "-(0/0)",
    "1/0",
    "-1/0",
    "-0",
    "16777217.5",
];

const PIECES_OF_JSON: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "12345678901234567890",
    "1.5",
    "-1.5e10",
    "1e5",
    "1E-5",
    "0.1e+3",
    "01",
    "-01",
    "0x10",
    "1.",
    ".5",
    "1e",
    "+1",
    "nan",
    "NaN",
    "-nan",
    "inf",
    "Infinity",
    "-inf",
    "infinit",
    "--1",
    "0x",
    "0x1p3",
    "1e999",
    "tru",
    "nulL",
    "truex",
    "",
];

const PIECES_OF_TEXT: &[&str] = &[
    "a",
    "b",
    "\\n",
    "\\t",
    "\\\"",
    "\\\\",
    "\\/",
    "\\u0041",
    "\\u00e4",
    "\\u20ac",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\ud83d\\u0041",
    "\\u12",
    "\\x",
    "\\u0000",
    "\x01",
    "\t",
    "ä",
    "\\b\\f\\r",
    "\\uD800\\uDC00",
    "\\uFFFF",
    "\x7f",
];

const LETTERS: &[&str] = &[
    "b", "B", "h", "H", "l", "L", "T", "i", "I", "f", "d", "s", "x", " ", "<", ">", "!", "c0", "c",
    "c3", "c7", "i1", "i3", "I5", "i8", "I16", "i32", "i0", "b", "B", "h", "H", "i", "I", "f", "d",
    "s", "x", "<", ">",
];

const WRONG_LETTERS: &[&str] = &[
    "i33",
    "!0",
    "!3",
    "!16",
    "!64",
    "i2147483648",
    "c99999999999",
    "z",
    "Z",
    "1",
    "=",
    "n",
];

/// Makes scripts.
struct Maker(SmallRng);

impl Maker {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    fn one(&mut self, of: &[&str]) -> String {
        of[self.below(of.len())].to_owned()
    }

    fn several(&mut self, most: usize, mut make: impl FnMut(&mut Maker) -> String) -> Vec<String> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    /// A call and the data it works on.
    fn case(&mut self) -> (String, Vec<u8>) {
        let (call, data) = match self.below(12) {
            0 => (format!("cmsgpack.pack({})", self.values(4)), Vec::new()),
            1 => (
                format!("cmsgpack.unpack(cmsgpack.pack({}))", self.values(4)),
                Vec::new(),
            ),
            2 => ("cmsgpack.unpack(ARGV[1])".to_owned(), self.messages()),
            3 => (self.part_of_messages(), self.messages()),
            4 => (self.struct_pack(), Vec::new()),
            5 => (self.struct_unpack(), self.bytes()),
            6 => (self.struct_call(), Vec::new()),
            7 => (format!("cjson.encode({})", self.value(0)), Vec::new()),
            8 => ("cjson.decode(ARGV[1])".to_owned(), self.json(0).into()),
            9 => (self.with_options(), self.json(0).into()),
            10 => (self.bits(), Vec::new()),
            _ => (
                format!("cjson.decode(cjson.encode({}))", self.value(0)),
                Vec::new(),
            ),
        };
        match self.below(4) {
            0 => (format!("pcall(function() return {call} end)"), data),
            _ => (call, data),
        }
    }

    fn number(&mut self) -> String {
        match self.below(4) {
            0 => self.0.random_range(-1000..1000).to_string(),
            1 => format!("{:?}", self.0.random_range(-1e6..1e6)),
            _ => self.one(NUMBERS),
        }
    }

    fn text(&mut self) -> String {
        match self.below(6) {
            0 | 1 => {
                let letters = self.several(8, |m| m.one(&["a", "b", "x", "0", "9", " ", "_"]));
                format!("'{}'", letters.concat())
            }
            2 => {
                let bytes = self.several(6, |m| format!("\\{:03}", m.0.random::<u8>()));
                format!("'{}'", bytes.concat())
            }
            3 => format!(
                "('x'):rep({})",
                self.one(&["30", "31", "32", "255", "256", "65535", "65536"])
            ),
            4 => format!(
                "'{}'",
                self.one(&["1", "1.5", "0x10", "-3", " 5 ", "nan", "inf"])
            ),
            _ => "'\\195\\164\\226\\130\\172'".to_owned(),
        }
    }

    fn values(&mut self, most: usize) -> String {
        self.several(most, |m| m.value(0)).join(",")
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth > 4 { 8 } else { 20 }) {
            0..5 => self.number(),
            5..8 => self.text(),
            8..10 => self.one(&["true", "false", "nil", "cjson.null"]),
            10 => self.one(&["function() end", "redis.call", "setmetatable({1,2},{})"]),
            11..14 => format!("{{{}}}", self.several(5, |m| m.value(depth + 1)).join(",")),
            14..17 => {
                let pairs = self.several(6, |m| {
                    // Longer strings are hashed in another way there, and stand in another order.
                    let key = match m.below(6) {
                        0 => m.number(),
                        1 => m.below(12).to_string(),
                        2 => "true".to_owned(),
                        _ => format!("({}):sub(1,31)", m.text()),
                    };
                    format!("[{key}]={}", m.value(depth + 1))
                });
                format!("{{{}}}", pairs.join(","))
            }
            _ => {
                let count = self.one(&["1", "14", "15", "16", "17", "18", "40"]);
                let step = self.one(&[
                    "t[i]=i",
                    "t[i]=-i/2",
                    "t[i]={i}",
                    "t[i*3]=i",
                    "t['k'..i]=i",
                    "t={t}",
                    "t={a=t}",
                    "t={t,1}",
                ]);
                format!("(function() local t={{}} for i=1,{count} do {step} end return t end)()")
            }
        }
    }

    /// Some values in MessagePack, with mistakes.
    fn messages(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        for _ in 0..self.below(5) {
            self.message(0, &mut data);
        }
        for _ in 0..self.below(4) {
            let at = self.below(data.len() + 1);
            match self.below(4) {
                0 => data.truncate(at),
                1 => data.insert(at, self.0.random()),
                2 if at < data.len() => data[at] = self.0.random(),
                _ if at < data.len() => data[at] = 0xc0 + self.below(0x24) as u8,
                _ => {}
            }
        }
        data
    }

    fn message(&mut self, depth: usize, out: &mut Vec<u8>) {
        if depth < 4 && self.below(2) == 0 {
            let (n, map) = (self.below(5), self.below(3) == 0);
            let (short, word) = if map { (0x80, 0xde) } else { (0x90, 0xdc) };
            match self.below(3) {
                0 => out.push(short + n as u8),
                1 => out.extend_from_slice(&[word, 0, n as u8]),
                _ => out.extend_from_slice(&[word + 1, 0, 0, 0, n as u8]),
            }
            for _ in 0..n * (1 + usize::from(map)) {
                self.message(depth + 1, out);
            }
            return;
        }
        let first = match self.below(4) {
            0 => self.0.random_range(0..0x80),
            1 => self.0.random_range(0xe0..=0xff),
            2 => 0xa0 + self.below(32) as u8,
            _ => 0xc0 + self.below(0x1c) as u8,
        };
        out.push(first);
        let size = match first {
            0xa0..=0xbf => usize::from(first & 31),
            0xcc | 0xd0 => 1,
            0xcd | 0xd1 => 2,
            0xca | 0xce | 0xd2 => 4,
            0xcb | 0xcf | 0xd3 => 8,
            0xd9..=0xdb => {
                let n = self.below(32);
                let zeros = (1 << (first - 0xd9)) - 1;
                out.extend(std::iter::repeat_n(0, zeros));
                out.push(n as u8);
                n
            }
            _ => 0,
        };
        out.extend((0..size).map(|_| [0, 1, 0x7f, 0x80, 0xff, self.0.random()][self.below(6)]));
    }

    fn part_of_messages(&mut self) -> String {
        let (limit, offset) = (self.0.random_range(-1..5), self.0.random_range(-1..8));
        match self.below(7) {
            0 => "cmsgpack.unpack_one(ARGV[1])".to_owned(),
            1 => format!("cmsgpack.unpack_one(ARGV[1],{offset})"),
            2 => format!("cmsgpack.unpack_limit(ARGV[1],{limit})"),
            3 => format!("cmsgpack.unpack_limit(ARGV[1],{limit},{offset})"),
            4 => format!("cmsgpack.unpack_limit({})", self.values(3)),
            5 => format!("cmsgpack.unpack_one({})", self.values(3)),
            _ => format!("cmsgpack.unpack({})", self.values(2)),
        }
    }

    fn format(&mut self) -> String {
        let letters = self.several(7, |m| match m.below(40) {
            0 => m.one(WRONG_LETTERS),
            _ => m.one(LETTERS),
        });
        letters.concat()
    }

    fn struct_pack(&mut self) -> String {
        let format = self.format();
        let values: Vec<String> = (0..7)
            .map(|_| match self.below(3) {
                0 => self.text(),
                _ => self.number(),
            })
            .collect();
        format!("struct.pack('{format}',{})", values.join(","))
    }

    fn struct_unpack(&mut self) -> String {
        let format = self.format();
        let offset = match self.below(4) {
            0 => format!(",{}", self.0.random_range(-2..20)),
            1 => format!(",{}", self.number()),
            _ => String::new(),
        };
        format!("struct.unpack('{format}',ARGV[1]{offset})")
    }

    fn struct_call(&mut self) -> String {
        match self.below(4) {
            0 => format!("struct.size('{}')", self.format()),
            1 => format!("struct.size({})", self.values(2)),
            2 => format!("struct.pack({})", self.values(3)),
            _ => format!("struct.unpack({})", self.values(3)),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(40))
            .map(|_| [0, 1, 2, 3, 0x7f, 0x80, 0xff, self.0.random()][self.below(8)])
            .collect()
    }

    fn json(&mut self, depth: usize) -> String {
        let space = self.one(&["", "", "", " ", "\n", "\t ", "\r"]);
        let close = |m: &mut Maker, right: &str| match m.below(25) {
            0 => m.one(&["", "}", "]", ",]", ",}"]),
            _ => right.to_owned(),
        };
        let separator = |m: &mut Maker, right: &str| match m.below(30) {
            0 => m.one(&[",", ":", ";", ",,", "::", ""]),
            _ => right.to_owned(),
        };
        let text = match self.below(if depth > 4 { 12 } else { 20 }) {
            0..7 => match self.below(3) {
                0 => format!("{:?}", self.0.random_range(-1e9..1e9)),
                1 => self.0.random_range(-1_000_000..1_000_000).to_string(),
                _ => self.one(PIECES_OF_JSON),
            },
            7..12 => {
                let inner = self.several(5, |m| m.one(PIECES_OF_TEXT)).concat();
                format!("\"{inner}{}", close(self, "\""))
            }
            12..16 => {
                let items = self.several(4, |m| m.json(depth + 1));
                let separator = separator(self, ",");
                format!("[{}{}", items.join(&separator), close(self, "]"))
            }
            _ => {
                let pairs = self.several(4, |m| {
                    let key = match m.below(30) {
                        0 => m.json(depth + 1),
                        _ => format!("\"k{}\"", m.below(6)),
                    };
                    format!("{key}{}{}", separator(m, ":"), m.json(depth + 1))
                });
                let separator = separator(self, ",");
                format!("{{{}{}", pairs.join(&separator), close(self, "}"))
            }
        };
        format!("{space}{text}")
    }

    /// A new instance of cjson, with an option set.
    fn with_options(&mut self) -> String {
        let number = self.number();
        let option = match self.below(12) {
            0 => "encode_sparse_array(true)".to_owned(),
            1 => "encode_sparse_array(false,1,1)".to_owned(),
            2 => format!("encode_sparse_array({})", self.values(4)),
            3 => format!("encode_max_depth({})", self.one(&["3", "2", "1", "0"])),
            4 => format!("decode_max_depth({})", self.one(&["3", "2", "1", "0"])),
            5 => format!("encode_max_depth({number})"),
            6 => format!(
                "encode_number_precision({})",
                self.one(&["3", "14", "15", "1", "0"])
            ),
            7 => format!("encode_number_precision({number})"),
            8 => format!(
                "encode_invalid_numbers({})",
                self.one(&["true", "false", "'null'", "'on'", "'x'", "5", "nil", ""])
            ),
            9 => format!(
                "decode_invalid_numbers({})",
                self.one(&["true", "false", "'x'"])
            ),
            10 => format!("encode_keep_buffer({})", self.one(&["true", "false", "1"])),
            _ => format!("decode_max_depth({number})"),
        };
        let then = match self.below(2) {
            0 => format!("encode({})", self.value(0)),
            _ => "decode(ARGV[1])".to_owned(),
        };
        format!(
            "(function() local c=cjson.new() local o=show(c.{option},0) return o,c.{then} end)()"
        )
    }

    fn bits(&mut self) -> String {
        let name = self.one(&[
            "tobit", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror",
            "bswap", "tohex",
        ]);
        let operands = self.several(3, |m| match m.below(8) {
            0 => m.value(0),
            1 => m.text(),
            _ => m.number(),
        });
        format!("bit.{name}({})", operands.join(","))
    }
}
