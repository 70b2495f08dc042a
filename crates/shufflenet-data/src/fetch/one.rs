//! Fetches a single file whose publisher gives the beginning of its SHA-256, as PyTorch does in the names of its
//! weights.

use std::fs::{self, File};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::checksum::{each_block, hex};
use super::download::{PATIENCE, download};
use crate::DataError;

/// Puts the file at `url` to `place`, completely or not at all: downloaded, or copied from `local`. Its SHA-256 must begin
/// with `digits`. A download that was cut off is continued. A file that is at `place` already is checked and kept.
///
/// # Errors
/// [`DataError::Fetch`] if the download fails; [`DataError::Io`] if a file cannot be read or written;
/// [`DataError::Content`] for another content, which is not put in place and replaces nothing.
pub fn fetch_file(
    url: &str,
    digits: &str,
    place: &Path,
    local: Option<&Path>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), DataError> {
    if place.exists() {
        return check(place, digits);
    }
    let folder = place.parent().unwrap_or(Path::new(""));
    let is_new = !folder.exists();
    fs::create_dir_all(folder).map_err(|error| DataError::io(folder, error))?;
    let fetched = fetch(url, digits, place, local, progress);
    if fetched.is_err() && is_new {
        // It stays if a part of the file was received.
        let _ = fs::remove_dir(folder);
    }
    fetched
}

fn fetch(
    url: &str,
    digits: &str,
    place: &Path,
    local: Option<&Path>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), DataError> {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let partial = place.with_file_name(format!(".{name}.partial"));
    match local {
        Some(local) => {
            check(local, digits)?;
            fs::copy(local, &partial).map_err(|error| DataError::io(local, error))?;
        }
        None => {
            let downloaded = download(url, &partial, PATIENCE, progress);
            if downloaded.is_err() && fs::metadata(&partial).is_ok_and(|file| file.len() == 0) {
                // Nothing was received that could be continued.
                let _ = fs::remove_file(&partial);
            }
            downloaded?;
            if let Err(error) = check(&partial, digits) {
                // A wrong file cannot be continued.
                let _ = fs::remove_file(&partial);
                return Err(match error {
                    DataError::Content {
                        found, expected, ..
                    } => DataError::Content {
                        path: url.into(),
                        found,
                        expected,
                    },
                    other => other,
                });
            }
        }
    }
    fs::rename(&partial, place).map_err(|error| DataError::io(place, error))
}

fn check(path: &Path, digits: &str) -> Result<(), DataError> {
    let mut file = File::open(path).map_err(|error| DataError::io(path, error))?;
    let mut digest = Sha256::new();
    let hashed = each_block(&mut file, |block| digest.update(block));
    hashed.map_err(|error| DataError::io(path, error))?;
    let found = hex(&digest.finalize());
    if found.starts_with(digits) {
        Ok(())
    } else {
        Err(DataError::content(
            path,
            format!("SHA-256 {found}"),
            format!("{digits}..., the published one; nothing was changed"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "hello" begins with this.
    const DIGITS: &str = "2cf24dba5f";

    #[test]
    fn a_local_file_is_checked_before_it_is_put_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let (local, place) = (
            folder.path().join("local"),
            folder.path().join("into/hello.pth"),
        );
        let fetch = |local: &Path| fetch_file("", DIGITS, &place, Some(local), &mut |_, _| {});
        fs::write(&local, "hullo").unwrap();
        let line = fetch(&local).unwrap_err().to_string();
        assert!(
            line.contains("local: found SHA-256") && !place.exists(),
            "{line}"
        );
        fs::write(&local, "hello").unwrap();
        fetch(&local).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"hello");
        // An existing file is checked and never replaced.
        fetch(Path::new("nowhere")).unwrap();
        fs::write(&place, "other").unwrap();
        let line = fetch(&local).unwrap_err().to_string();
        assert!(line.contains("hello.pth: found SHA-256"), "{line}");
        assert_eq!(fs::read(&place).unwrap(), b"other");
    }
}
