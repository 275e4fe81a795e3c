//! Strings.

use crate::rdb::{Blob, Corrupt, Reader, Writer};
use crate::types::string::{INLINE_MAX, Str};

pub(super) fn write(text: &Str, w: &mut Writer<'_>) {
    match text {
        Str::Int(n) => w.int(*n),
        other => other.with(|bytes| w.string(bytes)),
    }
}

pub(super) fn read(r: &mut Reader<'_>) -> Result<Str, Corrupt> {
    Ok(match r.string()? {
        Blob::Int(n) => Str::Int(n.into()),
        Blob::Unpacked(bytes) if bytes.len() > INLINE_MAX => Str::Heap(bytes.into_boxed_slice()),
        other => other.with(Str::from_bytes),
    })
}
