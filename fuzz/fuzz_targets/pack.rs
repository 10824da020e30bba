#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| maniac_fuzz::pack(data));
