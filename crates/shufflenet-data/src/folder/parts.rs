//! The parts of a set: the folders called `train`, `val` and `test`.

use std::path::Path;

use super::subfolders::{class_folders, loose_files, visible, without_folders};
use super::{ADVICE, SHORT};
use crate::listing::PassedOver;
use crate::{DataError, Split, paths};

/// The parts of the set at `root` with the names of their folders: train, validation, test. Empty: no division.
///
/// A set is divided if it has a folder `train`, or no other folders than parts. Otherwise a folder called `test` is a
/// class.
pub(super) fn part_folders(root: &Path) -> Result<Vec<(Split, String)>, DataError> {
    if !root.is_dir() {
        let advice = if root.exists() { ADVICE } else { SHORT };
        let problem = paths::problem(root, "folder");
        return Err(DataError::missing(root, problem, advice));
    }
    let names = class_folders(root)?;
    let mut parts: Vec<(Split, String)> = Vec::new();
    for split in [Split::Train, Split::Validation, Split::Test] {
        let mut named = names
            .iter()
            .filter(|name| Split::named(name) == Some(split));
        parts.extend(named.next().map(|name| (split, name.clone())));
        if let (Some(other), Some((_, first))) = (named.next(), parts.last()) {
            let found = format!("{first} and {other}, two folders for the {split} part");
            return Err(DataError::content(root, found, "one of them"));
        }
    }
    let is_divided = parts.iter().any(|&(split, _)| split == Split::Train);
    match is_divided || parts.len() == names.len() {
        true => Ok(parts),
        false => Ok(Vec::new()),
    }
}

/// Refuses a part with images and no folders for classes.
pub(super) fn require_classes(
    root: &Path,
    split: Split,
    name: &str,
    parts: &[(Split, String)],
) -> Result<(), DataError> {
    let folder = root.join(name);
    if visible(&folder)?.iter().any(|path| path.is_dir()) {
        return Ok(());
    }
    let others = class_folders(root)?;
    let is_class = |other: &&String| parts.iter().all(|(_, part)| part != *other);
    let remedy = match others.iter().find(is_class) {
        Some(other) if split == Split::Train => format!(
            ": it is taken as the {split} part; if {name} is a class, as {other} may be, give it another name"
        ),
        _ if split == Split::Train => {
            format!(": it is the {split} part, and needs one for each class")
        }
        _ => format!(
            ": it is the {split} part, and needs the class folders of the training part; images without classes are for \
             `shufflenet predict`, and belong outside of {}",
            root.display()
        ),
    };
    let problem = format!("{}{remedy}", without_folders(&folder));
    Err(DataError::missing(&folder, problem, ADVICE))
}

/// The files and folders beside the folders of the parts.
pub(super) fn beside(root: &Path, parts: &[(Split, String)]) -> Result<PassedOver, DataError> {
    let mut passed_over = loose_files(root)?;
    for name in class_folders(root)? {
        if parts.iter().all(|(_, part)| *part != name) {
            passed_over.add(format!("folder `{name}` beside the parts"));
        }
    }
    Ok(passed_over)
}
