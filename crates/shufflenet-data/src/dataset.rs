//! A set of labelled images that all have one size when they reach a network: u8 pixels in memory, or
//! encoded images that are decoded when they are needed.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use rand_chacha::ChaCha8Rng;

use crate::encoded::{Encoded, EncodedImages};
use crate::listing::PassedOver;
use crate::words::counted;
use crate::{DataError, Options};

/// Size of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Number of channels: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl ImageShape {
    /// Number of values in one channel.
    pub fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Number of values in the whole image.
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
    /// Name for display: the folder or archive of the set.
    pub name: String,
    /// Size of every image.
    pub shape: ImageShape,
    /// Names of the classes, by label.
    pub class_names: Vec<String>,
    /// The files in the set's folder that are not part of the set.
    pub passed_over: PassedOver,
    labels: Vec<u16>,
    images: Images,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Images {
    /// The pixels of all records in order, each C x H x W.
    Pixels(Vec<u8>),
    Encoded(EncodedImages),
}

impl Dataset {
    /// Creates a set from its parts. `pixels` are C x H x W, record after record; `labels` has one entry
    /// per record.
    ///
    /// # Errors
    /// [`DataError::Value`] for no records, 2^32 records or more, an image without pixels, a number of
    /// pixels or labels that does not fit, or a label that is not below the number of classes.
    pub fn new(
        name: String,
        shape: ImageShape,
        class_names: Vec<String>,
        pixels: Vec<u8>,
        labels: Vec<u16>,
    ) -> Result<Self, DataError> {
        check_count(&name, labels.len())?;
        let values = u128::from(labels.len() as u64) * shape.values() as u128;
        if values == 0 || pixels.len() as u128 != values {
            return Err(DataError::value(
                format!("{name}: pixel count"),
                pixels.len().to_string(),
                format!("{values}, {} of {shape}", counted(labels.len(), "record")),
            ));
        }
        check_labels(&name, &labels, class_names.len())?;
        Ok(Self {
            name,
            shape,
            class_names,
            passed_over: PassedOver::default(),
            labels,
            images: Images::Pixels(pixels),
        })
    }

    /// Creates a set of encoded images, one for each of `labels`.
    ///
    /// # Errors
    /// [`DataError::Value`] for no records, 2^32 records or more, or a label that is not below the number
    /// of classes.
    pub(crate) fn of_encoded(
        root: &Path,
        class_names: Vec<String>,
        records: Vec<Encoded>,
        labels: Vec<u16>,
        options: &Options,
    ) -> Result<Self, DataError> {
        options.check_channels()?;
        let name = name_of(root);
        check_labels(&name, &labels, class_names.len())?;
        check_count(&name, labels.len())?;
        let side = options.size as usize;
        Ok(Self {
            name,
            shape: ImageShape {
                channels: options.channels,
                height: side,
                width: side,
            },
            class_names,
            passed_over: PassedOver::default(),
            labels,
            images: Images::Encoded(EncodedImages::new(root, records, options)),
        })
    }

