//! Calls of the storage that rustls is given, with any keys and values.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("rustls_store", data));
