//! A set that is published as one archive. Only its known files are unpacked, into a folder that is renamed at the end.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::catalogue::Set;
use super::checksum::{check, check_download, digest};
use super::download::{PATIENCE, download};
use super::{MOST_BYTES, write};
use crate::DataError;
use crate::words::counted_bytes;

/// Unpacks the set's archive, from `url` or `local`, into `folder`. Returns whether the folder was already there.
pub(super) fn fetch_archive(
    set: &Set,
    [url, md5]: [&str; 2],
    folder: &Path,
    into: &Path,
    local: Option<&Path>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<bool, DataError> {
    if folder.exists() {
        check_folder(set, folder)?;
        return Ok(true);
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
    unpack(set, archive, folder)?;
    if local.is_none() {
        // The archive is no longer needed, and a failure to remove it does no harm.
        let _ = fs::remove_file(&partial);
    }
    Ok(false)
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

/// Unpacks the files of `set` from `archive` into a new folder at `folder`.
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::fetch::catalogue::{self, Source};

    fn archive(folder: &Path, files: &[(&str, &[u8])]) -> PathBuf {
        let path = folder.join("archive.tar.gz");
        let file = File::create(&path).unwrap();
        let gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // The header is written directly, as in a hostile archive, because the library refuses such names.
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
}
