#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kwaainet_fuzz::read("books", bytes));
