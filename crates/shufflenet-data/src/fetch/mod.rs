//! `data fetch`: downloads a published data set, completely or not at all.
//!
//! Files are downloaded next to their destination, checked, and only then moved to it. Files that are
//! already there are checked and never replaced. CIFAR is an archive: only the known files are unpacked,
//! into a folder that is renamed at the end. IDX sets are separate files.

mod archive;
mod catalogue;
mod checksum;
mod download;
mod one;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::DataError;
use archive::fetch_archive;
use catalogue::{SETS, Set, Source};
use checksum::{check, check_download, digest};
use download::{PATIENCE, download};
pub use one::fetch_file;

/// The largest unpacked size of a file of a set, in bytes.
const MOST_BYTES: u64 = 1 << 28;

/// Names of the sets that can be fetched.
pub fn names() -> Vec<&'static str> {
    SETS.iter().map(|set| set.name).collect()
}

/// Puts the set `name` into its own folder below `into`, from the publisher's server or from `local`: the
/// archive, or for IDX sets a folder with the files. Returns the set's folder, and whether the set was
/// already there.
///
/// # Errors
/// [`DataError::Value`] for an unknown set; [`DataError::Fetch`] if the download fails; [`DataError::Io`]
/// if a file cannot be read or written; [`DataError::Content`] for a file that differs from the published
/// one, which is not put in place and replaces nothing.
pub fn fetch(
    name: &str,
    into: &Path,
    local: Option<&Path>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(PathBuf, bool), DataError> {
    let set = SETS.iter().find(|set| set.name == name);
    let set = set.ok_or_else(|| {
        DataError::value("the set", name, format!("one of {}", names().join(", ")))
    })?;
    let folder = into.join(set.folder);
    fs::create_dir_all(into).map_err(|error| DataError::io(into, error))?;
    let was_there = match &set.source {
        Source::Archive { url, md5 } => {
            fetch_archive(set, [url, md5], &folder, into, local, progress)?
        }
        Source::Files { url } => fetch_files(set, url, &folder, local, progress)?,
    };
    Ok((folder, was_there))
}

/// Puts the set's files, from below `url` or `local`, into `folder`, and a list of the classes beside them. Returns whether
/// all files were already there.
fn fetch_files(
    set: &Set,
    url: &str,
    folder: &Path,
    local: Option<&Path>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<bool, DataError> {
    fs::create_dir_all(folder).map_err(|error| DataError::io(folder, error))?;
    let mut all_there = true;
    for file in set.files {
        let place = folder.join(file.name);
        let md5 = file.md5.unwrap_or_default();
        if place.exists() {
            check(&place, md5, digest(&place, true)?)?;
            continue;
        }
        all_there = false;
        let partial = folder.join(format!(".{}.partial", file.name));
        match local {
            Some(local) => {
                // A wrong file is named by the name that the user knows.
                let given = local.join(file.name);
                check(&given, md5, digest(&given, true)?)?;
                copy(&given, &partial)?;
            }
            None => download(&format!("{url}{}", file.name), &partial, PATIENCE, progress)?,
        }
        check_download(&partial, true, md5, digest(&partial, true)?)?;
        fs::rename(&partial, &place).map_err(|error| DataError::io(&place, error))?;
    }
    let names = folder.join("classes.txt");
    if let Some(text) = set.classes.filter(|_| !names.exists()) {
        write(&names, text.as_bytes())?;
    }
    Ok(all_there)
}

fn copy(from: &Path, to: &Path) -> Result<(), DataError> {
    fs::copy(from, to)
        .map_err(|error| DataError::io(from, error))
        .map(|_| ())
}

/// Writes a file and waits until it is on disk.
fn write(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error: io::Error| DataError::io(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_files_are_checked_before_they_are_put_in_place() {
        let outer = tempfile::tempdir().unwrap();
        let into = outer.path().join("data");
        let fetch = |local: &Path| fetch("mnist", &into, Some(local), &mut |_, _| {});
        let line = fetch(outer.path()).unwrap_err().to_string();
        assert!(
            line.contains("train-images-idx3-ubyte.gz: cannot be read"),
            "{line}"
        );
        fs::write(outer.path().join("train-images-idx3-ubyte.gz"), "no gzip").unwrap();
        let line = fetch(outer.path()).unwrap_err().to_string();
        assert!(
            line.contains("found MD5 none: not a complete gzip file"),
            "{line}"
        );
        let given = outer.path().join("train-images-idx3-ubyte.gz");
        let named = format!("{}: found", given.display());
        assert!(line.contains(&named), "{line}");
        assert_eq!(fs::read_dir(into.join("mnist")).unwrap().count(), 0);
        let line = super::fetch("imagenet", &into, None, &mut |_, _| {})
            .unwrap_err()
            .to_string();
        assert!(
            line.contains("one of cifar10, cifar100, fashion-mnist, mnist"),
            "{line}"
        );
    }
}
