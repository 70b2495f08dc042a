//! `data fetch`: downloads a published data set, completely or not at all.
//!
//! Files are downloaded next to their destination, checked, and only then moved to it. Files that are
//! already there are checked and never replaced. CIFAR is an archive: only the known files are unpacked,
//! into a folder that is renamed at the end. IDX sets are separate files.

mod catalogue;
mod download;
mod one;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use md5::{Digest, Md5};

use crate::DataError;
use crate::words::counted_bytes;
use catalogue::{SETS, Set, Source};
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
    match &set.source {
        Source::Archive { url, md5 } => {
            if folder.exists() {
                check_folder(set, &folder)?;
                return Ok((folder, true));
            }
            let file = url.rsplit('/').next().unwrap_or_default();
            let partial = into.join(format!(".{file}.partial"));
            let archive = match local {
                Some(local) => local,
                None => {
                    download(url, &partial, PATIENCE, progress)?;
                    partial.as_path()
                }
            };
            check_download(archive, local.is_none(), md5, digest(archive, false)?)?;
            unpack(set, archive, &folder)?;
            if local.is_none() {
                // The archive is no longer needed, and a failure to remove it does no harm.
                let _ = fs::remove_file(&partial);
            }
            Ok((folder, false))
        }
        Source::Files { url } => {
            fs::create_dir_all(&folder).map_err(|error| DataError::io(&folder, error))?;
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
                    Some(local) => copy(&local.join(file.name), &partial)?,
                    None => download(&format!("{url}{}", file.name), &partial, PATIENCE, progress)?,
                }
                check_download(&partial, true, md5, digest(&partial, true)?)?;
                fs::rename(&partial, &place).map_err(|error| DataError::io(&place, error))?;
            }
            let names = folder.join("classes.txt");
            if let Some(text) = set.classes.filter(|_| !names.exists()) {
                write(&names, text.as_bytes())?;
            }
            Ok((folder, all_there))
        }
    }
}

/// Checks that `folder` holds the files of `set` as published.
fn check_folder(set: &Set, folder: &Path) -> Result<(), DataError> {
    for file in set.files {
        let path = folder.join(file.name);
        let found = fs::metadata(&path)
            .map_err(|error| DataError::io(&path, error))?
            .len();
        if let Some(size) = file.size.filter(|&size| size != found) {
            let expected = format!("{size}; move the folder away, then fetch again");
            return Err(DataError::content(&path, counted_bytes(found), expected));
        }
        if let Some(md5) = file.md5 {
            check(&path, md5, digest(&path, false)?)?;
        }
    }
    Ok(())
}

