//! State machines beside the data: configuration and statistics.

pub mod config;
