#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shufflenet_image::fuzzing::gif(bytes));
