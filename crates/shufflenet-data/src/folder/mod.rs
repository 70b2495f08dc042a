//! Image folders: `train/CLASS/IMAGE`, `val/CLASS/IMAGE` and `test/CLASS/IMAGE`, or only `CLASS/IMAGE`, which
//! `test_fraction` divides class by class.
//!
//! Parts are folders called `train` (or `training`), `val` (or `valid`, `validation`) and `test` (or `testing`), in any
//! case. The subfolders of a part name its classes, sorted by their bytes, as torchvision's `ImageFolder` sorts them. An image in a folder below a
//! class's folder belongs to that class. Skipped files are counted in [`Dataset::passed_over`].

mod images;
mod parts;
mod subfolders;
#[cfg(test)]
mod tests;

use std::path::Path;

use self::images::Images;
use self::parts::{beside, part_folders, require_classes};
use self::subfolders::visible;
use crate::format::Reader;
use crate::holdout::division;
use crate::{DataError, Dataset, Options, Split};

const ADVICE: &str = "a set is train/CLASS/IMAGE, val/CLASS/IMAGE and test/CLASS/IMAGE, or CLASS/IMAGE with \
    data.options.test_fraction; images are JPEG, PNG, WebP, BMP, TIFF, PPM, PGM and GIF files";
/// The advice for a path that is not a folder.
const SHORT: &str = "a set is a folder with a folder of images for each class";

/// The format `folder`.
pub(crate) struct Folder;

impl Reader for Folder {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn is_encoded(&self) -> bool {
        true
    }

    fn recognises(&self, root: &Path) -> bool {
        visible(root).is_ok_and(|paths| paths.iter().any(|path| path.is_dir()))
    }

    fn parts(&self, root: &Path) -> Result<Vec<Split>, DataError> {
        let folders = part_folders(root)?;
        Ok(folders.into_iter().map(|(split, _)| split).collect())
    }

    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
        let folders = part_folders(root)?;
        if folders.is_empty() {
            return undivided(root, split, options);
        }
        let found = folders.iter().find(|&&(part, _)| part == split);
        let Some((_, part)) = found else {
            let parts: Vec<String> = folders.iter().map(|(_, path)| path.clone()).collect();
            let problem = format!("has {}, but no {split} part", parts.join(" and "));
            return Err(DataError::missing(root, problem, ADVICE));
        };
        if split == Split::Train {
            // This is checked before an image is decoded, because training reads the other parts, too.
            for (part, name) in &folders {
                require_classes(root, *part, name, &folders)?;
            }
        }
        let mut images = Images::below(root, part, options)?;
        if split == Split::Train {
            images.every_class_has_one(&root.join(part))?;
            images.passed_over.merge(beside(root, &folders)?);
        }
        images.dataset(root, |_| true, options)
    }
}

/// Opens a folder of classes without a division into parts, which `test_fraction` divides.
fn undivided(root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
    let images = Images::below(root, "", options)?;
    if split != Split::Whole {
        images.every_class_has_one(root)?;
    }
    let chosen = division(root, &images.labels, &images.classes, split, options)?;
    images.dataset(
        root,
        |record| chosen.binary_search(&record).is_ok(),
        options,
    )
}
