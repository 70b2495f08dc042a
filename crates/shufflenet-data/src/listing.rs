//! Lists the images in a folder and in all folders below it, as torchvision's `ImageFolder` does.
//!
//! Images are recognised by their extensions. Hidden and system files are ignored. Every other file is counted, so that a
//! command can report each file that it skips. A folder is entered through a link at most once, so that circular links end.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::decode::{foreign_ending, is_image_name, is_passed_over};
use crate::words::plural;

/// The images below a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Paths of the images, relative to the folder. Each folder's entries are in the order of their names' bytes.
    pub images: Vec<PathBuf>,
    /// The files that are not images, or are images in a format that is not read.
    pub passed_over: PassedOver,
    /// Those of them that are pictures or films, relative to the folder.
    pub foreign: Vec<PathBuf>,
    /// The folders that cannot be read.
    pub unreadable: Vec<DataError>,
}

/// Counts of files that were not read, by the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver(BTreeMap<String, usize>);

impl PassedOver {
    /// Counts a file that is not an image.
    pub fn file(&mut self, path: &Path) {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        if let (Ok(target), false) = (fs::read_link(path), path.exists()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return self.add(format!("broken link ({name} -> {})", target.display()));
        }
        self.add(match (foreign_ending(path), ending.is_empty()) {
            (Some(kind), _) => format!(".{} ({kind}, which is not read)", ending.to_lowercase()),
            (None, false) => format!(".{}", ending.to_lowercase()),
            (None, true) => "without an ending".into(),
        });
    }

    /// Counts a file under a reason.
    pub fn add(&mut self, reason: String) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: Self) {
        for (reason, count) in other.0 {
            *self.0.entry(reason).or_default() += count;
        }
    }

    /// Whether no file was skipped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Largest number of reasons in a message.
const MOST_REASONS: usize = 8;

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons: Vec<(&String, &usize)> = self.0.iter().collect();
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(*count));
        let named = reasons.iter().take(MOST_REASONS);
        let named: Vec<String> = named
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        write!(f, "passed over: {}", named.join(", "))?;
        match reasons.len().saturating_sub(MOST_REASONS) {
            0 => Ok(()),
            more => write!(f, " and {more} more {}", plural(more, "kind")),
        }
    }
}

/// Lists the images below `folder`.
pub fn images_below(folder: &Path) -> Listing {
    let mut listing = Listing::default();
    walk(folder, Path::new(""), &mut Vec::new(), &mut listing);
    listing
}

/// Adds what is in `root`/`below`. `linked` are the folders that were entered through links.
fn walk(root: &Path, below: &Path, linked: &mut Vec<PathBuf>, listing: &mut Listing) {
    let folder = root.join(below);
    let entries = fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return listing.unreadable.push(DataError::io(&folder, error)),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if is_passed_over(&name) {
            continue;
        }
        let (path, below) = (entry.path(), below.join(&name));
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if !path.is_dir() {
            // Reading a pipe would wait for a writer. A broken link is reported when it is read.
            if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
                listing.passed_over.add("pipe, socket or device".into());
                continue;
            }
            match is_image_name(&below) {
                true => listing.images.push(below),
                false => {
                    listing.passed_over.file(&path);
                    if foreign_ending(&below).is_some() {
                        listing.foreign.push(below);
                    }
                }
            }
        } else if !is_link {
            walk(root, &below, linked, listing);
        } else if let (Ok(real), Ok(here)) = (path.canonicalize(), folder.canonicalize())
            && !here.starts_with(&real)
            && !linked.contains(&real)
        {
            linked.push(real);
            walk(root, &below, linked, listing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        folder
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_is_counted_and_is_not_an_image() {
        let folder = made(&["a.png"]);
        let socket = folder.path().join("b.png");
        let _socket = std::os::unix::net::UnixListener::bind(socket).unwrap();
        let listing = images_below(folder.path());
        assert_eq!(names(&listing), ["a.png"]);
        let passed_over = listing.passed_over.to_string();
        assert_eq!(passed_over, "passed over: 1 pipe, socket or device");
    }

    fn names(listing: &Listing) -> Vec<String> {
        listing
            .images
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    #[test]
    fn images_in_nested_folders_are_found_in_order() {
        let folder = made(&["b.png", "a/2.jpg", "a/1.TIF", "a/deep/er/3.gif", "c.jfif"]);
        let listing = images_below(folder.path());
        assert_eq!(
            names(&listing),
            ["a/1.TIF", "a/2.jpg", "a/deep/er/3.gif", "b.png", "c.jfif"]
        );
        assert!(listing.passed_over.is_empty() && listing.unreadable.is_empty());
    }

    #[test]
    fn hidden_and_system_files_are_ignored_and_others_counted() {
        let hidden = [
            "._a.png",
            ".DS_Store",
            "Thumbs.db",
            "__MACOSX/a.png",
            ".git/x.png",
        ];
        let others = ["1.heic", "2.HEIC", "notes.txt", "README"];
        let folder = made(&[&hidden[..], &others[..], &["a.png"]].concat());
        let listing = images_below(folder.path());
        assert_eq!(names(&listing), ["a.png"]);
        let line = listing.passed_over.to_string();
        assert!(line.starts_with("passed over: 2 .heic ("), "{line}");
        assert!(
            line.contains("1 .txt") && line.contains("1 without an ending"),
            "{line}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_broken_link_is_named_with_its_target() {
        let folder = made(&["a.png", "b.mov"]);
        std::os::unix::fs::symlink("/no/such/disk", folder.path().join("birds")).unwrap();
        let listing = images_below(folder.path());
        assert_eq!(listing.foreign, [PathBuf::from("b.mov")]);
        let line = listing.passed_over.to_string();
        assert!(
            line.contains("1 broken link (birds -> /no/such/disk)"),
            "{line}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_are_followed_once() {
        let (folder, elsewhere) = (made(&["a/1.png"]), made(&["2.png"]));
        let root = folder.path();
        std::os::unix::fs::symlink(elsewhere.path(), root.join("b")).unwrap();
        std::os::unix::fs::symlink(root, root.join("a/up")).unwrap();
        std::os::unix::fs::symlink(root.join("a"), elsewhere.path().join("back")).unwrap();
        let listing = images_below(root);
        assert_eq!(names(&listing), ["a/1.png", "b/2.png", "b/back/1.png"]);
    }
}