fn check(path: &Path, expected: &str, found: String) -> Result<(), DataError> {
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
fn check_download(path: &Path, ours: bool, expected: &str, found: String) -> Result<(), DataError> {
    let checked = check(path, expected, found);
    if checked.is_err() && ours {
        let _ = fs::remove_file(path);
    }
    checked
}

/// MD5 of a file's content; of its unpacked content if `unpacked` is set, which requires a gzipped file.
fn digest(path: &Path, unpacked: bool) -> Result<String, DataError> {
    let file = File::open(path).map_err(|error| DataError::io(path, error))?;
    let mut reader: Box<dyn Read> = match unpacked {
        true => Box::new(MultiGzDecoder::new(BufReader::new(file)).take(MOST_BYTES)),
        false => Box::new(file),
    };
    let mut md5 = Md5::new();
    match each_block(&mut reader, |block| md5.update(block)) {
        Ok(()) => Ok(hex(&md5.finalize())),
        // A damaged gzip file is not the published one.
        Err(error) if unpacked => Ok(format!("none: no whole gzip file ({error})")),
        Err(error) => Err(DataError::io(path, error)),
    }
}

/// Calls `with` with the content of `reader`, block after block.
fn each_block(reader: &mut dyn Read, mut with: impl FnMut(&[u8])) -> io::Result<()> {
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
fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Unpacks the files of `set` out of `archive` into a new folder at `folder`.
fn unpack(set: &Set, archive: &Path, folder: &Path) -> Result<(), DataError> {
    let damaged = |error: io::Error| {
        DataError::content(
            archive,
            format!("a damaged archive ({error})"),
            "a whole one",
        )
    };
    let parent = folder.parent().unwrap_or(Path::new("."));
    // The folder is deleted when it is dropped, unless it was renamed.
    let fresh = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(parent)
        .map_err(|error| DataError::io(parent, error))?;
    let file = File::open(archive).map_err(|error| DataError::io(archive, error))?;
    let unpacked = MultiGzDecoder::new(BufReader::new(file)).take(MOST_BYTES);
    for entry in tar::Archive::new(unpacked).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?;
        // Only the last part of the name is used, so no entry can choose another folder.
        let name = path.file_name().unwrap_or_default().to_os_string();
        let wanted = set.files.iter().any(|file| name == file.name);
        if wanted && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            write(&fresh.path().join(name), &bytes)?;
        }
    }
    check_folder(set, fresh.path())?;
    #[cfg(unix)]
    {
        // Temporary folders are private to their owner; a set should be readable like other folders.
        use std::os::unix::fs::PermissionsExt;
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(fresh.path(), open).map_err(|error| DataError::io(folder, error))?;
    }
    fs::rename(fresh.path(), folder).map_err(|error| DataError::io(folder, error))
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

    fn archive(folder: &Path, files: &[(&str, &[u8])]) -> PathBuf {
        let path = folder.join("archive.tar.gz");
        let file = File::create(&path).unwrap();
        let gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // Written directly, as in a hostile archive, because the library refuses such names.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        path
    }

    /// A set of two files: `hello` with the content "hello", and `names` with any two bytes.
    const SET: Set = Set {
        name: "tiny",
        folder: "tiny",
        source: Source::Files { url: "" },
        files: &[
            catalogue::File {
                name: "hello",
                md5: Some("5d41402abc4b2a76b9719d911017c592"),
                size: None,
            },
            catalogue::File {
                name: "names",
                md5: None,
                size: Some(2),
            },
        ],
        classes: None,
    };

    #[test]
    fn only_known_files_are_unpacked_and_only_into_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let files: [(&str, &[u8]); 4] = [
            ("x/hello", b"hello"),
            ("../../names", b"ab"),
            ("../evil", b"!"),
            ("/tmp/shufflenet-evil", b"!"),
        ];
        let archive = archive(outer.path(), &files);
        let folder = outer.path().join("inner/tiny");
        fs::create_dir(outer.path().join("inner")).unwrap();
        unpack(&SET, &archive, &folder).unwrap();
        assert_eq!(fs::read(folder.join("hello")).unwrap(), b"hello");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 2);
        assert_eq!(fs::read_dir(outer.path().join("inner")).unwrap().count(), 1);
        assert!(!Path::new("/tmp/shufflenet-evil").exists());
        check_folder(&SET, &folder).unwrap();
        fs::write(folder.join("hello"), "hullo").unwrap();
        let line = check_folder(&SET, &folder).unwrap_err().to_string();
        assert!(
            line.contains("hello: found MD5") && line.contains("nothing was changed"),
            "{line}"
        );
    }

    #[test]
    fn a_wrong_or_damaged_archive_leaves_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("tiny");
        let path = archive(outer.path(), &[("hello", b"hullo"), ("names", b"ab")]);
        let line = unpack(&SET, &path, &folder).unwrap_err().to_string();
        assert!(line.contains("hello: found MD5"), "{line}");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let line = unpack(&SET, &path, &folder).unwrap_err().to_string();
        assert!(line.contains("found a damaged archive"), "{line}");
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
    }

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
            line.contains("found MD5 none: no whole gzip file"),
            "{line}"
        );
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
