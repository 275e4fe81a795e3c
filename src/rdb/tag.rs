//! The byte before each object: its type and encoding.

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tag {
    /// A string.
    Str = 0,
    /// A list as strings.
    List = 1,
    /// A set as strings.
    Set = 2,
    /// A sorted set as strings with scores in their old form.
    ZSet = 3,
    /// A hash as strings.
    Hash = 4,
    /// A sorted set as strings with binary scores.
    ZSet2 = 5,
    /// A hash in a zipmap.
    HashZipmap = 9,
    /// A list in one ziplist.
    ListZiplist = 10,
    /// A set of integers.
    SetIntset = 11,
    /// A sorted set in a ziplist.
    ZSetZiplist = 12,
    /// A hash in a ziplist.
    HashZiplist = 13,
    /// A list in several ziplists.
    ListQuicklist = 14,
    /// A stream.
    Stream = 15,
    /// A hash in a listpack.
    HashListpack = 16,
    /// A sorted set in a listpack.
    ZSetListpack = 17,
    /// A list in several listpacks.
    ListQuicklist2 = 18,
    /// A stream that knows its first, its greatest deleted and how many were added.
    Stream2 = 19,
    /// A set in a listpack.
    SetListpack = 20,
    /// A stream whose consumers know when they were active.
    Stream3 = 21,
    /// A hash as strings with deadlines of fields, as release candidates of 7.4 wrote it.
    HashDeadlinesOld = 22,
    /// A hash with deadlines of fields in a listpack, as release candidates of 7.4 wrote it.
    HashListpackDeadlinesOld = 23,
    /// A hash as strings with deadlines of fields.
    HashDeadlines = 24,
    /// A hash with deadlines of fields in a listpack.
    HashListpackDeadlines = 25,
    /// A stream that remembers its producers.
    Stream4 = 26,
    /// A stream with pending entries that were handed back.
    Stream5 = 27,
}

impl Tag {
    /// All of them.
    pub const ALL: [Tag; 25] = [
        Tag::Str,
        Tag::List,
        Tag::Set,
        Tag::ZSet,
        Tag::Hash,
        Tag::ZSet2,
        Tag::HashZipmap,
        Tag::ListZiplist,
        Tag::SetIntset,
        Tag::ZSetZiplist,
        Tag::HashZiplist,
        Tag::ListQuicklist,
        Tag::Stream,
        Tag::HashListpack,
        Tag::ZSetListpack,
        Tag::ListQuicklist2,
        Tag::Stream2,
        Tag::SetListpack,
        Tag::Stream3,
        Tag::HashDeadlinesOld,
        Tag::HashListpackDeadlinesOld,
        Tag::HashDeadlines,
        Tag::HashListpackDeadlines,
        Tag::Stream4,
        Tag::Stream5,
    ];

    /// The tag that this byte is. Modules' values have tags too, which are none here.
    pub fn from_byte(byte: u8) -> Option<Tag> {
        Tag::ALL.into_iter().find(|tag| *tag as u8 == byte)
    }

    /// The first version of the format that has this tag; 10 for all that redis-server 7.0 knows.
    pub fn version(self) -> u16 {
        match self as u8 {
            0..=19 => 10,
            20..=21 => 11,
            22..=25 => 12,
            26 => 13,
            _ => 14,
        }
    }
}
