//! Parameters of several words.

use super::codec::{Codec, Fault, Origin, in_quotes, memory, one_of, quoted, utf8};
use crate::keyspace::event::Classes;
use crate::util::num;

/// Save after `seconds` when at least `changes` were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// The age of the oldest unsaved change.
    pub seconds: i64,
    /// How many changes it takes.
    pub changes: i64,
}

/// Pairs of numbers, or one empty word for none. In a file each line adds a pair.
pub(crate) struct SavePoints;

impl SavePoints {
    fn pairs(words: &[&[u8]]) -> Option<Vec<SavePoint>> {
        if !words.len().is_multiple_of(2) {
            return None;
        }
        let pair = |pair: &[&[u8]]| {
            let [seconds, changes] = pair else {
                return None;
            };
            let (seconds, changes) = (num::parse_i64(seconds)?, num::parse_i64(changes)?);
            (seconds >= 1 && changes >= 0).then_some(SavePoint { seconds, changes })
        };
        words.chunks(2).map(pair).collect()
    }
}

impl Codec<Vec<SavePoint>> for SavePoints {
    fn assign(
        &self,
        value: &mut Vec<SavePoint>,
        words: &[&[u8]],
        origin: Origin,
    ) -> Result<(), Fault> {
        if matches!(words, [] | [b""]) {
            value.clear();
            return Ok(());
        }
        let points = Self::pairs(words).ok_or("Invalid save parameters")?;
        if origin != Origin::FileAgain {
            value.clear();
        }
        value.extend(points);
        Ok(())
    }

    fn show(&self, value: &Vec<SavePoint>) -> Vec<u8> {
        let shown: Vec<_> = value
            .iter()
            .map(|p| format!("{} {}", p.seconds, p.changes))
            .collect();
        shown.join(" ").into_bytes()
    }

    fn lines(&self, value: &Vec<SavePoint>) -> Vec<Vec<u8>> {
        match value.as_slice() {
            [] => vec![b"\"\"".to_vec()],
            points => points
                .iter()
                .map(|p| format!("{} {}", p.seconds, p.changes).into_bytes())
                .collect(),
        }
    }
}

/// How much output may wait for a client before it is disconnected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLimit {
    /// Bytes at which the client is closed at once; 0 is no limit.
    pub hard: u64,
    /// Bytes that it may not exceed for `soft_seconds`; 0 is no limit.
    pub soft: u64,
    /// See `soft`.
    pub soft_seconds: u64,
}

/// One limit for each class of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLimits {
    /// Ordinary clients, MONITOR included.
    pub normal: BufferLimit,
    /// Replicas.
    pub replica: BufferLimit,
    /// Clients subscribed to at least one channel.
    pub pubsub: BufferLimit,
}

/// Groups of class, hard, soft, seconds. Classes that are not named keep their limits.
pub(crate) struct ClientLimits;

impl ClientLimits {
    fn each(value: &BufferLimits) -> [String; 3] {
        [
            ("normal", value.normal),
            ("slave", value.replica),
            ("pubsub", value.pubsub),
        ]
        .map(|(class, l)| format!("{class} {} {} {}", l.hard, l.soft, l.soft_seconds))
    }
}

impl Codec<BufferLimits> for ClientLimits {
    fn assign(&self, value: &mut BufferLimits, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut next = *value;
        for group in words.chunks(4) {
            let [class, hard, soft, seconds] = group else {
                continue;
            };
            let slot = match class.to_ascii_lowercase().as_slice() {
                b"normal" => &mut next.normal,
                b"slave" | b"replica" => &mut next.replica,
                b"pubsub" => &mut next.pubsub,
                _ => {
                    return Err(
                        "Invalid client class specified in buffer limit configuration.".into(),
                    );
                }
            };
            *slot = limit(hard, soft, seconds).ok_or(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            )?;
        }
        *value = next;
        Ok(())
    }

    fn show(&self, value: &BufferLimits) -> Vec<u8> {
        Self::each(value).join(" ").into_bytes()
    }

    /// Redis says `slave` when it is asked, and writes `replica`.
    fn lines(&self, value: &BufferLimits) -> Vec<Vec<u8>> {
        let line = |(class, l): (&str, BufferLimit)| {
            let (hard, soft) = (memory(l.hard), memory(l.soft));
            format!("{class} {hard} {soft} {}", l.soft_seconds).into_bytes()
        };
        vec![
            line(("normal", value.normal)),
            line(("replica", value.replica)),
            line(("pubsub", value.pubsub)),
        ]
    }
}

fn limit(hard: &[u8], soft: &[u8], seconds: &[u8]) -> Option<BufferLimit> {
    Some(BufferLimit {
        hard: num::parse_memory(hard)?,
        soft: num::parse_memory(soft)?,
        soft_seconds: num::parse_u64(seconds)?,
    })
}

