//! MD5 of downloaded files against the published ones.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use md5::{Digest, Md5};

use super::MOST_BYTES;
use crate::DataError;

/// Refuses a file whose MD5 is not the expected one.
pub(super) fn check(path: &Path, expected: &str, found: String) -> Result<(), DataError> {
    if found == expected {
        Ok(())
    } else {
        Err(DataError::content(
            path,
            format!("MD5 {found}"),
            format!("{expected}, the published one; nothing was changed"),
        ))
    }
}

/// Checks a new download with [`check`]. A wrong file cannot be continued, so it is deleted if it is
/// `ours`.
pub(super) fn check_download(
    path: &Path,
    ours: bool,
    expected: &str,
    found: String,
) -> Result<(), DataError> {
    let checked = check(path, expected, found);
    if checked.is_err() && ours {
        let _ = fs::remove_file(path);
    }
    checked
}

/// MD5 of a file's content; of its unpacked content if `unpacked` is set, which requires a gzipped file.
pub(super) fn digest(path: &Path, unpacked: bool) -> Result<String, DataError> {
    let file = File::open(path).map_err(|error| DataError::io(path, error))?;
    let mut reader: Box<dyn Read> = match unpacked {
        true => Box::new(MultiGzDecoder::new(BufReader::new(file)).take(MOST_BYTES)),
        false => Box::new(file),
    };
    let mut md5 = Md5::new();
    match each_block(&mut reader, |block| md5.update(block)) {
        Ok(()) => Ok(hex(&md5.finalize())),
        // A damaged gzip file is not the published one.
        Err(error) if unpacked => Ok(format!("none: not a complete gzip file ({error})")),
        Err(error) => Err(DataError::io(path, error)),
    }
}

/// Calls `with` with the content of `reader`, block after block.
pub(super) fn each_block(reader: &mut dyn Read, mut with: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => with(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A digest in hexadecimal digits.
pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
