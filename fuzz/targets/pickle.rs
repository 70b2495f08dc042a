#![no_main]

use shufflenet_pickle::Pickle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(pickle) = Pickle::read(bytes) {
        let _ = (pickle.array(pickle.root()), pickle.entries(pickle.root()));
    }
});
