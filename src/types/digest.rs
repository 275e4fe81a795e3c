//! Digests of contents, for comparing data sets: what DEBUG DIGEST and DEBUG DIGEST-VALUE print. They are those of
//! Redis, so that two servers of either kind can be compared.
//!
//! Where order counts, elements are mixed in one after the other; where it does not, their digests are combined by
//! exclusive or. Of streams only the entries count.

use super::Value;
use crate::ds::listpack;
use crate::types::stream::StreamId;
use crate::util::{digest, num};

/// A digest in the making.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub [u8; 20]);

impl Digest {
    /// Adds something, in no order.
    pub fn xor(&mut self, data: &[u8]) {
        for (byte, more) in self.0.iter_mut().zip(digest::sha1(data)) {
            *byte ^= more;
        }
    }

    /// Adds something that comes after what was added before.
    pub fn mix(&mut self, data: &[u8]) {
        self.xor(data);
        self.0 = digest::sha1(&self.0);
    }

    /// As forty hex digits.
    pub fn hex(&self) -> [u8; 40] {
        digest::hex(&self.0)
    }

    fn mix_element(&mut self, element: listpack::Value<'_>) {
        self.mix(element.bytes(&mut itoa::Buffer::new()));
    }
}

impl Value {
    /// Adds this value, `now` in unix milliseconds, and whether its key has a deadline.
    pub fn add_to_digest(&self, sum: &mut Digest, now: i64, expires: bool) {
        sum.mix(&self.digest_code().to_be_bytes());
        match self {
            Value::Str(s) => s.with(|bytes| sum.mix(bytes)),
            Value::List(list) => {
                list.for_each(0, usize::MAX, false, |element| {
                    sum.mix_element(element);
                    true
                });
            }
            Value::Set(set) => {
                let mut buf = itoa::Buffer::new();
                set.iter()
                    .for_each(|member| sum.xor(member.bytes(&mut buf)));
            }
            Value::ZSet(zset) => {
                for (member, score) in zset.iter() {
                    let mut text = Vec::new();
                    num::write_f64_g17(&mut text, score);
                    let mut one = Digest::default();
                    one.mix_element(member);
                    one.mix(&text);
                    sum.xor(&one.0);
                }
            }
            Value::Hash(hash) => {
                for entry in hash.iter(now) {
                    let mut one = Digest::default();
                    one.mix_element(entry.name);
                    one.mix_element(entry.value);
                    if entry.deadline.is_some() {
                        one.xor(b"!!hexpire!!");
                    }
                    sum.xor(&one.0);
                }
            }
            Value::Stream(stream) => {
                for entry in stream.log().range(StreamId::MIN, StreamId::MAX) {
                    sum.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                    for (name, value) in entry.fields {
                        sum.mix_element(name);
                        sum.mix_element(value);
                    }
                }
            }
        }
        if expires {
            sum.xor(b"!!expire!!");
        }
    }

    /// The number of the type, as Redis counts them.
    fn digest_code(&self) -> u32 {
        match self {
            Value::Str(_) => 0,
            Value::List(_) => 1,
            Value::Set(_) => 2,
            Value::ZSet(_) => 3,
            Value::Hash(_) => 4,
            Value::Stream(_) => 6,
        }
    }
}
