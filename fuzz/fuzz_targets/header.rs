#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lazycogs_fuzz::TARGETS[0].run(data));
