//! Links: names for one of the folders beside them, such as `last` and `best` for a checkpoint.
//!
//! On Unix a link is a symbolic link. Windows lets few users make one, so there a link is a file that holds the
//! folder's name. Either is replaced by a rename. Both kinds are read on every system, because runs are copied from one
//! to another.

use std::path::{Path, PathBuf};

use crate::error::TrainError;
use crate::files;

/// Points the link at `path` at its neighbour `target`.
pub(crate) fn replace_link(path: &Path, target: &str) -> Result<(), TrainError> {
    #[cfg(unix)]
    {
        let fresh = files::partial(path);
        // A kill between the two calls below leaves this file.
        let _ = std::fs::remove_file(&fresh);
        std::os::unix::fs::symlink(target, &fresh)
            .map_err(|e| TrainError::io("create", &fresh, e))?;
        files::rename(&fresh, path)
    }
    #[cfg(not(unix))]
    files::replace(path, target.as_bytes())
}

/// Name of the neighbour that the link at `path` points at. `None`: there is no link.
pub(crate) fn read_link(path: &Path) -> Option<PathBuf> {
    /// Longer than any checkpoint's name, in bytes. A longer file is not a link.
    const LONGEST: u64 = 100;
    if let Ok(target) = std::fs::read_link(path) {
        return Some(target);
    }
    let is_short = path
        .metadata()
        .is_ok_and(|file| file.is_file() && file.len() <= LONGEST);
    let name = is_short.then(|| std::fs::read_to_string(path).ok())??;
    let name = PathBuf::from(name.trim_end());
    let is_neighbour =
        name.file_name() == Some(name.as_os_str()) && path.with_file_name(&name).is_dir();
    is_neighbour.then_some(name)
}

/// What `path`, a link or a file below one, stands for. Symbolic links are left to the system.
pub(crate) fn followed(path: PathBuf) -> PathBuf {
    for link in path.ancestors().take(2).filter(|link| link.is_file()) {
        let target = read_link(link).map(|name| link.with_file_name(name));
        match (target, path.strip_prefix(link)) {
            (Some(target), Ok(file)) if !file.as_os_str().is_empty() => return target.join(file),
            (Some(target), _) => return target,
            (None, _) => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_and_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("last");
        assert_eq!(read_link(&link), None);
        for name in ["step-000001", "step-000002"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("file"), name).unwrap();
            replace_link(&link, name).unwrap();
            assert_eq!(read_link(&link), Some(PathBuf::from(name)));
            for file in [
                followed(link.clone()).join("file"),
                followed(link.join("file")),
            ] {
                assert_eq!(std::fs::read_to_string(file).unwrap(), name);
            }
        }
    }

    #[test]
    fn a_link_of_the_other_kind_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("last");
        std::fs::create_dir(folder.path().join("step-000001")).unwrap();
        for text in ["step-000001", "step-000001\n"] {
            std::fs::write(&link, text).unwrap();
            assert_eq!(read_link(&link), Some(PathBuf::from("step-000001")));
            assert_eq!(followed(link.clone()), folder.path().join("step-000001"));
        }
        for text in ["", "..", "step-000002", "../step-000001"] {
            std::fs::write(&link, text).unwrap();
            assert_eq!(read_link(&link), None, "{text}");
        }
    }
}
