//! When values take which encoding, as the configuration has it.

use super::System;
use crate::ds::table::Seed;
use crate::types::dump::Limits;
use crate::types::{hash, list, set, zset};

/// The limits of all types, for values in a database with this seed.
#[inline]
pub fn limits(sys: &System, seed: Seed) -> Limits {
    let cfg = &sys.cfg;
    Limits {
        list: list_limits(sys),
        hash: hash::Limits {
            entries: cfg.hash_max_listpack_entries,
            value: cfg.hash_max_listpack_value,
            seed,
        },
        set: set::Limits {
            max_intset: cfg.set_max_intset_entries,
            max_packed: cfg.set_max_listpack_entries,
            max_value: cfg.set_max_listpack_value,
            seed,
        },
        zset: zset::Limits {
            entries: cfg.zset_max_listpack_entries,
            value: cfg.zset_max_listpack_value,
            seed,
        },
    }
}

/// Those of lists.
#[inline]
pub fn list_limits(sys: &System) -> list::Limits {
    list::Limits {
        fill: sys.cfg.list_max_listpack_size,
        depth: sys.cfg.list_compress_depth,
        plain_from: sys
            .debug
            .packed_threshold
            .unwrap_or(list::Limits::PLAIN_FROM),
    }
}
