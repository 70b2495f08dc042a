//! Finds images that a set has twice, byte for byte: in two parts, or in one part under two labels. The result of a
//! network on an image that it was trained on does not show how good it is on new images. An image under two labels
//! teaches nothing.
//!
//! Files of different sizes differ. So a file is read only if the other part, or another class, has a file of the same
//! size, which is rare for photographs. Nothing is decoded.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::Dataset;
use crate::encoded::EncodedImages;

/// Limits of the files and of the bytes that are read, because the search delays the first step. [`crate::survey`]
/// reads all.
const MOST_FILES: usize = 20_000;
const MOST_BYTES: u64 = 256 << 20;

/// The images that two parts have in common, or that one part has under two labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Number of images of the second part that the first has, too, or of images that came before under another label.
    pub count: usize,
    /// The two names of the first of these images.
    pub example: (String, String),
}

/// A part: a set, and the numbers of the part's records in it.
type Part<'a> = (&'a Dataset, &'a [u32]);

/// The images of `second` that `first` has, too. `None`: there are none, the images are not files, or too many files have
/// sizes of the other part. An image that cannot be read equals no other image.
pub fn shared(first: (&Dataset, &[u32]), second: (&Dataset, &[u32])) -> Option<Shared> {
    let (known, asked) = (Sized::of(first)?, Sized::of(second)?);
    let (known, asked) = (
        known.of_sizes(&asked.sizes()),
        asked.of_sizes(&known.sizes()),
    );
    let read = known.records.len() + asked.records.len();
    if read > MOST_FILES || known.bytes() + asked.bytes() > MOST_BYTES {
        return None;
    }
    let mut seen: HashMap<[u8; 32], usize> = HashMap::new();
    for (digest, record) in known.digests() {
        seen.entry(digest).or_insert(record);
    }
    let found = asked
        .digests()
        .filter_map(|(digest, record)| Some((*seen.get(&digest)?, record)));
    let found: Vec<(usize, usize)> = found.collect();
    let &(one, other) = found.first()?;
    Some(Shared {
        count: found.len(),
        example: (first.0.record_name(one), second.0.record_name(other)),
    })
}

/// The images that a part has under two labels. `None`: there are none, the images are not files, or too many files have
/// sizes that two classes have.
pub fn under_two_labels((set, records): (&Dataset, &[u32])) -> Option<Shared> {
    let all = Sized::of((set, records))?;
    let label = |record: usize| set.labels().get(record);
    let mut first = HashMap::new();
    let mut of_two_classes = HashSet::new();
    for &(record, size) in &all.records {
        if *first.entry(size).or_insert(label(record)) != label(record) {
            of_two_classes.insert(size);
        }
    }
    let asked = all.of_sizes(&of_two_classes);
    if asked.records.len() > MOST_FILES || asked.bytes() > MOST_BYTES {
        return None;
    }
    let mut seen: HashMap<[u8; 32], usize> = HashMap::new();
    let found = asked.digests().filter_map(|(digest, record)| {
        let before = *seen.entry(digest).or_insert(record);
        (label(before) != label(record)).then_some((before, record))
    });
    let found: Vec<(usize, usize)> = found.collect();
    let &(one, other) = found.first()?;
    Some(Shared {
        count: found.len(),
        example: (set.record_name(one), set.record_name(other)),
    })
}

/// Records with their sizes in bytes.
struct Sized<'a> {
    images: &'a EncodedImages,
    records: Vec<(usize, u64)>,
}

impl<'a> Sized<'a> {
    fn of((set, records): Part<'a>) -> Option<Self> {
        let images = set.encoded()?;
        let sized = |&record: &u32| {
            let record = record as usize;
            Some((record, images.records.get(record)?.size))
        };
        Some(Self {
            images,
            records: records.iter().filter_map(sized).collect(),
        })
    }

    fn sizes(&self) -> HashSet<u64> {
        self.records.iter().map(|&(_, size)| size).collect()
    }

    fn of_sizes(&self, sizes: &HashSet<u64>) -> Self {
        let records = self.records.iter().copied();
        Self {
            images: self.images,
            records: records.filter(|(_, size)| sizes.contains(size)).collect(),
        }
    }

    fn bytes(&self) -> u64 {
        self.records.iter().map(|&(_, size)| size).sum()
    }

    fn digests(&self) -> impl Iterator<Item = ([u8; 32], usize)> {
        self.records.iter().filter_map(|&(record, _)| {
            let bytes = self.images.bytes(record).ok()?;
            Some((Sha256::digest(&bytes).into(), record))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::testing::png;
    use crate::{Format, Options, Split, open};

    fn set(root: &Path) -> Dataset {
        let format = Format::named("folder").unwrap();
        open(format, root, Split::Whole, &Options::default()).unwrap()
    }

    fn paint(root: &Path, images: &[(&str, u8)]) {
        for &(name, value) in images {
            let path = root.join(name).with_extension("png");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, png(8, 8, value)).unwrap();
        }
    }

    #[test]
    fn equal_images_under_two_labels_are_counted_with_an_example() {
        let folder = tempfile::tempdir().unwrap();
        let images = [("a/1", 1), ("a/2", 2), ("a/3", 2), ("b/1", 3), ("b/2", 2)];
        paint(folder.path(), &images);
        let set = set(folder.path());
        let all: Vec<u32> = (0..5).collect();
        let found = under_two_labels((&set, &all)).unwrap();
        assert_eq!(found.count, 1);
        let names = [&found.example.0, &found.example.1];
        assert!(
            names.iter().any(|name| name.ends_with("b/2.png")),
            "{found:?}"
        );
        // Twice under one label is no contradiction.
        fs::remove_file(folder.path().join("b/2.png")).unwrap();
        assert_eq!(under_two_labels((&set, &all)), None);
    }

    #[test]
    fn equal_images_of_two_parts_are_counted_with_an_example() {
        let folder = tempfile::tempdir().unwrap();
        let images = [
            ("a/1", 1),
            ("a/2", 2),
            ("a/3", 3),
            ("b/1", 4),
            ("b/2", 1),
            ("b/3", 3),
        ];
        paint(folder.path(), &images);
        // Records alternate: a/1, b/1, a/2, b/2, a/3, b/3.
        let set = set(folder.path());
        let of = |first: &[u32], second: &[u32]| shared((&set, first), (&set, second));
        let found = of(&[0, 2, 4], &[1, 3, 5]).unwrap();
        assert_eq!(found.count, 2);
        assert!(found.example.0.ends_with("a/1.png"), "{found:?}");
        assert!(found.example.1.ends_with("b/2.png"), "{found:?}");
        assert_eq!(of(&[0, 2], &[1]), None);
        // A missing file equals no other.
        fs::remove_file(folder.path().join("a/1.png")).unwrap();
        assert_eq!(of(&[0, 2], &[3]), None);
    }
}
