//! Lists.
//!
//! ```text
//! List           = count:length element:string*
//! ListZiplist    = ziplist:string
//! ListQuicklist  = nodes:length ( ziplist:string )*
//! ListQuicklist2 = nodes:length ( 1 element:string | 2 listpack:string )*
//! ```
//!
//! Listpacks and ziplists may be empty.

use super::pieces::At;
use crate::rdb::{Corrupt, Reader, Tag, Writer, ziplist};
use crate::types::list::{Builder, Limits, List};

/// A node that is one element.
const PLAIN: u64 = 1;
/// A node that is a listpack.
const PACKED: u64 = 2;

pub(super) fn write(list: &List, w: &mut Writer<'_>) {
    begin(list, w);
    go_on(list, 0, usize::MAX, w);
}

pub(super) fn begin(list: &List, w: &mut Writer<'_>) -> At {
    w.count(list.node_count());
    At::Node(0)
}

pub(super) fn go_on(list: &List, mut at: usize, bytes: usize, w: &mut Writer<'_>) -> At {
    let mut work = 0;
    for node in list.nodes_from(at) {
        if work >= bytes {
            return At::Node(at);
        }
        w.length(if node.is_plain() { PLAIN } else { PACKED });
        match node.compressed() {
            Some((packed, unpacked)) => {
                work += packed.len();
                w.packed(packed, unpacked);
            }
            None => {
                let bytes = node.bytes();
                work += bytes.len();
                w.string(&bytes);
            }
        }
        at += 1;
    }
    At::End
}

pub(super) fn read(tag: Tag, r: &mut Reader<'_>, limits: Limits) -> Result<List, Corrupt> {
    let mut list = Builder::new(limits);
    match tag {
        Tag::List => {
            for _ in 0..r.count(1)? {
                r.string()?.with(|element| list.push(element, limits));
            }
        }
        Tag::ListZiplist => r.string()?.with(|bytes| {
            let mut buf = itoa::Buffer::new();
            ziplist::read(bytes, |element| {
                list.push(element.bytes(&mut buf), limits);
                Ok(())
            })
        })?,
        Tag::ListQuicklist => {
            for _ in 0..r.count(1)? {
                list.listpack(super::from_ziplist(&r.string()?)?);
            }
        }
        _ => {
            for _ in 0..r.count(2)? {
                match r.length()? {
                    PACKED => list.listpack(super::listpack(r)?),
                    PLAIN => list.plain(element(r)?),
                    _ => return Err(Corrupt),
                }
            }
        }
    }
    Ok(list.finish(limits))
}

/// An element that stands alone has at least one byte.
fn element(r: &mut Reader<'_>) -> Result<Vec<u8>, Corrupt> {
    let element = r.string()?.into_vec();
    if element.is_empty() {
        Err(Corrupt)
    } else {
        Ok(element)
    }
}