/// Up to sixteen words; one empty word for none.
pub(crate) struct Addresses;

impl Codec<Vec<String>> for Addresses {
    fn assign(&self, value: &mut Vec<String>, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        if words.len() > 16 {
            return Err("Too many bind addresses specified.".into());
        }
        *value = match words {
            [b""] => Vec::new(),
            _ => words
                .iter()
                .map(|word| utf8(word))
                .collect::<Result<_, _>>()?,
        };
        Ok(())
    }

    fn show(&self, value: &Vec<String>) -> Vec<u8> {
        value.join(" ").into_bytes()
    }

    fn lines(&self, value: &Vec<String>) -> Vec<Vec<u8>> {
        let words: Vec<_> = value.iter().map(|word| quoted(word.as_bytes())).collect();
        vec![if words.is_empty() {
            b"\"\"".to_vec()
        } else {
            words.join(&b' ')
        }]
    }
}

/// Host and port of a leader, or `no one`.
pub(crate) struct Leader;

impl Codec<Option<(String, u16)>> for Leader {
    fn assign(
        &self,
        value: &mut Option<(String, u16)>,
        words: &[&[u8]],
        _: Origin,
    ) -> Result<(), Fault> {
        let [host, port] = words else {
            return Err("wrong number of arguments".into());
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            *value = None;
            return Ok(());
        }
        let port = num::parse_u64(port).and_then(|port| u16::try_from(port).ok());
        *value = Some((utf8(host)?, port.ok_or("Invalid master port")?));
        Ok(())
    }

    fn show(&self, value: &Option<(String, u16)>) -> Vec<u8> {
        value.as_ref().map_or_else(Vec::new, |(host, port)| {
            format!("{host} {port}").into_bytes()
        })
    }

    /// A server without a leader has no such line at all.
    fn lines(&self, value: &Option<(String, u16)>) -> Vec<Vec<u8>> {
        value.iter().map(|_| self.show(value)).collect()
    }
}

/// Three scores, for leader, replica and saving child.
pub(crate) struct OomScores;

impl Codec<[i32; 3]> for OomScores {
    fn assign(&self, value: &mut [i32; 3], words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let [a, b, c] = words else {
            return Err("wrong number of arguments".into());
        };
        let mut next = [0; 3];
        for (slot, word) in next.iter_mut().zip([a, b, c]) {
            let number = num::parse_i64(word).filter(|n| (-2000..=2000).contains(n));
            *slot = number
                .and_then(|n| i32::try_from(n).ok())
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        *value = next;
        Ok(())
    }

    fn show(&self, value: &[i32; 3]) -> Vec<u8> {
        value.map(|n| n.to_string()).join(" ").into_bytes()
    }

    fn lines(&self, value: &[i32; 3]) -> Vec<Vec<u8>> {
        vec![self.show(value)]
    }
}

/// Percentiles that INFO reports latencies for; one empty word for none.
pub(crate) struct Percentiles;

impl Codec<Vec<f64>> for Percentiles {
    fn assign(&self, value: &mut Vec<f64>, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let mut next = Vec::with_capacity(words.len());
        for word in words.iter().filter(|w| !(words.len() == 1 && w.is_empty())) {
            let number = num::parse_f64(word)
                .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&number) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                        .into(),
                );
            }
            next.push(number);
        }
        *value = next;
        Ok(())
    }

    fn show(&self, value: &Vec<f64>) -> Vec<u8> {
        let shown: Vec<_> = value.iter().map(|p| percentile(*p)).collect();
        shown.join(" ").into_bytes()
    }

    fn lines(&self, value: &Vec<f64>) -> Vec<Vec<u8>> {
        let shown = self.show(value);
        vec![if shown.is_empty() {
            b"\"\"".to_vec()
        } else {
            shown
        }]
    }
}

/// A percentile as INFO and CONFIG print it: at most six decimals, none that say nothing.
pub(crate) fn percentile(p: f64) -> String {
    let text = format!("{p:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How a signal shuts the server down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownFlags {
    /// Save, although no save point is set.
    pub save: bool,
    /// Do not save, although one is.
    pub nosave: bool,
    /// Do not wait for replicas.
    pub now: bool,
    /// Leave even when saving failed.
    pub force: bool,
}

/// Any of four words, or `default` for none.
pub(crate) struct ShutdownWords;

impl ShutdownWords {
    fn names(value: &ShutdownFlags) -> impl Iterator<Item = &'static str> {
        let words = [
            (value.save, "save"),
            (value.nosave, "nosave"),
            (value.now, "now"),
            (value.force, "force"),
        ];
        words
            .into_iter()
            .filter_map(|(set, name)| set.then_some(name))
    }
}

