//! Entry points of the decoders for the fuzz targets in `fuzz/`: they take bytes and ignore the result.

use crate::decode::{gif, pnm, tiff};

/// Decodes a TIFF.
pub fn tiff(bytes: &[u8]) {
    let size = tiff::measure(bytes).map(|(size, _)| size);
    if let Ok((picture, _)) = tiff::decode(bytes) {
        assert_eq!(size, Ok(picture.dimensions()));
    }
}

/// Decodes a GIF.
pub fn gif(bytes: &[u8]) {
    if let Ok(picture) = gif::decode(bytes) {
        assert_eq!(gif::measure(bytes), Ok(picture.dimensions()));
    }
}

/// Decodes a PPM.
pub fn pnm(bytes: &[u8]) {
    if let Ok(picture) = pnm::decode(bytes) {
        assert_eq!(pnm::measure(bytes), Ok(picture.dimensions()));
    }
}
