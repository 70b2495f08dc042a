//! A summary of a data set: images per class, sizes, mean and deviation, duplicates and bad images.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::decode::dimensions;
use crate::words::plural;
use crate::{DataError, Dataset, Normalization, normalization_of};

/// The content of one part of a set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Survey {
    /// `train`, `validation`, `test` or `all`.
    pub split: String,
    /// Number of images.
    pub records: usize,
    /// Number of images of each class, with the class's name.
    pub classes: Vec<(String, usize)>,
    /// Smallest, median and largest (width, height) by area; equal if all images have one size.
    pub sizes: [(u32, u32); 3],
    /// Mean and deviation of each channel, for pixels scaled to 0..1; see [`normalization_of`].
    pub normalization: Normalization,
    /// Images that are byte for byte equal to an earlier image of this part.
    pub duplicates: Vec<Duplicate>,
}

/// Two images with the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Duplicate {
    /// Name of the image that comes first.
    pub first: String,
    /// Name of the image that comes later.
    pub second: String,
    /// Whether their labels agree.
    pub same_label: bool,
}

/// Surveys the parts of a set in order. Also returns the images of later parts that an earlier part has,
/// too.
///
/// # Errors
/// The error of an image that cannot be read.
pub fn survey(parts: &[(&str, &Dataset)]) -> Result<(Vec<Survey>, Vec<Duplicate>), DataError> {
    let mut surveys = Vec::new();
    let mut across = Vec::new();
    // Part and record where an image's bytes were first seen.
    let mut seen: HashMap<[u8; 32], (usize, usize)> = HashMap::new();
    for (part, &(split, dataset)) in parts.iter().enumerate() {
        let mut counts = vec![0; dataset.classes()];
        let mut sizes = Vec::new();
        let mut duplicates = Vec::new();
        for (record, &label) in dataset.labels().iter().enumerate() {
            counts[usize::from(label)] += 1;
            let (digest, size) = digest(dataset, record)?;
            sizes.extend(size);
            let &mut (first_part, first) = seen.entry(digest).or_insert((part, record));
            if (first_part, first) == (part, record) {
                continue;
            }
            let first_set = parts[first_part].1;
            let duplicate = Duplicate {
                first: first_set.record_name(first),
                second: dataset.record_name(record),
                same_label: first_set.labels()[first] == label,
            };
            match first_part == part {
                true => duplicates.push(duplicate),
                false => across.push(duplicate),
            }
        }
        sizes.sort_by_key(|&(width, height)| (u64::from(width) * u64::from(height), width));
        let one = (dataset.shape.width as u32, dataset.shape.height as u32);
        let at = |index: usize| sizes.get(index).copied().unwrap_or(one);
        let all: Vec<u32> = (0..dataset.len() as u32).collect();
        surveys.push(Survey {
            split: split.into(),
            records: dataset.len(),
            classes: dataset.class_names.iter().cloned().zip(counts).collect(),
            sizes: [
                at(0),
                at(sizes.len() / 2),
                at(sizes.len().saturating_sub(1)),
            ],
            normalization: normalization_of(dataset, &all)?,
            duplicates,
        });
    }
    Ok((surveys, across))
}

/// Width and height of an image.
type Size = (u32, u32);

/// The SHA-256 of an image, of its pixels or of its file, and the size of an encoded one.
fn digest(dataset: &Dataset, record: usize) -> Result<([u8; 32], Option<Size>), DataError> {
    let Some(images) = dataset.encoded() else {
        let pixels = dataset.image(record)?;
        return Ok((Sha256::digest(&*pixels).into(), None));
    };
    let bytes = images.bytes(record)?;
    let size = dimensions(&bytes).map_err(|found| {
        DataError::content(&images.path(record), found, crate::decode::READABLE)
    })?;
    Ok((Sha256::digest(&bytes).into(), Some(size)))
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (records, classes) = (self.records, self.classes.len());
        writeln!(
            f,
            "{}: {records} {} in {classes} {}",
            self.split,
            plural(records, "image"),
            plural(classes, "class")
        )?;
        let counts = self.classes.iter().map(|(_, count)| *count);
        let (least, most) = (counts.clone().min(), counts.max());
        match (least, most) {
            (Some(least), Some(most)) if least == most => {
                writeln!(
                    f,
                    "  classes      {least} {} each: {}",
                    plural(least, "image"),
                    self.class_names()
                )?;
            }
            _ => {
                for (name, count) in &self.classes {
                    writeln!(f, "  {count:>7}      {name}")?;
                }
            }
        }
        let [(w0, h0), (w1, h1), (w2, h2)] = self.sizes;
        if self.sizes[0] == self.sizes[2] {
            writeln!(f, "  size         {w0}x{h0}")?;
        } else {
            writeln!(
                f,
                "  sizes        {w0}x{h0} to {w2}x{h2}, median {w1}x{h1} (width x height)"
            )?;
        }
        let Normalization { mean, std } = &self.normalization;
        writeln!(f, "  mean         {mean:.4?}")?;
        writeln!(f, "  deviation    {std:.4?}")?;
        write!(f, "  duplicates   {}", Duplicates(&self.duplicates))
    }
}

impl Survey {
    fn class_names(&self) -> String {
        let names: Vec<&str> = self.classes.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }
}

/// Displays the number of duplicates and the first few of them.
pub struct Duplicates<'a>(pub &'a [Duplicate]);

impl fmt::Display for Duplicates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differing = self.0.iter().filter(|pair| !pair.same_label).count();
        writeln!(f, "{} ({differing} under another label)", self.0.len())?;
        for Duplicate { first, second, .. } in self.0.iter().take(3) {
            writeln!(f, "               {second} is {first}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    fn set(name: &str, pixels: &[u8], labels: &[u16]) -> Dataset {
        let shape = ImageShape {
            channels: 1,
            height: 1,
            width: 1,
        };
        let names = vec!["a".into(), "b".into()];
        Dataset::new(name.into(), shape, names, pixels.into(), labels.into()).unwrap()
    }

    #[test]
    fn duplicates_are_found_within_and_across_parts() {
        let train = set("train", &[1, 2, 1, 3], &[0, 0, 1, 0]);
        let test = set("test", &[3, 4], &[0, 1]);
        let (surveys, across) = survey(&[("train", &train), ("test", &test)]).unwrap();
        assert_eq!(surveys[0].classes, [("a".into(), 3), ("b".into(), 1)]);
        let [pair] = surveys[0].duplicates.as_slice() else {
            panic!("one pair")
        };
        assert_eq!(
            (pair.first.as_str(), pair.second.as_str()),
            ("train: record 0", "train: record 2")
        );
        assert!(!pair.same_label);
        assert!(surveys[1].duplicates.is_empty());
        assert_eq!((across.len(), across[0].same_label), (1, true));
        assert!((surveys[1].normalization.mean[0] - 3.5 / 255.0).abs() < 1e-6);
    }
}
