//! Sessions of an external store, as the adapter and libssl read them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("libssl_payload", data));
