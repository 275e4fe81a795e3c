//! State machines beside the data: configuration and statistics.

pub mod acl;
pub mod config;
pub mod excerpt;
pub mod faults;
pub mod histogram;
pub mod info;
pub mod latency;
pub mod slowlog;
pub mod stats;
