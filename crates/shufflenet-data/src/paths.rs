//! Paths as people write them in files: `~` for the home folder, backslashes between folders.

use std::path::{Path, PathBuf};

/// `path` with a leading `~` replaced by the home folder, as a shell does. The path is unchanged if the home folder is
/// not known, or if a file or folder is called `~`.
pub fn expand_home(path: &Path) -> PathBuf {
    let Ok(rest) = path.strip_prefix("~") else {
        return path.into();
    };
    match std::env::home_dir() {
        Some(home) if !Path::new("~").exists() => home.join(rest),
        _ => path.into(),
    }
}

/// Describes why `path` is not the `kind` that is needed, a file or a folder.
pub(crate) fn problem(path: &Path, kind: &str) -> String {
    let hint = match path.to_string_lossy().contains('\\') && cfg!(not(windows)) {
        true => " (on this system / separates folders, not \\)",
        false => "",
    };
    match path.exists() {
        true => format!("is not a {kind}"),
        false => format!("does not exist{hint}"),
    }
}

/// The path `text` of a list in `folder`. Backslashes separate folders, unless there is a file with backslashes in its
/// name.
pub(crate) fn listed(folder: &Path, text: &str) -> PathBuf {
    let path = expand_home(Path::new(text));
    match text.contains('\\') && !folder.join(&path).exists() {
        true => expand_home(Path::new(&text.replace('\\', "/"))),
        false => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_folder_only_at_the_beginning() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(expand_home(Path::new("~/set")), home.join("set"));
        assert_eq!(expand_home(Path::new("~")), home);
        for same in ["a/~/b", "~other/set", "/x"] {
            assert_eq!(expand_home(Path::new(same)), Path::new(same));
        }
    }

    #[test]
    fn backslashes_separate_folders_unless_a_file_has_them_in_its_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(listed(folder.path(), "x\\0.png"), Path::new("x/0.png"));
        #[cfg(unix)]
        {
            std::fs::write(folder.path().join("x\\0.png"), "").unwrap();
            assert_eq!(listed(folder.path(), "x\\0.png"), Path::new("x\\0.png"));
        }
    }
}
