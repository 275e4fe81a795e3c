//! Assertions about what a database holds. They panic as `assert_eq!` does, and show what is there instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Display};
use std::ops::RangeBounds;
use std::time::Duration;

use super::dump::quoted;
use super::{Database, Dump, DumpOptions, GroupView, StateError, StreamView, Ttl, diff};

/// Keys of similar names that a message shows.
const SIMILAR: usize = 5;

/// Strings between quotes, for messages.
struct Quoted<T>(T);

impl<T: AsRef<[u8]>> Display for Quoted<&[T]> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|word| quoted(word.as_ref())).collect();
        write!(f, "[{}]", words.join(", "))
    }
}

fn owned<T: AsRef<[u8]>>(words: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    let words = words.into_iter();
    words.map(|word| word.as_ref().to_vec()).collect()
}

fn pairs<'a, V: 'a>(
    all: impl IntoIterator<Item = (&'a Vec<u8>, V)>,
    show: impl Fn(V) -> String,
) -> String {
    let all = all.into_iter();
    let pairs: Vec<_> = all
        .map(|(name, value)| format!("{}: {}", quoted(name), show(value)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

fn scores(members: &[(Vec<u8>, f64)]) -> String {
    pairs(members.iter().map(|(m, s)| (m, s)), |score| {
        score.to_string()
    })
}

impl Database<'_> {
    /// The key holds this string.
    ///
    /// # Panics
    /// When it does not, as all that follow.
    #[track_caller]
    pub fn assert_string(&self, key: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
        let (key, expected) = (key.as_ref(), expected.as_ref());
        let found = self.get(key);
        if !matches!(&found, Ok(Some(text)) if text == expected) {
            self.fail(key, format_args!("the string {}", quoted(expected)), &found);
        }
    }

    /// There is no such key.
    ///
    /// # Panics
    /// When there is.
    #[track_caller]
    pub fn assert_missing(&self, key: impl AsRef<[u8]>) {
        let key = key.as_ref();
        let found = self.type_of(key);
        if !matches!(found, Ok(None)) {
            self.fail(key, "no such key", &found);
        }
    }

    /// There is such a key.
    ///
    /// # Panics
    /// When there is not.
    #[track_caller]
    pub fn assert_exists(&self, key: impl AsRef<[u8]>) {
        let key = key.as_ref();
        let found = self.type_of(key);
        if !matches!(found, Ok(Some(_))) {
            self.fail(key, "a key", &found);
        }
    }

    /// The key holds something of this type, as TYPE names it.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_type(&self, key: impl AsRef<[u8]>, expected: &str) {
        let key = key.as_ref();
        let found = self.type_of(key);
        if !matches!(found, Ok(Some(name)) if name == expected) {
            self.fail(key, format_args!("a {expected}"), &found);
        }
    }

    /// The key still lives for some time in this range: `Duration::from_secs(29)..=Duration::from_secs(30)`, say.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_ttl(&self, key: impl AsRef<[u8]>, expected: impl RangeBounds<Duration> + Debug) {
        let key = key.as_ref();
        let found = self.ttl(key);
        if !matches!(&found, Ok(Ttl::Left(left)) if expected.contains(left)) {
            self.fail(
                key,
                format_args!("a key with a TTL in {expected:?}"),
                &found,
            );
        }
    }

    /// The key lives for ever.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_no_ttl(&self, key: impl AsRef<[u8]>) {
        let key = key.as_ref();
        let found = self.ttl(key);
        if !matches!(found, Ok(Ttl::Forever)) {
            self.fail(key, "a key without a TTL", &found);
        }
    }

    /// The field of a hash still lives for some time in this range.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_field_ttl(
        &self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
        expected: impl RangeBounds<Duration> + Debug,
    ) {
        let (key, field) = (key.as_ref(), field.as_ref());
        let found = self.field_ttl(key, field);
        if !matches!(&found, Ok(Ttl::Left(left)) if expected.contains(left)) {
            let field = quoted(field);
            let wanted = format_args!("a hash whose field {field} has a TTL in {expected:?}");
            self.fail(key, wanted, &found);
        }
    }

    /// The key holds a list of these elements, in this order.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_list<T: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expected: impl IntoIterator<Item = T>,
    ) {
        let (key, expected) = (key.as_ref(), owned(expected));
        let found = self.list(key);
        if !matches!(&found, Ok(list) if *list == expected) {
            self.fail(
                key,
                format_args!("the list {}", Quoted(&expected[..])),
                &found,
            );
        }
    }

    /// The key holds a hash of these fields and values, and no others.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_hash<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expected: impl IntoIterator<Item = (F, V)>,
    ) {
        let key = key.as_ref();
        let expected = expected.into_iter();
        let expected: BTreeMap<_, _> = expected
            .map(|(name, value)| (name.as_ref().to_vec(), value.as_ref().to_vec()))
            .collect();
        let found = self.hash(key);
        if !matches!(&found, Ok(hash) if *hash == expected) {
            let wanted = pairs(&expected, |value| quoted(value));
            self.fail(key, format_args!("the hash {wanted}"), &found);
        }
    }

    /// The key holds a set of these members, and no others.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_set<T: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expected: impl IntoIterator<Item = T>,
    ) {
        let key = key.as_ref();
        let expected: BTreeSet<_> = owned(expected).into_iter().collect();
        let found = self.set(key);
        if !matches!(&found, Ok(set) if *set == expected) {
            let members: Vec<_> = expected.into_iter().collect();
            self.fail(
                key,
                format_args!("the set {}", Quoted(&members[..])),
                &found,
            );
        }
    }

    /// The key holds a sorted set of these members with these scores, and no others, given in any order.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_zset<T: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        expected: impl IntoIterator<Item = (T, f64)>,
    ) {
        let key = key.as_ref();
        let expected = expected.into_iter();
        let mut expected: Vec<_> = expected
            .map(|(member, score)| (member.as_ref().to_vec(), score))
            .collect();
        expected.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        let found = self.zset(key);
        if !matches!(&found, Ok(zset) if *zset == expected) {
            let wanted = scores(&expected);
            self.fail(key, format_args!("the sorted set {wanted}"), &found);
        }
    }

    /// The key holds a stream of so many entries.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_stream_len(&self, key: impl AsRef<[u8]>, expected: usize) {
        let key = key.as_ref();
        let found = self.stream(key);
        if !matches!(&found, Ok(Some(stream)) if stream.entries.len() == expected) {
            self.fail(key, format_args!("a stream of {expected} entries"), &found);
        }
    }

    /// The key holds a stream with a group that so many entries wait for.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_group_lag(&self, key: impl AsRef<[u8]>, group: impl AsRef<[u8]>, expected: i64) {
        let wanted = format_args!("a lag of {expected}");
        self.assert_group(key.as_ref(), group.as_ref(), &wanted, |group| {
            group.lag == Some(expected)
        });
    }

    /// The key holds a stream with a group that has so many entries pending: delivered to some consumer, and not
    /// acknowledged.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_pending(&self, key: impl AsRef<[u8]>, group: impl AsRef<[u8]>, expected: usize) {
        let wanted = format_args!("{expected} pending entries");
        self.assert_group(key.as_ref(), group.as_ref(), &wanted, |group| {
            group.pending.len() == expected
        });
    }

    /// The key holds a stream with a group in which exactly these entries are pending with a consumer, in the order of ids.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_pending_with<T: AsRef<str>>(
        &self,
        key: impl AsRef<[u8]>,
        group: impl AsRef<[u8]>,
        consumer: impl AsRef<[u8]>,
        expected: impl IntoIterator<Item = T>,
    ) {
        let consumer = consumer.as_ref();
        let ids = expected.into_iter();
        let ids: Vec<String> = ids.map(|id| id.as_ref().to_owned()).collect();
        let name = quoted(consumer);
        let wanted = format_args!("[{}] pending with the consumer {name}", ids.join(", "));
        self.assert_group(key.as_ref(), group.as_ref(), &wanted, |group| {
            let all = group.pending.iter();
            let own = all.filter(|pending| pending.consumer.as_deref() == Some(consumer));
            own.map(|pending| &pending.id).eq(&ids)
        });
    }

    #[track_caller]
    fn assert_group(
        &self,
        key: &[u8],
        name: &[u8],
        wanted: &dyn Display,
        holds: impl Fn(&GroupView) -> bool,
    ) {
        let found = self.stream(key);
        let group = |stream: &StreamView| stream.group(name).is_some_and(&holds);
        if !matches!(&found, Ok(Some(stream)) if group(stream)) {
            let name = quoted(name);
            let wanted = format_args!("a stream whose group {name} has {wanted}");
            self.fail(key, wanted, &found);
        }
    }

    /// There are exactly these keys in the database, in any order.
    ///
    /// # Panics
    /// When there are others.
    #[track_caller]
    pub fn assert_keys<T: AsRef<[u8]>>(&self, expected: impl IntoIterator<Item = T>) {
        let mut expected = owned(expected);
        expected.sort_unstable();
        match self.keys("*") {
            Ok(found) if found == expected => {}
            Ok(found) => {
                let (mut missing, mut surplus) = (expected.clone(), found.clone());
                missing.retain(|key| found.binary_search(key).is_err());
                surplus.retain(|key| expected.binary_search(key).is_err());
                let (missing, surplus) = (Quoted(&missing[..]), Quoted(&surplus[..]));
                panic!(
                    "db {} lacks the keys {missing} and has {surplus} beside",
                    self.index
                );
            }
            Err(error) => panic!("db {}: {error}", self.index),
        }
    }

    /// Says what was expected, what is there, and which keys have similar names.
    #[track_caller]
    fn fail<T>(&self, key: &[u8], expected: impl Display, found: &Result<T, StateError>) -> ! {
        let name = quoted(key);
        let mut message = format!("key {name} in db {}\n  expected: {expected}", self.index);
        match self.shown(key) {
            Ok(Some(shown)) => {
                let shown = shown.trim_end().replace('\n', "\n          ");
                message.push_str("\n     found: ");
                message.push_str(&shown);
            }
            Ok(None) => {
                message.push_str("\n     found: no such key");
            }
            Err(_) => {}
        }
        if let Err(error) = found {
            message.push_str(&format!("\n  which is: {error}"));
        }
        let similar = self.keys("*").map(|keys| similar(key, keys));
        if let Ok(similar @ [_, ..]) = similar.as_deref() {
            message.push_str(&format!("\n   similar: {}", Quoted(similar)));
        }
        panic!("{message}");
    }
}

