//! Image folders: `train/CLASS/IMAGE` and `test/CLASS/IMAGE` (or `val`), or only `CLASS/IMAGE`, which
//! `test_fraction` divides class by class.
//!
//! The subfolders of the training images name the classes, sorted by their bytes. Images are files whose
//! names end in one of [`crate::decode::ENDINGS`]; other files and hidden ones are ignored.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::decode::is_image_name;
use crate::encoded::{Encoded, file};
use crate::format::Reader;
use crate::holdout::division;
use crate::{DataError, Dataset, Options, Split};

const ADVICE: &str = "a set is train/CLASS/IMAGE and test/CLASS/IMAGE, or CLASS/IMAGE with \
    data.options.test_fraction; images are JPEG, PNG, WebP, BMP, TIFF, GIF or PPM files";

/// The format `folder`.
pub(crate) struct Folder;

impl Reader for Folder {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn is_encoded(&self) -> bool {
        true
    }

    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
        if !root.is_dir() {
            return Err(DataError::missing(root, "is not a folder", ADVICE));
        }
        let train = root.join("train");
        if !train.is_dir() {
            return undivided(root, split, options);
        }
        let classes = class_folders(&train)?;
        let part = match split {
            Split::Train => train,
            Split::Test => ["test", "val"]
                .map(|name| root.join(name))
                .into_iter()
                .find(|folder| folder.is_dir())
                .ok_or_else(|| DataError::missing(root, "has train, but no test or val", ADVICE))?,
        };
        for name in class_folders(&part)? {
            if !classes.contains(&name) {
                let expected = format!("the classes of training: {}", shorten(&classes));
                return Err(DataError::content(
                    &part.join(&name),
                    "another class",
                    expected,
                ));
            }
        }
        let (records, labels) = images(root, &part, &classes, options)?;
        if split == Split::Train {
            every_class_has_one(&part, &classes, &labels)?;
        }
        Dataset::of_encoded(root, classes, records, labels, options)
    }
}

/// Opens a folder of classes without a division into parts, which `test_fraction` divides.
fn undivided(root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
    let classes = class_folders(root)?;
    let (records, labels) = images(root, root, &classes, options)?;
    every_class_has_one(root, &classes, &labels)?;
    let chosen = division(root, &labels, classes.len(), split, options)?;
    let mut records: Vec<Option<Encoded>> = records.into_iter().map(Some).collect();
    let mut take = |&record: &u32| records.get_mut(record as usize)?.take();
    let of_part = chosen.iter().filter_map(&mut take).collect();
    let labels = chosen
        .iter()
        .map(|&record| labels[record as usize])
        .collect();
    Dataset::of_encoded(root, classes, of_part, labels, options)
}

