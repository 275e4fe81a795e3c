//! The command families: one file each, one row per command beside its handler.

mod acl;
mod bits;
mod client;
mod cluster;
mod connection;
mod counter;
mod databases;
mod draws;
mod dump;
mod expire;
mod function;
mod geo;
mod hash;
mod hll;
mod introspect;
mod keys;
mod lcs;
mod list;
mod migrate;
mod module;
mod monitor;
mod object;
mod persist;
mod pubsub;
mod redkeep;
mod replication;
mod script;
mod sentinel;
mod server;
mod set;
mod several;
mod sort;
mod stream;
mod string;
mod string_set;
mod ttl;
mod txn;
mod wait;
mod zset;

use std::sync::OnceLock;

pub(crate) use client::description as describe;
pub(crate) use server::info::everything as report;

use crate::exec::{Command, Handler};
use crate::spec::{Registry, flag};

/// Every family. A new command is a row in one of these; a new family is a line here.
const FAMILIES: &[&[Command]] = &[
    connection::COMMANDS,
    acl::COMMANDS,
    client::COMMANDS,
    introspect::COMMANDS,
    keys::COMMANDS,
    databases::COMMANDS,
    expire::COMMANDS,
    object::COMMANDS,
    wait::COMMANDS,
    string::COMMANDS,
    txn::COMMANDS,
    string_set::COMMANDS,
    counter::COMMANDS,
    list::push::COMMANDS,
    list::pop::COMMANDS,
    list::read::COMMANDS,
    list::edit::COMMANDS,
    list::transfer::COMMANDS,
    hash::write::COMMANDS,
    hash::read::COMMANDS,
    hash::walk::COMMANDS,
    hash::expire::COMMANDS,
    hash::getex::COMMANDS,
    set::COMMANDS,
    set::algebra::COMMANDS,
    set::random::COMMANDS,
    zset::add::COMMANDS,
    zset::read::COMMANDS,
    zset::range::COMMANDS,
    zset::remove::COMMANDS,
    zset::pop::COMMANDS,
    zset::algebra::COMMANDS,
    zset::walk::COMMANDS,
    bits::COMMANDS,
    hll::COMMANDS,
    geo::COMMANDS,
    sort::COMMANDS,
    dump::COMMANDS,
    migrate::COMMANDS,
    script::COMMANDS,
    function::COMMANDS,
    pubsub::COMMANDS,
    persist::COMMANDS,
    replication::COMMANDS,
    redkeep::COMMANDS,
    monitor::COMMANDS,
    sentinel::COMMANDS,
    server::COMMANDS,
    module::COMMANDS,
    cluster::COMMANDS,
    server::config::COMMANDS,
    server::debug::COMMANDS,
    server::info::COMMANDS,
    server::latency::COMMANDS,
    server::memory::COMMANDS,
    server::slowlog::COMMANDS,
    server::commandlog::COMMANDS,
    stream::add::COMMANDS,
    stream::range::COMMANDS,
    stream::read::COMMANDS,
    stream::group::COMMANDS,
    stream::pending::COMMANDS,
    stream::info::COMMANDS,
];

/// All commands.
pub fn registry() -> &'static Registry<Handler> {
    static REGISTRY: OnceLock<Registry<Handler>> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::with(FAMILIES, |flags| !flags.has(flag::ONLY_SENTINEL)))
}

/// The commands that a sentinel answers.
pub fn sentinel_registry() -> &'static Registry<Handler> {
    static REGISTRY: OnceLock<Registry<Handler>> = OnceLock::new();
    let wanted = flag::SENTINEL.with(flag::ONLY_SENTINEL);
    REGISTRY.get_or_init(|| Registry::with(FAMILIES, |flags| flags.has(wanted)))
}
