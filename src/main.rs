//! The `redkeep` binary.

use std::ffi::OsString;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let argv: Vec<Vec<u8>> = std::env::args_os()
        .map(OsString::into_encoded_bytes)
        .collect();
    redkeep::server::daemon::main(&argv)
}