/// Asserts that everything a server holds is as a text says, which a [`Dump`] was before.
#[track_caller]
pub(crate) fn assert_dump(found: Result<Dump, StateError>, expected: &str, options: &DumpOptions) {
    let found = match found {
        Ok(found) => found,
        Err(error) => panic!("there is no dump: {error}"),
    };
    // Editors and tools disagree on empty ends.
    if found.as_str().trim_end() != expected.trim_end() {
        let changes = diff(expected, found.as_str());
        panic!("the dump is not what was expected ({options:?}):\n{changes}\nfound:\n{found}");
    }
}

/// Of these keys those whose names are most like one.
fn similar(key: &[u8], mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let likeness = |other: &[u8]| {
        let pairs = |(a, b): &(&u8, &u8)| a.eq_ignore_ascii_case(b);
        let start = key.iter().zip(other).take_while(pairs).count();
        let (_, a) = key.split_at(start);
        let (_, b) = other.split_at(start);
        let end = a.iter().rev().zip(b.iter().rev()).take_while(pairs);
        (start + end.count()) * 100 / key.len().max(other.len()).max(1)
    };
    keys.retain(|other| other != key && likeness(other) >= 50);
    keys.sort_by_cached_key(|other| std::cmp::Reverse(likeness(other)));
    keys.truncate(SIMILAR);
    keys
}
