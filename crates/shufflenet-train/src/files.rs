//! Writes files and folders completely or not at all, even if the process is killed or the disk is full.
//!
//! New content is written beside the old, under `.NAME.partial`, synced, and renamed into place.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{TrainError, require};

/// Where the content of `path` is written before it is renamed.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

/// Replaces the file `path`, or leaves it as it is.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let fresh = partial(path);
    let written = write_synced(&fresh, bytes).and_then(|()| rename(&fresh, path));
    if written.is_err() {
        // A partial file is useless. If it cannot be deleted, it does no harm.
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// Makes the folder `place`, complete or not at all: `write` fills it under another name, and it is renamed into place
/// once everything is on disk.
pub(crate) fn write_folder(
    place: &Path,
    write: impl FnOnce(&Path) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let fresh = partial(place);
    let parent = place.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent).map_err(|e| TrainError::io("create", parent, e))?;
    if fresh.is_dir() {
        // The folder of a process that was killed.
        fs::remove_dir_all(&fresh).map_err(|e| TrainError::io("remove", &fresh, e))?;
    }
    fs::create_dir(&fresh).map_err(|e| TrainError::io("create", &fresh, e))?;
    let written = write(&fresh)
        .and_then(|()| sync_folder(&fresh))
        .and_then(|()| rename(&fresh, place));
    if written.is_err() {
        // On a full disk this frees space again.
        let _ = fs::remove_dir_all(&fresh);
    }
    written
}

/// Refuses `path`, the value of the flag `key`, unless a new file can be made there. Long work checks its outputs first.
///
/// # Errors
/// [`TrainError::Value`]: something is there, or the folder of the file is not.
pub fn require_new_file(path: &Path, key: &'static str) -> Result<(), TrainError> {
    const ACCEPTED: &str = "a file to be made, in a folder that exists";
    let found = format!("{}, which exists", path.display());
    require(path.symlink_metadata().is_err(), key, found, ACCEPTED)?;
    require_folder(path, key, ACCEPTED)
}

/// Refuses `path`, the value of the flag `key`, if its folder does not exist.
pub(crate) fn require_folder(
    path: &Path,
    key: &'static str,
    accepted: &str,
) -> Result<(), TrainError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let is_there = folder.is_none_or(Path::is_dir);
    let found = format!("{}, whose folder does not exist", path.display());
    require(is_there, key, found, accepted)
}

/// Writes a new file.
///
/// # Errors
/// [`TrainError::Io`]: the file exists or cannot be written.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let fresh = partial(path);
    let written = write_synced(&fresh, bytes).and_then(|()| name_new(&fresh, path));
    // What is left is the other name of the file, or useless.
    let _ = fs::remove_file(&fresh);
    written
}

/// Gives the file `fresh` the name `path`, which no file has.
fn name_new(fresh: &Path, path: &Path) -> Result<(), TrainError> {
    match fs::hard_link(fresh, path) {
        Ok(()) => sync_folder(folder_of(path)),
        // Some file systems have no hard links. Only a link refuses an existing name in the same operation.
        Err(_) if path.symlink_metadata().is_err() => rename(fresh, path),
        Err(error) => Err(TrainError::io("write", path, error)),
    }
}

/// The folder of a file.
fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Renames a file or folder and makes the renaming durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), TrainError> {
    fs::rename(from, to).map_err(|e| TrainError::io("replace", to, e))?;
    sync_folder(folder_of(to))
}

/// Writes a file and waits until it is on disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| TrainError::io("write", path, e))
}

/// Makes files that were created or renamed in a folder durable.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> Result<(), TrainError> {
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(|e| TrainError::io("sync", folder, e))
}

/// Windows cannot open a folder to sync it. Its file systems log renames.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_folder: &Path) -> Result<(), TrainError> {
    Ok(())
}

/// `value` as a JSON file of lines.
pub(crate) fn to_json(what: &'static str, value: &impl Serialize) -> Result<Vec<u8>, TrainError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| TrainError::Encode {
        what,
        message: error.to_string(),
    })?;
    text.push(b'\n');
    Ok(text)
}

/// A digest in hexadecimal digits.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row of a CSV file (RFC 4180), with its line feed.
pub fn csv_row<F: AsRef<[u8]>>(fields: impl IntoIterator<Item = F>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record(fields);
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_complete_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        write_new(&path, b"first").unwrap();
        let line = write_new(&path, b"second").unwrap_err().to_string();
        assert!(line.contains(&path.display().to_string()), "{line}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_with_commas_and_quotes_stay_one_field() {
        let row = csv_row(["a/b.png", "cat, \"tabby\"", ""]);
        assert_eq!(row, "a/b.png,\"cat, \"\"tabby\"\"\",\n");
    }
}
