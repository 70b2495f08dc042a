//! A set of labelled images of one size, held as u8 in memory.

use std::fmt;
use std::path::Path;

use crate::DataError;

/// Size of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Colour planes: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// Values of one plane.
    pub fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Values of the whole image.
    pub fn values(&self) -> usize {
        self.channels * self.plane()
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            channels,
            height,
            width,
        } = self;
        write!(f, "{channels}x{height}x{width}")
    }
}

/// Labelled images: at least one, each with a label below the number of classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Name to show: the folder or archive that the set came from.
    pub name: String,
    /// Size of every image.
    pub shape: ImageShape,
    /// Names of the classes, by label.
    pub class_names: Vec<String>,
    pixels: Vec<u8>,
    labels: Vec<u16>,
}

impl Dataset {
    /// A set from its parts. `pixels` are C x H x W, record after record; `labels` one a record.
    ///
    /// # Errors
    /// [`DataError::Value`] for no records, more than 2^32, an image without pixels, a number of
    /// pixels or labels that does not fit, or a label that no class has.
    pub fn new(
        name: String,
        shape: ImageShape,
        class_names: Vec<String>,
        pixels: Vec<u8>,
        labels: Vec<u16>,
    ) -> Result<Self, DataError> {
        // Records are numbered by u32 everywhere: an epoch's order is half the size.
        if labels.is_empty() || u32::try_from(labels.len()).is_err() {
            let found = labels.len().to_string();
            return Err(DataError::value(
                format!("{name}: records"),
                found,
                "1 to 4294967295",
            ));
        }
        let values = u128::from(labels.len() as u64) * shape.values() as u128;
        if values == 0 || pixels.len() as u128 != values {
            return Err(DataError::value(
                format!("{name}: pixel count"),
                pixels.len().to_string(),
                format!("{values}, {} records of {shape}", labels.len()),
            ));
        }
        let classes = class_names.len();
        if let Some((record, label)) = first_foreign_label(&labels, classes) {
            return Err(DataError::value(
                format!("{name}: label of record {record}"),
                label.to_string(),
                format!("less than {classes}, the number of classes"),
            ));
        }
        Ok(Self {
            name,
            shape,
            class_names,
            pixels,
            labels,
        })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never true: an empty set is refused.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// Labels in the order of the records.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// Pixels of all records, C x H x W each.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Pixels of record `index`, C x H x W.
    ///
    /// # Panics
    /// Where `index` is not below [`Dataset::len`].
    pub fn image(&self, index: usize) -> &[u8] {
        let values = self.shape.values();
        &self.pixels[index * values..][..values]
    }
}

/// The first record with a label that is not below `classes`, and that label.
pub(crate) fn first_foreign_label(labels: &[u16], classes: usize) -> Option<(usize, u16)> {
    let mut numbered = labels.iter().copied().enumerate();
    numbered.find(|&(_, label)| usize::from(label) >= classes)
}

/// Names of classes from a file of one a line.
pub(crate) fn class_names(text: &str) -> Vec<String> {
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    names.map(String::from).collect()
}

/// The name that a set at `path` is shown under: its last part, without an archive's extensions.
pub(crate) fn name_of(path: &Path) -> String {
    let resolved = path.canonicalize();
    let path = resolved.as_deref().unwrap_or(path);
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    name.trim_end_matches(".tar.gz").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape {
        channels: 1,
        height: 2,
        width: 2,
    };

    fn dataset(classes: usize, pixels: Vec<u8>, labels: Vec<u16>) -> Result<Dataset, DataError> {
        let names = (0..classes).map(|class| class.to_string()).collect();
        Dataset::new("tiny".into(), SHAPE, names, pixels, labels)
    }

    #[test]
    fn a_consistent_set_is_kept_in_order() {
        let dataset = dataset(3, (0..8).collect(), vec![2, 0]).unwrap();
        assert_eq!((dataset.len(), dataset.classes()), (2, 3));
        assert_eq!(dataset.image(1), [4, 5, 6, 7]);
        assert_eq!(dataset.labels(), [2, 0]);
        assert_eq!(dataset.shape.to_string(), "1x2x2");
    }

    #[test]
    fn an_inconsistent_set_is_refused_with_what_does_not_fit() {
        let refusal = |pixels, labels| dataset(3, pixels, labels).unwrap_err().to_string();
        assert_eq!(
            refusal(vec![0; 7], vec![0, 1]),
            "tiny: pixel count is 7, expected 8, 2 records of 1x2x2"
        );
        assert_eq!(
            refusal(vec![0; 8], vec![0, 3]),
            "tiny: label of record 1 is 3, expected less than 3, the number of classes"
        );
        assert!(refusal(vec![], vec![]).starts_with("tiny: records is 0"));
    }
}
