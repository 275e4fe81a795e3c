//! Replies of both protocol versions, and their parser.

/// One reply, exactly as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`, RESP3's only null
    Null,
    Bool(bool),
    /// The text, because its exact spelling is part of the protocol.
    Double(String),
    Big(String),
    /// Three letters of format, then the text.
    Verbatim(String, Vec<u8>),
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
}

impl Reply {
    /// Without trees that only Redis has, and what no command tells: when consumers were seen, and how often somebody
    /// tried to add what was there.
    pub fn lasting(&self) -> Reply {
        let Reply::Array(items) = self else {
            return self.clone();
        };
        let left_out = [
            "radix-tree-keys",
            "radix-tree-nodes",
            "seen-time",
            "active-time",
            "iids-duplicates",
        ];
        let (mut out, mut rest) = (Vec::new(), items.iter());
        while let Some(item) = rest.next() {
            match item {
                Reply::Bulk(b) if left_out.iter().any(|name| name.as_bytes() == b) => {
                    _ = rest.next()
                }
                item => out.push(item.lasting()),
            }
        }
        Reply::Array(out)
    }

    pub fn bulk(text: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(text.as_ref().to_vec())
    }

    pub fn ok() -> Reply {
        Reply::Simple(b"OK".to_vec())
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// The bytes of a string-like reply, else nothing.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Simple(b) | Reply::Error(b) | Reply::Bulk(b) | Reply::Verbatim(_, b) => b,
            _ => &[],
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    pub fn int(&self) -> Option<i64> {
        match self {
            Reply::Int(n) => Some(*n),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(v) | Reply::Set(v) | Reply::Push(v) => v,
            _ => &[],
        }
    }

    /// The value beside `name` in a map, or in an array that alternates names and values.
    pub fn field(&self, name: &str) -> Option<&Reply> {
        match self {
            Reply::Map(pairs) => pairs
                .iter()
                .find(|(k, _)| k.bytes() == name.as_bytes())
                .map(|(_, v)| v),
            Reply::Array(v) => v
                .chunks_exact(2)
                .find(|p| p[0].bytes() == name.as_bytes())
                .map(|p| &p[1]),
            _ => None,
        }
    }

    /// Takes one whole reply from the front of `buf`: the reply and its length, or `None` when more bytes are needed.
    pub fn parse(buf: &[u8]) -> Result<Option<(Reply, usize)>, String> {
        let mut p = Parser { buf, at: 0 };
        match p.value() {
            Ok(r) => Ok(Some((r, p.at))),
            Err(Stop::More) => Ok(None),
            Err(Stop::Bad(why)) => Err(why),
        }
    }
}

enum Stop {
    More,
    Bad(String),
}

struct Parser<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.buf[self.at..];
        let end = rest
            .windows(2)
            .position(|w| w == b"\r\n")
            .ok_or(Stop::More)?;
        self.at += end + 2;
        Ok(&rest[..end])
    }

    fn value(&mut self) -> Result<Reply, Stop> {
        let line = self.line()?;
        let (&tag, rest) = line
            .split_first()
            .ok_or_else(|| Stop::Bad("empty reply line".into()))?;
        let text = String::from_utf8_lossy(rest).into_owned();
        let number = || {
            text.parse::<i64>()
                .map_err(|_| Stop::Bad(format!("bad number {text:?} after {}", tag as char)))
        };
        Ok(match tag {
            b'+' => Reply::Simple(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Int(number()?),
            b'_' => Reply::Null,
            b'#' => Reply::Bool(text == "t"),
            b',' => Reply::Double(text),
            b'(' => Reply::Big(text),
            b'$' if number()? == -1 => Reply::NullBulk,
            b'*' if number()? == -1 => Reply::NullArray,
            b'$' => Reply::Bulk(self.body(number()?)?),
            b'=' => {
                let body = self.body(number()?)?;
                let (format, text) = body
                    .split_at_checked(4)
                    .ok_or_else(|| Stop::Bad("short verbatim".into()))?;
                Reply::Verbatim(
                    String::from_utf8_lossy(&format[..3]).into_owned(),
                    text.to_vec(),
                )
            }
            b'*' => Reply::Array(self.many(number()?)?),
            b'~' => Reply::Set(self.many(number()?)?),
            b'>' => Reply::Push(self.many(number()?)?),
            b'%' => {
                let flat = self.many(number()? * 2)?;
                Reply::Map(
                    flat.chunks_exact(2)
                        .map(|p| (p[0].clone(), p[1].clone()))
                        .collect(),
                )
            }
            other => return Err(Stop::Bad(format!("unknown reply type {:?}", other as char))),
        })
    }

    fn body(&mut self, len: i64) -> Result<Vec<u8>, Stop> {
        let len = usize::try_from(len).map_err(|_| Stop::Bad("negative length".into()))?;
        let rest = &self.buf[self.at..];
        let body = rest.get(..len).ok_or(Stop::More)?;
        let end = rest.get(len..len + 2).ok_or(Stop::More)?;
        if end != b"\r\n" {
            return Err(Stop::Bad("a bulk string does not end in CRLF".into()));
        }
        self.at += len + 2;
        Ok(body.to_vec())
    }

    fn many(&mut self, n: i64) -> Result<Vec<Reply>, Stop> {
        if n < 0 {
            return Err(Stop::Bad("negative count".into()));
        }
        (0..n).map(|_| self.value()).collect()
    }
}
