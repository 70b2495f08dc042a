//! Lists the content of a folder: subfolders, which are classes or parts, and files outside of them.

use std::fs;
use std::path::{Path, PathBuf};

use super::ADVICE;
use crate::DataError;
use crate::decode::{is_image_name, is_passed_over};
use crate::listing::{PassedOver, images_below};
use crate::words::counted;

/// Names of the subfolders of `folder`, sorted.
pub(super) fn class_folders(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for path in visible(folder)?.into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| {
            DataError::content(&path, "a name that is not UTF-8", "a class's name in UTF-8")
        })?;
        names.push(name.to_string());
    }
    match names.len() {
        0 => Err(DataError::missing(folder, without_folders(folder), ADVICE)),
        1..=65_536 => Ok(names),
        more => {
            let found = format!("{more} subfolders");
            Err(DataError::content(
                folder,
                found,
                "at most 65536, one a class",
            ))
        }
    }
}

/// The files in `folder` itself, which belong to no class.
pub(super) fn loose_files(folder: &Path) -> Result<PassedOver, DataError> {
    let mut passed_over = PassedOver::default();
    for path in visible(folder)?.into_iter().filter(|path| !path.is_dir()) {
        if is_image_name(&path) {
            passed_over.add(format!(
                "in {} itself, outside of any class",
                folder.display()
            ));
        } else {
            passed_over.file(&path);
        }
    }
    Ok(passed_over)
}

/// The entries of `folder` that are not hidden, sorted by the bytes of their names.
pub(super) fn visible(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| DataError::io(folder, error))? {
        let entry = entry.map_err(|error| DataError::io(folder, error))?;
        if !is_passed_over(&entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(paths)
}

/// Describes the content of a folder that has no subfolders.
pub(super) fn without_folders(folder: &Path) -> String {
    let listing = images_below(folder);
    let example = listing.images.first();
    match (example, listing.passed_over.is_empty()) {
        (Some(example), _) => format!(
            "has {} directly in it ({}{}) and no folders",
            counted(listing.images.len(), "image"),
            example.display(),
            if listing.images.len() > 1 {
                ", ..."
            } else {
                ""
            }
        ),
        (None, true) => "is an empty folder".into(),
        (None, false) => format!("has neither folders nor images ({})", listing.passed_over),
    }
}
