#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazycogs_fuzz::TARGETS[6].run(data));
