//! A set of labelled images that are all of one size when they reach a network: pixels held as u8 in
//! memory, or encoded images that are decoded when they are needed.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use rand_chacha::ChaCha8Rng;

use crate::encoded::{Encoded, EncodedImages};
use crate::{DataError, OnBadImage, Options};

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
    /// Images that could not be decoded and were left out, a line each.
    pub skipped: Vec<String>,
    labels: Vec<u16>,
    images: Images,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Images {
    /// C x H x W, record after record.
    Pixels(Vec<u8>),
    Encoded(EncodedImages),
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
        check_count(&name, labels.len())?;
        let values = u128::from(labels.len() as u64) * shape.values() as u128;
        if values == 0 || pixels.len() as u128 != values {
            return Err(DataError::value(
                format!("{name}: pixel count"),
                pixels.len().to_string(),
                format!("{values}, {} records of {shape}", labels.len()),
            ));
        }
        check_labels(&name, &labels, class_names.len())?;
        Ok(Self {
            name,
            shape,
            class_names,
            skipped: Vec::new(),
            labels,
            images: Images::Pixels(pixels),
        })
    }

    /// A set of encoded images, one for each of `labels`. Where `options` say so, those that cannot be
    /// decoded are left out.
    ///
    /// # Errors
    /// [`DataError::Value`] for no records, more than 2^32, or a label that no class has.
    pub(crate) fn of_encoded(
        root: &Path,
        class_names: Vec<String>,
        records: Vec<Encoded>,
        mut labels: Vec<u16>,
        options: &Options,
    ) -> Result<Self, DataError> {
        options.check_channels()?;
        let name = name_of(root);
        check_labels(&name, &labels, class_names.len())?;
        let mut images = EncodedImages::new(root, records, options);
        let bad = match options.on_bad_image {
            OnBadImage::Error => Vec::new(),
            OnBadImage::Skip => images.check(),
        };
        if !bad.is_empty() {
            let mut good = vec![true; labels.len()];
            bad.iter().for_each(|&(record, _)| good[record] = false);
            let mut keep = good.iter();
            images.records.retain(|_| keep.next() == Some(&true));
            let mut keep = good.iter();
            labels.retain(|_| keep.next() == Some(&true));
        }
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
            skipped: bad
                .into_iter()
                .map(|(_, error)| error.to_string())
                .collect(),
            labels,
            images: Images::Encoded(images),
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

    /// Pixels of record `index`, C x H x W: of an encoded image its middle, as evaluation sees it.
    ///
    /// # Errors
    /// An encoded image that cannot be read: [`DataError::Io`], [`DataError::Content`].
    ///
    /// # Panics
    /// Where `index` is not below [`Dataset::len`].
    pub fn image(&self, index: usize) -> Result<Cow<'_, [u8]>, DataError> {
        match &self.images {
            Images::Pixels(pixels) => {
                let values = self.shape.values();
                Ok(Cow::Borrowed(&pixels[index * values..][..values]))
            }
            Images::Encoded(images) => images.middle(index).map(Cow::Owned),
        }
    }

    /// Pixels of a window of record `index` that is drawn from `random`, C x H x W; of pixels in memory the
    /// whole image, see [`crate::Augmentation::check`].
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

    /// The encoded images, where the set is one of such.
    pub(crate) fn encoded(&self) -> Option<&EncodedImages> {
        match &self.images {
            Images::Pixels(_) => None,
            Images::Encoded(images) => Some(images),
        }
    }

    /// Whether images are decoded when they are needed, and may be of any size before that.
    pub fn is_encoded(&self) -> bool {
        self.encoded().is_some()
    }

    /// What names record `index` in a message: its file, or its number.
    pub fn record_name(&self, index: usize) -> String {
        match self.encoded() {
            Some(images) => images.path(index).display().to_string(),
            None => format!("{}: record {index}", self.name),
        }
    }

    /// Hands over what identifies the set's content, piece by piece, for a checksum: all pixels, or of
    /// encoded images names and sizes (reading every file would take longer than some runs), and then all
    /// labels, two bytes each, the lower first.
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

/// Records are numbered by u32 everywhere: an epoch's order is half the size.
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
        assert_eq!(*dataset.image(1).unwrap(), [4, 5, 6, 7]);
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