/// Names of the subfolders of `folder`, sorted.
fn class_folders(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for name in list(folder)? {
        let path = folder.join(&name);
        if !path.is_dir() {
            continue;
        }
        let name = name.into_string().map_err(|_| {
            DataError::content(&path, "a name that is not UTF-8", "a class's name in UTF-8")
        })?;
        names.push(name);
    }
    match names.len() {
        0 => Err(DataError::missing(folder, "has no subfolders", ADVICE)),
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

/// The images of `classes` below `part`, with names relative to `root`, and their labels. The first image
/// of each class comes first, then the second of each, and so on, so that the first few records cover every
/// class.
fn images(
    root: &Path,
    part: &Path,
    classes: &[String],
    options: &Options,
) -> Result<(Vec<Encoded>, Vec<u16>), DataError> {
    let below = part.strip_prefix(root).unwrap_or(part);
    let mut images = Vec::new();
    for (label, class) in (0u16..=u16::MAX).zip(classes) {
        let folder = part.join(class);
        if !folder.is_dir() {
            // A class may have no test images.
            continue;
        }
        let mut number = 0;
        for name in list(&folder)? {
            let name = PathBuf::from(name);
            if is_image_name(&name) {
                let image = file(root, below.join(class).join(name), options)?;
                images.push((number, label, image));
                number += 1;
            }
        }
    }
    if images.is_empty() {
        return Err(DataError::missing(
            part,
            "has no images in its subfolders",
            ADVICE,
        ));
    }
    images.sort_by_key(|&(number, ..)| number);
    let records = images.into_iter();
    Ok(records.map(|(_, label, image)| (image, label)).unzip())
}

fn every_class_has_one(part: &Path, classes: &[String], labels: &[u16]) -> Result<(), DataError> {
    let mut counts = vec![0; classes.len()];
    labels
        .iter()
        .for_each(|&label| counts[usize::from(label)] += 1);
    match classes.iter().zip(counts).find(|&(_, count)| count == 0) {
        None => Ok(()),
        Some((class, _)) => Err(DataError::missing(
            &part.join(class),
            "has no images: a class without any cannot be learnt",
            ADVICE,
        )),
    }
}

/// Names of the entries of `folder` that are not hidden, sorted by bytes.
fn list(folder: &Path) -> Result<Vec<OsString>, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| DataError::io(folder, error))? {
        let name = entry
            .map_err(|error| DataError::io(folder, error))?
            .file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The first five names, for a message.
fn shorten(names: &[String]) -> String {
    let more = if names.len() > 5 { ", ..." } else { "" };
    let first: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    first.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OnBadImage;
    use crate::testing::png;

    fn write(root: &Path, files: &[(&str, u8)]) {
        for (name, value) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, png(8, 8, *value)).unwrap();
        }
    }

    fn options() -> Options {
        Options {
            size: 8,
            resize: Some(8),
            ..Options::default()
        }
    }

    fn refusal(root: &Path, split: Split, options: &Options) -> String {
        Folder.open(root, split, options).unwrap_err().to_string()
    }

    #[test]
    fn classes_are_subfolders_and_images_are_decoded_when_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let files = [
            ("train/dog/b.png", 1),
            ("train/dog/a.PNG", 2),
            ("train/cat/x.png", 3),
            ("train/cat/y.png", 5),
            ("train/cat/notes.txt", 0),
            ("train/cat/.hidden.png", 0),
            ("val/dog/c.png", 4),
        ];
        write(root, &files);
        let train = Folder.open(root, Split::Train, &options()).unwrap();
        assert_eq!(train.class_names, ["cat", "dog"]);
        // The first of each class, then the second of each.
        assert_eq!(train.labels(), [0, 1, 0, 1]);
        let first = |index: usize| train.image(index).unwrap()[0];
        assert_eq!([0, 1, 2, 3].map(first), [3, 2, 5, 1]);
        assert_eq!(train.shape.to_string(), "3x8x8");
        let test = Folder.open(root, Split::Test, &options()).unwrap();
        assert_eq!((test.labels(), test.classes()), (&[1][..], 2));

        fs::remove_file(root.join("train/dog/b.png")).unwrap();
        let line = train.image(3).unwrap_err().to_string();
        assert!(line.contains("train/dog/b.png: cannot be read"), "{line}");
        fs::write(root.join("train/cat/x.png"), png(9, 9, 3)).unwrap();
        let line = train.image(0).unwrap_err().to_string();
        assert!(line.contains("as when the set was opened"), "{line}");
    }

    #[test]
    fn one_folder_is_divided_by_class_and_seed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for class in ["a", "b"] {
            for image in 0..10 {
                write(root, &[(&format!("{class}/{image}.png"), image)]);
            }
        }
        let divided = Options {
            test_fraction: 0.3,
            ..options()
        };
        let names = |split, options: &Options| {
            let set = Folder.open(root, split, options).unwrap();
            (0..set.len())
                .map(|index| set.record_name(index))
                .collect::<Vec<_>>()
        };
        let (train, test) = (names(Split::Train, &divided), names(Split::Test, &divided));
        assert_eq!((train.len(), test.len()), (14, 6));
        assert!(test.iter().all(|name| !train.contains(name)));
        assert_eq!(test.iter().filter(|name| name.contains("/a/")).count(), 3);
        let other = Options {
            split_seed: 1,
            ..divided
        };
        assert_ne!(test, names(Split::Test, &other));
        let line = refusal(root, Split::Train, &options());
        assert!(
            line.contains("data.options.test_fraction is 0, expected"),
            "{line}"
        );
    }

    #[test]
    fn bad_images_stop_or_are_left_out_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(
            root,
            &[
                ("train/a/1.png", 1),
                ("train/a/2.png", 2),
                ("train/b/3.png", 3),
            ],
        );
        let whole = fs::read(root.join("train/a/1.png")).unwrap();
        fs::write(root.join("train/a/1.png"), &whole[..whole.len() / 2]).unwrap();
        let set = Folder.open(root, Split::Train, &options()).unwrap();
        let line = set.image(0).unwrap_err().to_string();
        assert!(line.contains("1.png: found a damaged Png"), "{line}");
        let skipping = Options {
            on_bad_image: OnBadImage::Skip,
            ..options()
        };
        let set = Folder.open(root, Split::Train, &skipping).unwrap();
        assert_eq!((set.len(), set.labels()), (2, &[1, 0][..]));
        assert_eq!(set.skipped, [line]);
        assert_eq!(set.image(0).unwrap()[0], 3);
    }

    #[test]
    fn what_is_no_set_is_answered_with_what_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let line = refusal(&root.join("nowhere"), Split::Train, &options());
        assert!(
            line.contains("nowhere: is not a folder; a set is train/CLASS/IMAGE"),
            "{line}"
        );
        let line = refusal(root, Split::Train, &options());
        assert!(line.contains("has no subfolders"), "{line}");
        write(root, &[("train/a/1.png", 1)]);
        let line = refusal(root, Split::Test, &options());
        assert!(line.contains("has train, but no test or val"), "{line}");
        write(root, &[("test/z/1.png", 1)]);
        let line = refusal(root, Split::Test, &options());
        assert!(
            line.contains("test/z: found another class, expected the classes of training: a"),
            "{line}"
        );
        fs::create_dir(root.join("train/empty")).unwrap();
        let line = refusal(root, Split::Train, &options());
        assert!(line.contains("train/empty: has no images"), "{line}");
    }

    #[cfg(unix)]
    #[test]
    fn names_need_not_be_utf_8_but_classes_must() {
        use std::os::unix::ffi::OsStringExt;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, &[("train/a/1.png", 1)]);
        let odd = |end: &[u8]| OsString::from_vec([b"\xff\xfe", end].concat());
        fs::write(root.join("train/a").join(odd(b".png")), png(8, 8, 9)).unwrap();
        let set = Folder.open(root, Split::Train, &options()).unwrap();
        assert_eq!(set.image(1).unwrap()[0], 9);
        fs::create_dir(root.join("train").join(odd(b""))).unwrap();
        let line = refusal(root, Split::Train, &options());
        assert!(line.contains("found a name that is not UTF-8"), "{line}");
    }
}
