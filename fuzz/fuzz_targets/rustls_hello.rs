//! ClientHellos to a rustls server on a cache.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("rustls_hello", data));
