//! Sessions and server names, as the adapter for libssl reads them by itself.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("libssl_der", data));