    /// Keeps the records for which `keep` holds, in order.
    ///
    /// # Errors
    /// [`DataError::Value`] if none is left.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) -> Result<(), DataError> {
        let kept: Vec<bool> = (0..self.len()).map(keep).collect();
        check_count(&self.name, kept.iter().filter(|&&kept| kept).count())?;
        let values = self.shape.values();
        let mut of_record = kept.iter();
        self.labels.retain(|_| of_record.next() == Some(&true));
        match &mut self.images {
            Images::Pixels(pixels) => {
                let records = pixels.chunks_exact(values).zip(&kept);
                let left = records.filter(|&(_, &kept)| kept);
                *pixels = left.flat_map(|(record, _)| record).copied().collect();
            }
            Images::Encoded(images) => {
                let mut of_record = kept.iter();
                images.records.retain(|_| of_record.next() == Some(&true));
            }
        }
        Ok(())
    }

    /// Gives the classes other names and numbers: `number` of a label is its new label, below the number of `names`.
    pub(crate) fn relabel(&mut self, names: Vec<String>, number: impl Fn(u16) -> u16) {
        self.class_names = names;
        self.labels
            .iter_mut()
            .for_each(|label| *label = number(*label));
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Always false: an empty set is refused.
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

    /// Pixels of record `index`, C x H x W. For an encoded image: its centre crop, as in evaluation.
    ///
    /// # Errors
    /// [`DataError::Io`] or [`DataError::Content`] for an encoded image that cannot be read.
    ///
    /// # Panics
    /// If `index` is not below [`Dataset::len`].
    pub fn image(&self, index: usize) -> Result<Cow<'_, [u8]>, DataError> {
        match &self.images {
            Images::Pixels(pixels) => {
                let values = self.shape.values();
                Ok(Cow::Borrowed(&pixels[index * values..][..values]))
            }
            Images::Encoded(images) => images.middle(index).map(Cow::Owned),
        }
    }

    /// Pixels of a random window of record `index`, drawn from `random`, C x H x W. For pixels in memory:
    /// the whole image, see [`crate::Augmentation::check`].
    pub(crate) fn window(
        &self,
        index: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<Cow<'_, [u8]>, DataError> {
        match &self.images {
            Images::Pixels(_) => self.image(index),
            Images::Encoded(images) => images.window(index, random).map(Cow::Owned),
        }
    }

    /// The encoded images; `None` for a set of pixels in memory.
    pub(crate) fn encoded(&self) -> Option<&EncodedImages> {
        match &self.images {
            Images::Pixels(_) => None,
            Images::Encoded(images) => Some(images),
        }
    }

    /// Whether images are decoded when they are needed; encoded images may have any size.
    pub fn is_encoded(&self) -> bool {
        self.encoded().is_some()
    }

    /// Name of record `index` for messages: its file, or its number.
    pub fn record_name(&self, index: usize) -> String {
        match self.encoded() {
            Some(images) => images.path(index).display().to_string(),
            None => format!("{}: record {index}", self.name),
        }
    }

    /// Path below the set's root and size in bytes of the image file of record `index`; `None` for a set of pixels in
    /// memory.
    pub fn file(&self, index: usize) -> Option<(&Path, u64)> {
        let image = self.encoded()?.records.get(index)?;
        Some((&image.name, image.size))
    }

    /// Passes the data that identifies the set's content to `with`, piece by piece, for a checksum: all
    /// pixels, or the names and sizes of encoded images (reading every file would take longer than some
    /// runs), and then all labels as two bytes each, the low byte first.
    pub fn identify(&self, mut with: impl FnMut(&[u8])) {
        match &self.images {
            Images::Pixels(pixels) => with(pixels),
            Images::Encoded(images) => {
                for Encoded { name, size, .. } in &images.records {
                    with(name.as_os_str().as_encoded_bytes());
                    with(&[0]);
                    with(&size.to_le_bytes());
                }
            }
        }
        let labels = self.labels.iter();
        with(
            &labels
                .flat_map(|label| label.to_le_bytes())
                .collect::<Vec<u8>>(),
        );
    }
}

/// Record numbers are u32 everywhere, which halves the memory of an epoch's order.
fn check_count(name: &str, count: usize) -> Result<(), DataError> {
    if count > 0 && u32::try_from(count).is_ok() {
        return Ok(());
    }
    Err(DataError::value(
        format!("{name}: records"),
        count.to_string(),
        "1 to 4294967295",
    ))
}

fn check_labels(name: &str, labels: &[u16], classes: usize) -> Result<(), DataError> {
    match first_foreign_label(labels, classes) {
        None => Ok(()),
        Some((record, label)) => Err(DataError::value(
            format!("{name}: label of record {record}"),
            label.to_string(),
            format!("less than {classes}, the number of classes"),
        )),
    }
}

/// The first record with a label that is not below `classes`, and its label.
pub(crate) fn first_foreign_label(labels: &[u16], classes: usize) -> Option<(usize, u16)> {
    let mut numbered = labels.iter().copied().enumerate();
    numbered.find(|&(_, label)| usize::from(label) >= classes)
}

/// Names of classes from a file with one name per line.
pub(crate) fn class_names(text: &str) -> Vec<String> {
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    names.map(String::from).collect()
}

/// Display name of a set at `path`: the last part of the path, without an archive's extensions.
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
        assert_eq!(*dataset.image(1).unwrap(), [4, 5, 6, 7]);
        assert_eq!(dataset.labels(), [2, 0]);
        assert_eq!(dataset.shape.to_string(), "1x2x2");
    }

    #[test]
    fn an_inconsistent_set_is_refused_with_the_reason() {
        let refusal = |pixels, labels| dataset(3, pixels, labels).unwrap_err().to_string();
        assert_eq!(
            refusal(vec![0; 7], vec![0, 1]),
            "tiny: pixel count is 7; accepted: 8, 2 records of 1x2x2"
        );
        assert_eq!(
            refusal(vec![0; 8], vec![0, 3]),
            "tiny: label of record 1 is 3; accepted: less than 3, the number of classes"
        );
        assert!(refusal(vec![], vec![]).starts_with("tiny: records is 0"));
    }
}
