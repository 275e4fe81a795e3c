//! What the command line says.

/// Arguments of `redkeep drill`.
#[derive(Debug, clap::Args)]
pub(in crate::server) struct Args {}
