//! What can be said to have happened to a key: the classes and names of keyspace notifications.

/// A set of notification classes, as `notify-keyspace-events` spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes(pub u32);

/// One bit per letter of `notify-keyspace-events`.
impl Classes {
    /// `K`: publish to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: Classes = Classes(1);
    /// `E`: publish to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: Classes = Classes(1 << 1);
    /// The channels to publish to: without one of them there is nothing to say.
    pub const CHANNELS: Classes = Classes(Classes::KEYSPACE.0 | Classes::KEYEVENT.0);
    /// `g`: commands of no particular type.
    pub const GENERIC: Classes = Classes(1 << 2);
    /// `$`: strings.
    pub const STRING: Classes = Classes(1 << 3);
    /// `l`: lists.
    pub const LIST: Classes = Classes(1 << 4);
    /// `s`: sets.
    pub const SET: Classes = Classes(1 << 5);
    /// `h`: hashes.
    pub const HASH: Classes = Classes(1 << 6);
    /// `z`: sorted sets.
    pub const ZSET: Classes = Classes(1 << 7);
    /// `x`: a key expired.
    pub const EXPIRED: Classes = Classes(1 << 8);
    /// `e`: a key was evicted.
    pub const EVICTED: Classes = Classes(1 << 9);
    /// `t`: streams.
    pub const STREAM: Classes = Classes(1 << 10);
    /// `m`: a read missed. Not part of `A`.
    pub const MISS: Classes = Classes(1 << 11);
    /// `d`: values of modules, of which there are none.
    pub const MODULE: Classes = Classes(1 << 12);
    /// `n`: a key was created. Not part of `A`.
    pub const NEW: Classes = Classes(1 << 13);
    /// `A`: all events but those of `m` and `n`.
    pub const ALL: Classes = Classes(
        Classes::GENERIC.0
            | Classes::STRING.0
            | Classes::LIST.0
            | Classes::SET.0
            | Classes::HASH.0
            | Classes::ZSET.0
            | Classes::EXPIRED.0
            | Classes::EVICTED.0
            | Classes::STREAM.0
            | Classes::MODULE.0,
    );

    /// The letters, in the order in which they are shown.
    pub const LETTERS: [(u8, Classes); 14] = [
        (b'g', Classes::GENERIC),
        (b'$', Classes::STRING),
        (b'l', Classes::LIST),
        (b's', Classes::SET),
        (b'h', Classes::HASH),
        (b'z', Classes::ZSET),
        (b'x', Classes::EXPIRED),
        (b'e', Classes::EVICTED),
        (b't', Classes::STREAM),
        (b'd', Classes::MODULE),
        (b'n', Classes::NEW),
        (b'K', Classes::KEYSPACE),
        (b'E', Classes::KEYEVENT),
        (b'm', Classes::MISS),
    ];

    /// Whether any class of `other` is in this set.
    pub fn intersects(self, other: Classes) -> bool {
        self.0 & other.0 != 0
    }
}

/// A notification: its class and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The class by which it is switched on.
    pub class: Classes,
    /// The name that subscribers see.
    pub name: &'static str,
}

impl Event {
    /// An event of any class.
    pub const fn new(class: Classes, name: &'static str) -> Event {
        Event { class, name }
    }

    /// An event of the class `g`.
    pub const fn generic(name: &'static str) -> Event {
        Event::new(Classes::GENERIC, name)
    }

    /// An event of the class `$`.
    pub const fn string(name: &'static str) -> Event {
        Event::new(Classes::STRING, name)
    }

    /// An event of the class `l`.
    pub const fn list(name: &'static str) -> Event {
        Event::new(Classes::LIST, name)
    }

    /// An event of the class `h`.
    pub const fn hash(name: &'static str) -> Event {
        Event::new(Classes::HASH, name)
    }

    /// An event of the class `s`.
    pub const fn set(name: &'static str) -> Event {
        Event::new(Classes::SET, name)
    }

    /// An event of the class `z`.
    pub const fn zset(name: &'static str) -> Event {
        Event::new(Classes::ZSET, name)
    }

    /// An event of the class `t`.
    pub const fn stream(name: &'static str) -> Event {
        Event::new(Classes::STREAM, name)
    }

    /// A key was deleted by a command.
    pub const DEL: Event = Event::generic("del");
    /// A key ran out of time.
    pub const EXPIRED: Event = Event::new(Classes::EXPIRED, "expired");
    /// A key had to go because memory was short.
    pub const EVICTED: Event = Event::new(Classes::EVICTED, "evicted");
    /// Fields of a hash ran out of time.
    pub const HEXPIRED: Event = Event::hash("hexpired");
    /// A key came into being.
    pub const NEW: Event = Event::new(Classes::NEW, "new");
    /// A read found no key.
    pub const KEYMISS: Event = Event::new(Classes::MISS, "keymiss");
}
