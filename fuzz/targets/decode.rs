#![no_main]

use shufflenet_image::decode::{decode, dimensions};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let size = dimensions(bytes);
    if let Ok(picture) = decode(bytes) {
        assert_eq!(size, Ok(picture.dimensions()));
    }
});
