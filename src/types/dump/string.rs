//! Strings.

use super::pieces::At;
use crate::ds::lzf::Compressor;
use crate::rdb::{Blob, Corrupt, Reader, Writer};
use crate::types::string::{INLINE_MAX, Str};

pub(super) fn write(text: &Str, w: &mut Writer<'_>) {
    match text {
        Str::Int(n) => w.int(*n),
        other => other.with(|bytes| w.string(bytes)),
    }
}

pub(super) fn begin(text: &Str, w: &mut Writer<'_>) -> At {
    text.with(|text| match w.compressor(text) {
        Some(compressor) => At::Compressing(compressor),
        None => plain(text, w),
    })
}

/// Begins a string that is written as it is.
fn plain(text: &[u8], w: &mut Writer<'_>) -> At {
    w.count(text.len());
    At::Text(None, 0)
}

pub(super) fn go_on(
    text: &Str,
    at: At,
    bytes: usize,
    spent: &mut Vec<u8>,
    w: &mut Writer<'_>,
) -> At {
    text.with(|text| match at {
        At::Compressing(compressor) => compress(text, compressor, bytes, spent, w),
        At::Text(packed, from) => {
            let all = packed.as_deref().unwrap_or(text);
            let to = from.saturating_add(bytes).min(all.len());
            w.bytes(all.get(from..to).unwrap_or_default());
            if to < all.len() {
                return At::Text(packed, to);
            }
            *spent = packed.unwrap_or_default();
            At::End
        }
        _ => At::End,
    })
}

/// Compresses on; what does not get shorter is written as it is.
fn compress(
    text: &[u8],
    mut compressor: Compressor,
    bytes: usize,
    spent: &mut Vec<u8>,
    w: &mut Writer<'_>,
) -> At {
    let ended = compressor.step(text, bytes);
    if ended == Some(false) {
        return At::Compressing(compressor);
    }
    match compressor.finish(text) {
        Ok(packed) if ended.is_some() => {
            w.packed_head(packed.len(), text.len());
            At::Text(Some(packed), 0)
        }
        Ok(bytes) | Err(bytes) => {
            *spent = bytes;
            plain(text, w)
        }
    }
}

pub(super) fn read(r: &mut Reader<'_>) -> Result<Str, Corrupt> {
    Ok(match r.string()? {
        Blob::Int(n) => Str::Int(n.into()),
        Blob::Unpacked(bytes) if bytes.len() > INLINE_MAX => Str::Heap(bytes.into()),
        other => other.with(Str::from_bytes),
    })
}
