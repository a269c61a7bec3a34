#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringward_fuzz::providers(bytes));
