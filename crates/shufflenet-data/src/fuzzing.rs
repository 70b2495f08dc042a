//! The parsers, as the targets in `fuzz/` call them: bytes in, an answer of no interest out.

use std::path::Path;

use crate::{cifar, idx, manifest};

/// IDX images and labels.
pub fn idx(bytes: &[u8]) {
    let path = Path::new("file");
    let _ = idx::parse::<3>(path, bytes, false, idx::IMAGES);
    let _ = idx::parse::<1>(path, bytes, false, idx::LABELS);
    let gz = flate2::bufread::MultiGzDecoder::new(bytes);
    let _ = idx::parse::<1>(path, gz, true, idx::LABELS);
}

/// The tar archive of CIFAR, and its records.
pub fn archive(bytes: &[u8]) {
    cifar::fuzz_archive(bytes);
}

/// CSV and JSONL manifests.
pub fn manifest(bytes: &[u8]) {
    manifest::fuzz_list(bytes);
}

/// A whole parquet file.
#[cfg(feature = "parquet")]
pub fn parquet(bytes: &[u8]) {
    crate::parquet::fuzz_file(bytes);
}
