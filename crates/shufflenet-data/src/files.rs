//! Reading whole files without trusting them: a header may promise anything.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use crate::error::DataError;

/// All bytes of `file`, decompressed where its name ends in `.gz`; at most `limit` of them, and one
/// more where there are more, so that a caller sees the excess without reading it.
pub(crate) fn read(file: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let handle = File::open(file).map_err(|source| DataError::Io {
        file: file.into(),
        source,
    })?;
    let mut bytes = Vec::new();
    let limit = limit.saturating_add(1);
    let handle = BufReader::new(handle);
    let is_gzip = file.extension().is_some_and(|extension| extension == "gz");
    let result = match is_gzip {
        true => GzDecoder::new(handle).take(limit).read_to_end(&mut bytes),
        false => handle.take(limit).read_to_end(&mut bytes),
    };
    match result {
        Ok(_) => Ok(bytes),
        Err(error) if is_gzip => Err(DataError::malformed(
            file,
            format!("{} bytes, then damaged gzip data ({error})", bytes.len()),
            "an intact gzip file",
        )),
        Err(source) => Err(DataError::Io {
            file: file.into(),
            source,
        }),
    }
}

/// The lines of a file of names, one a line; empty lines are left out.
pub(crate) fn names(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(String::from).collect()
}
