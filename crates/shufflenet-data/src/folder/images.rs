//! The images of a part, and the classes that their folders name.

use std::path::{Path, PathBuf};

use super::ADVICE;
use super::subfolders::{class_folders, loose_files};
use crate::encoded::{Encoded, file};
use crate::listing::{PassedOver, images_below};
use crate::{DataError, Dataset, Options};

/// The images of a part.
pub(super) struct Images {
    pub classes: Vec<String>,
    records: Vec<Encoded>,
    pub labels: Vec<u16>,
    pub passed_over: PassedOver,
}

impl Images {
    /// The images of `root`/`part`, with names relative to `root`. The first image of each class comes first, then the
    /// second of each, and so on, so that the first few records cover every class.
    pub fn below(root: &Path, part: &str, options: &Options) -> Result<Self, DataError> {
        let folder = root.join(part);
        let classes = class_folders(&folder)?;
        let mut passed_over = loose_files(&folder)?;
        let mut images = Vec::new();
        for (label, class) in (0u16..=u16::MAX).zip(&classes) {
            let listing = images_below(&folder.join(class));
            if let Some(error) = listing.unreadable.into_iter().next() {
                return Err(error);
            }
            passed_over.merge(listing.passed_over);
            for (number, image) in listing.images.into_iter().enumerate() {
                let name: PathBuf = [Path::new(part), Path::new(class), &image].iter().collect();
                images.push((number, label, file(root, name, options)?));
            }
        }
        if images.is_empty() {
            let problem = match passed_over.is_empty() {
                true => "has no images in its subfolders".into(),
                false => format!("has no images in its subfolders ({passed_over})"),
            };
            return Err(DataError::missing(&folder, problem, ADVICE));
        }
        images.sort_by_key(|&(number, ..)| number);
        let images = images.into_iter().map(|(_, label, image)| (image, label));
        let (records, labels) = images.unzip();
        Ok(Self {
            classes,
            records,
            labels,
            passed_over,
        })
    }

    pub fn every_class_has_one(&self, folder: &Path) -> Result<(), DataError> {
        let mut has_one = vec![false; self.classes.len()];
        self.labels
            .iter()
            .for_each(|&label| has_one[usize::from(label)] = true);
        let mut classes = self.classes.iter().zip(has_one);
        let Some((class, _)) = classes.find(|&(_, has_one)| !has_one) else {
            return Ok(());
        };
        let folder = folder.join(class);
        let passed_over = images_below(&folder).passed_over;
        let why = match passed_over.is_empty() {
            true => String::new(),
            false => format!(" ({passed_over})"),
        };
        let problem = format!("has no images{why}: a class without images cannot be learned");
        Err(DataError::missing(&folder, problem, ADVICE))
    }

    /// The set of the chosen records.
    pub fn dataset(
        self,
        root: &Path,
        is_chosen: impl Fn(u32) -> bool,
        options: &Options,
    ) -> Result<Dataset, DataError> {
        let records = (0u32..).zip(self.records.into_iter().zip(self.labels));
        let chosen = records.filter(|&(record, _)| is_chosen(record));
        let (records, labels) = chosen.map(|(_, image)| image).unzip();
        let mut set = Dataset::of_encoded(root, self.classes, records, labels, options)?;
        set.passed_over = self.passed_over;
        Ok(set)
    }
}
