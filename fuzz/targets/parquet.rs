#![no_main]

use std::sync::Once;

// A panic of the library that is caught is an answer: only one that is not caught stops the fuzzer.
static HOOK: Once = Once::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    shufflenet_data::fuzzing::parquet(bytes);
});
