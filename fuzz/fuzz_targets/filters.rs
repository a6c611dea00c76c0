#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringpool_fuzz::filters(input));
