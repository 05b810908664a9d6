//! Sessions of an external store, as a rustls server reads them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("rustls_payload", data));
