//! Entry points of the parsers for the fuzz targets in `fuzz/`: they take bytes and ignore the result.

use std::path::Path;

use crate::{cifar, idx, manifest, text};

/// Parses IDX images and labels.
pub fn idx(bytes: &[u8]) {
    let path = Path::new("file");
    let _ = idx::parse::<3>(path, bytes, false, idx::IMAGES);
    let _ = idx::parse::<1>(path, bytes, false, idx::LABELS);
    let gz = flate2::bufread::MultiGzDecoder::new(bytes);
    let _ = idx::parse::<1>(path, gz, true, idx::LABELS);
}

/// Decodes text, or recognises another kind of file.
pub fn text(bytes: &[u8]) {
    let _ = text::decode(bytes);
    let _ = crate::decode::foreign_kind(bytes);
}

/// Parses the tar archive of CIFAR and its records.
pub fn archive(bytes: &[u8]) {
    cifar::fuzz_archive(bytes);
}

/// Parses CSV and JSONL manifests.
pub fn manifest(bytes: &[u8]) {
    manifest::fuzz_list(bytes);
}

/// Parses a whole parquet file.
#[cfg(feature = "parquet")]
pub fn parquet(bytes: &[u8]) {
    crate::parquet::fuzz_file(bytes);
}
