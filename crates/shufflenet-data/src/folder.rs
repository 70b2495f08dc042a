//! Image folders: `train/CLASS/IMAGE`, `val/CLASS/IMAGE` and `test/CLASS/IMAGE`, or only `CLASS/IMAGE`, which
//! `test_fraction` divides class by class.
//!
//! Parts are folders called `train`, `val` (or `valid`, `validation`) and `test`, in any case. The subfolders of a part
//! name its classes, sorted by their bytes, as torchvision's `ImageFolder` sorts them. An image in a folder within a
//! class's folder is of that class. What is passed over is counted: [`Dataset::passed_over`].

use std::fs;
use std::path::{Path, PathBuf};

use crate::decode::{is_image_name, is_passed_over};
use crate::encoded::{Encoded, file};
use crate::format::Reader;
use crate::holdout::division;
use crate::listing::{PassedOver, images_below};
use crate::words::counted;
use crate::{DataError, Dataset, Options, Split, paths};

const ADVICE: &str = "a set is train/CLASS/IMAGE, val/CLASS/IMAGE and test/CLASS/IMAGE, or CLASS/IMAGE with \
    data.options.test_fraction; images are JPEG, PNG, WebP, BMP, TIFF, PPM, PGM and GIF files";

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
            // Before an image is decoded: training reads the other parts, too.
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

/// The parts of the set at `root` with the names of their folders: train, validation, test. Empty: no division.
///
/// A set is divided if it has a folder `train`, or no other folders than parts. Otherwise a folder called `test` is a
/// class.
fn part_folders(root: &Path) -> Result<Vec<(Split, String)>, DataError> {
    if !root.is_dir() {
        return Err(DataError::missing(
            root,
            paths::problem(root, "folder"),
            ADVICE,
        ));
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
fn require_classes(
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
             `shufflenet predict`, and lie outside of {}",
            root.display()
        ),
    };
    let problem = format!("{}{remedy}", without_folders(&folder));
    Err(DataError::missing(&folder, problem, ADVICE))
}

/// What is in a folder without folders.
fn without_folders(folder: &Path) -> String {
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

/// What lies beside the folders of the parts.
fn beside(root: &Path, parts: &[(Split, String)]) -> Result<PassedOver, DataError> {
    let mut passed_over = loose_files(root)?;
    for name in class_folders(root)? {
        if parts.iter().all(|(_, part)| *part != name) {
            passed_over.add(format!("folder `{name}` beside the parts"));
        }
    }
    Ok(passed_over)
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

/// The images of a part.
struct Images {
    classes: Vec<String>,
    records: Vec<Encoded>,
    labels: Vec<u16>,
    passed_over: PassedOver,
}

impl Images {
    /// The images of `root`/`part`, with names relative to `root`. The first image of each class comes first, then the
    /// second of each, and so on, so that the first few records cover every class.
    fn below(root: &Path, part: &str, options: &Options) -> Result<Self, DataError> {
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

    fn every_class_has_one(&self, folder: &Path) -> Result<(), DataError> {
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
        let problem = format!("has no images{why}: a class without any cannot be learnt");
        Err(DataError::missing(&folder, problem, ADVICE))
    }

    /// The set of the records that are chosen.
    fn dataset(
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

/// Names of the subfolders of `folder`, sorted.
fn class_folders(folder: &Path) -> Result<Vec<String>, DataError> {
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

/// The files in `folder` itself, which are of no class.
fn loose_files(folder: &Path) -> Result<PassedOver, DataError> {
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
fn visible(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
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
        let validation = Folder.open(root, Split::Validation, &options()).unwrap();
        assert_eq!(
            (validation.labels(), &validation.class_names[..]),
            (&[0][..], &["dog".to_string()][..])
        );
        assert_eq!(
            Folder.parts(root).unwrap(),
            [Split::Train, Split::Validation]
        );
        assert_eq!(train.passed_over.to_string(), "passed over: 1 .txt");

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
    fn parts_go_by_the_names_that_people_give_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(
            root,
            &[
                ("Train/a/1.png", 1),
                ("VALID/a/2.png", 2),
                ("test/b/3.png", 3),
            ],
        );
        assert_eq!(
            Folder.parts(root).unwrap(),
            [Split::Train, Split::Validation, Split::Test]
        );
        let test = Folder.open(root, Split::Test, &options()).unwrap();
        assert_eq!(test.class_names, ["b"]);
        write(root, &[("val/a/1.png", 1)]);
        let line = refusal(root, Split::Train, &options());
        assert!(
            line.contains("VALID and val, two folders for the validation part"),
            "{line}"
        );
    }

    #[test]
    fn parts_need_no_training_part_and_classes_may_be_called_test() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, &[("val/a/1.png", 1)]);
        assert_eq!(Folder.parts(root).unwrap(), [Split::Validation]);
        let line = refusal(root, Split::Test, &options());
        assert!(line.contains("has val, but no test part"), "{line}");
        fs::rename(root.join("val"), root.join("control")).unwrap();
        write(root, &[("test/1.png", 1)]);
        assert_eq!(Folder.parts(root).unwrap(), []);
        let whole = Folder.open(root, Split::Whole, &options()).unwrap();
        assert_eq!((whole.class_names.len(), whole.len()), (2, 2));
    }

    #[test]
    fn images_in_nested_folders_are_of_the_class_above() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(
            root,
            &[
                ("train/a/1.png", 1),
                ("train/a/session/2.png", 2),
                ("train/b/x/y/3.png", 3),
            ],
        );
        write(root, &[("train/loose.png", 4), ("train/b/4.heic", 5)]);
        let train = Folder.open(root, Split::Train, &options()).unwrap();
        assert_eq!((train.counts(), train.class_names.len()), (vec![2, 1], 2));
        let line = train.passed_over.to_string();
        assert!(line.contains("passed over: 1 .heic ("), "{line}");
        assert!(
            line.contains("train itself, outside of any class"),
            "{line}"
        );
    }

    #[test]
    fn what_is_no_set_is_answered_with_what_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let line = refusal(&root.join("nowhere"), Split::Train, &options());
        assert!(
            line.contains("nowhere: is not there; a set is train/CLASS/IMAGE"),
            "{line}"
        );
        let line = refusal(root, Split::Train, &options());
        assert!(line.contains("is an empty folder"), "{line}");
        write(root, &[("train/a/1.png", 1)]);
        let line = refusal(root, Split::Test, &options());
        assert!(line.contains("has train, but no test part"), "{line}");
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