impl Codec<ShutdownFlags> for ShutdownWords {
    fn assign(&self, value: &mut ShutdownFlags, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        const WORDS: [&str; 5] = ["default", "save", "nosave", "now", "force"];
        let mut next = ShutdownFlags::default();
        for word in words {
            match word.to_ascii_lowercase().as_slice() {
                b"default" => {}
                b"save" => next.save = true,
                b"nosave" => next.nosave = true,
                b"now" => next.now = true,
                b"force" => next.force = true,
                _ => return Err(one_of(WORDS.into_iter())),
            }
        }
        if words.is_empty() {
            return Err(one_of(WORDS.into_iter()));
        }
        if next.save && next.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        *value = next;
        Ok(())
    }

    fn show(&self, value: &ShutdownFlags) -> Vec<u8> {
        let names: Vec<_> = Self::names(value).collect();
        if names.is_empty() {
            b"default".to_vec()
        } else {
            names.join(" ").into_bytes()
        }
    }

    fn lines(&self, value: &ShutdownFlags) -> Vec<Vec<u8>> {
        vec![self.show(value)]
    }

    fn accepts(&self) -> String {
        "default, or any of save nosave now force".into()
    }
}

/// Reads the letters of `notify-keyspace-events`.
pub(crate) struct NotifyClasses;

impl Codec<Classes> for NotifyClasses {
    fn assign(&self, value: &mut Classes, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let mut next = 0;
        for letter in super::codec::single(words)? {
            next |= match Classes::LETTERS.iter().find(|(known, _)| known == letter) {
                Some((_, class)) => class.0,
                None if *letter == b'A' => Classes::ALL.0,
                None => return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            };
        }
        *value = Classes(next);
        Ok(())
    }

    /// As Redis shows it: with all of `A`, the `n` beside it is not seen.
    fn show(&self, value: &Classes) -> Vec<u8> {
        let all = value.0 & Classes::ALL.0 == Classes::ALL.0;
        let hidden = if all { Classes::NEW.0 } else { 0 };
        letters(Classes(value.0 & !hidden))
    }

    fn lines(&self, value: &Classes) -> Vec<Vec<u8>> {
        vec![in_quotes(&letters(*value))]
    }

    fn accepts(&self) -> String {
        "any of K E g $ l s h z x e t d m n, A for g$lshzxetd".into()
    }
}

/// The letters of classes, with `A` for those that it stands for.
fn letters(classes: Classes) -> Vec<u8> {
    let all = classes.0 & Classes::ALL.0 == Classes::ALL.0;
    let folded = if all { Classes::ALL.0 } else { 0 };
    let rest = Classes(classes.0 & !folded);
    let letters = Classes::LETTERS.iter();
    let letters = letters.filter(|(_, class)| rest.intersects(*class));
    all.then_some(b'A')
        .into_iter()
        .chain(letters.map(|(letter, _)| *letter))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Default>(codec: &impl Codec<T>, text: &str) -> Result<T, String> {
        let mut value = T::default();
        let words: Vec<_> = text.split(' ').map(str::as_bytes).collect();
        codec
            .assign(&mut value, &words, Origin::Command)
            .map_err(String::from)?;
        Ok(value)
    }

    #[test]
    fn notify_classes_fold_into_a() {
        for (letters, shown, line) in [
            ("KEA", "AKE", "\"AKE\""),
            ("Kx", "xK", "\"xK\""),
            ("g$lshzxetdm", "Am", "\"Am\""),
            ("nKE", "nKE", "\"nKE\""),
            ("mnAKE", "AKEm", "\"AnKEm\""),
            ("KKAA", "AK", "\"AK\""),
            ("", "", "\"\""),
        ] {
            let value = read(&NotifyClasses, letters).unwrap();
            assert_eq!(NotifyClasses.show(&value), shown.as_bytes());
            assert_eq!(NotifyClasses.lines(&value), [line.as_bytes()]);
        }
        assert!(read(&NotifyClasses, "q").is_err());
    }

    #[test]
    fn shutdown_words_are_shown_in_one_order() {
        let value = read(&ShutdownWords, "nosave force now").unwrap();
        assert_eq!(ShutdownWords.show(&value), b"nosave now force");
        assert!(read(&ShutdownWords, "save nosave").is_err());
    }

    #[test]
    fn percentiles_print_without_idle_zeros() {
        let value = read(&Percentiles, "50.123456789 1e1 99.9").unwrap();
        assert_eq!(Percentiles.show(&value), b"50.123457 10 99.9");
    }

    #[test]
    fn a_buffer_limit_names_only_the_classes_it_changes() {
        let mut limits = read(&ClientLimits, "pubsub 1 2 3").unwrap();
        let words: [&[u8]; 4] = [b"replica", b"1k", b"2", b"3"];
        ClientLimits
            .assign(&mut limits, &words, Origin::Command)
            .unwrap();
        assert_eq!(
            ClientLimits.show(&limits),
            b"normal 0 0 0 slave 1000 2 3 pubsub 1 2 3"
        );
    }
}
