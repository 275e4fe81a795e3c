#![no_main]

#[path = "../../tests/fuzz/sessions.rs"]
mod sessions;

libfuzzer_sys::fuzz_target!(|data: &[u8]| sessions::session(data));
