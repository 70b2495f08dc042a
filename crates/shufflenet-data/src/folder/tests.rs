//! Tests of folders as people have them: with and without parts, nested, empty, with names of any kind.

use std::ffi::OsString;
use std::fs;

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
fn classes_are_subfolders_and_images_are_decoded_on_demand() {
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
    // The first image of each class comes before the second of each.
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
fn a_folder_without_parts_is_divided_by_class_and_seed() {
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
        line.contains("data.options.test_fraction is 0; accepted:"),
        "{line}"
    );
}

#[test]
fn parts_are_found_under_their_usual_names() {
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
fn a_training_part_is_not_required_and_a_class_may_be_called_test() {
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
fn images_in_nested_folders_belong_to_the_class_above() {
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
fn a_path_that_is_not_a_set_is_refused_with_what_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let line = refusal(&root.join("nowhere"), Split::Train, &options());
    assert!(
        line.contains(
            "nowhere: does not exist; a set is a folder with a folder of images for each class"
        ),
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
fn file_names_need_not_be_utf8_but_class_names_must() {
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
