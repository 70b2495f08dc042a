use std::io::Write;

use super::*;

fn idx(magic: u32, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let words = std::iter::once(&magic).chain(sizes);
    let mut bytes: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend_from_slice(data);
    bytes
}

/// Opens a folder with these training images and labels. An error is its message.
fn opening(images: &[u8], labels: &[u8]) -> Result<Dataset, String> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::write(root.join("train-images-idx3-ubyte"), images).unwrap();
    std::fs::write(root.join("train-labels-idx1-ubyte"), labels).unwrap();
    open(root, Split::Train, &Options::default()).map_err(|error| error.to_string())
}

/// The error message for a folder with these training images and labels.
fn refusal(images: &[u8], labels: &[u8]) -> String {
    opening(images, labels).unwrap_err()
}

#[test]
fn gzipped_files_give_the_records_of_plain_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let images = idx(IMAGES, &[2, 2, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let labels = idx(LABELS, &[2], &[3, 9]);
    std::fs::write(root.join("train-images-idx3-ubyte"), &images).unwrap();
    std::fs::write(root.join("train-labels-idx1-ubyte"), &labels).unwrap();
    for (name, bytes) in [("images-idx3", &images), ("labels-idx1", &labels)] {
        let file = std::fs::File::create(root.join(format!("t10k-{name}-ubyte.gz"))).unwrap();
        let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap();
    }
    let plain = open(root, Split::Train, &Options::default()).unwrap();
    let gzipped = open(root, Split::Test, &Options::default()).unwrap();
    assert_eq!(plain.shape.to_string(), "1x2x3");
    assert_eq!(*plain.image(1).unwrap(), [7, 8, 9, 10, 11, 12]);
    assert_eq!(plain.image(1).unwrap(), gzipped.image(1).unwrap());
    assert_eq!(
        (gzipped.labels(), &gzipped.class_names[..]),
        (&[0, 1][..], &["3".into(), "9".into()][..])
    );

    let gz = root.join("t10k-images-idx3-ubyte.gz");
    let whole = std::fs::read(&gz).unwrap();
    std::fs::write(&gz, &whole[..whole.len() - 9]).unwrap();
    let line = open(root, Split::Test, &Options::default())
        .unwrap_err()
        .to_string();
    assert!(
        line.contains("t10k-images-idx3-ubyte.gz") && line.contains("gzip"),
        "{line}"
    );
}

#[test]
fn the_error_for_a_missing_set_names_its_files_and_the_bundled_set() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let line = open(&nowhere, Split::Train, &Options::default())
        .unwrap_err()
        .to_string();
    assert!(
        line.contains(
            "nowhere: does not exist; a set of this format is bundled in data/fashion-mnist-small"
        ),
        "{line}"
    );
    let line = open(folder.path(), Split::Test, &Options::default())
        .unwrap_err()
        .to_string();
    assert!(
        line.contains("t10k-images-idx3-ubyte: does not exist, nor with .gz"),
        "{line}"
    );
    assert!(line.ends_with("data/fashion-mnist-small"), "{line}");
}

/// A folder with these training and test labels, each with an image of one pixel.
fn labelled(root: &Path, prefix: &str, train: &[u8], test: &[u8]) {
    for (part, values) in [("train", train), ("test", test)] {
        let count = values.len() as u32;
        let images = idx(IMAGES, &[count, 1, 1], values);
        std::fs::write(
            root.join(format!("{prefix}{part}-images-idx3-ubyte")),
            images,
        )
        .unwrap();
        let labels = idx(LABELS, &[count], values);
        std::fs::write(
            root.join(format!("{prefix}{part}-labels-idx1-ubyte")),
            labels,
        )
        .unwrap();
    }
}

fn opened(root: &Path, split: Split) -> Result<Dataset, DataError> {
    open(root, split, &Options::default())
}

#[test]
fn class_names_come_from_a_file_or_from_the_training_labels() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    labelled(root, "", &[0, 7, 1, 7], &[7, 1]);
    let names = |split| opened(root, split).unwrap().class_names;
    assert_eq!(names(Split::Train), ["0", "1", "7"]);
    assert_eq!(names(Split::Test), ["0", "1", "7"]);
    assert_eq!(opened(root, Split::Train).unwrap().labels(), [0, 2, 1, 2]);
    assert_eq!(opened(root, Split::Test).unwrap().labels(), [2, 1]);
    labelled(root, "", &[0, 1], &[1, 2]);
    let line = opened(root, Split::Test).unwrap_err().to_string();
    assert!(
        line.ends_with("found label 2 in record 1, expected a label of training: 0, 1"),
        "{line}"
    );

    std::fs::write(root.join(classes::NAMES), "\u{feff}cat\r\ndog\r\n\n").unwrap();
    assert_eq!(names(Split::Train), ["cat", "dog"]);
    std::fs::write(root.join(classes::NAMES), "cat\n").unwrap();
    labelled(root, "", &[0, 2], &[0]);
    let line = opened(root, Split::Train).unwrap_err().to_string();
    assert!(
        line.ends_with("label 2 in record 1, expected 0 to 0 (classes.txt names the classes)"),
        "{line}"
    );
    std::fs::write(root.join(classes::NAMES), "\n").unwrap();
    let line = opened(root, Split::Train).unwrap_err().to_string();
    assert!(
        line.contains("classes.txt: found no names, expected one per line"),
        "{line}"
    );
    std::fs::write(root.join(classes::NAMES), b"\xff\xfec\0").unwrap();
    let line = opened(root, Split::Train).unwrap_err().to_string();
    assert!(line.contains("classes.txt: found text in UTF-16"), "{line}");
}

#[test]
fn labels_that_start_at_one_leave_no_empty_class() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let letters: Vec<u8> = (1..=26).collect();
    labelled(root, "emnist-letters-", &letters, &[26, 1]);
    let train = opened(root, Split::Train).unwrap();
    assert_eq!(train.classes(), 26);
    assert_eq!(
        (
            train.class_names[0].as_str(),
            train.class_names[25].as_str()
        ),
        ("1", "26")
    );
    assert_eq!(train.labels()[..3], [0, 1, 2]);
    assert_eq!(opened(root, Split::Test).unwrap().labels(), [25, 0]);

    let names: Vec<String> = ('a'..='z').map(String::from).collect();
    std::fs::write(root.join(classes::NAMES), names.join("\n")).unwrap();
    let test = opened(root, Split::Test).unwrap();
    assert_eq!(
        (test.class_names[25].as_str(), test.labels()),
        ("z", &[25, 0][..])
    );
}

#[test]
fn files_are_found_under_each_usual_name() {
    for (images, labels) in [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        (
            "emnist-digits-train-images-idx3-ubyte",
            "emnist-digits-train-labels-idx1-ubyte",
        ),
    ] {
        for part in ["train", "t10k", "test"] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            let put = |name: &str, bytes: Vec<u8>| {
                std::fs::write(root.join(name.replace("train", part)), bytes).unwrap();
            };
            put(images, idx(IMAGES, &[1, 1, 1], &[9]));
            put(labels, idx(LABELS, &[1], &[3]));
            let split = match part {
                "train" => Split::Train,
                _ => Split::Test,
            };
            let set = opened(root, split).unwrap();
            assert_eq!(
                (set.len(), set.class_names[0].as_str()),
                (1, "3"),
                "{images}, {part}"
            );
        }
    }
}

#[test]
fn an_option_selects_one_of_several_sets_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    labelled(root, "emnist-letters-", &[1, 2], &[1]);
    labelled(root, "emnist-digits-", &[0, 1, 2], &[1]);
    let line = opened(root, Split::Train).unwrap_err().to_string();
    assert!(
        line.ends_with(
            "found files of the sets \"emnist-digits\", \"emnist-letters\", expected one, or \
             data.options.prefix with the name of one"
        ),
        "{line}"
    );
    let chosen = |prefix: &str| {
        let prefix = Some(prefix.into());
        let options = Options {
            prefix,
            ..Options::default()
        };
        open(root, Split::Train, &options)
    };
    assert_eq!(chosen("emnist-digits").unwrap().len(), 3);
    assert_eq!(chosen("emnist-letters").unwrap().len(), 2);
    let line = chosen("emnist-mnist").unwrap_err().to_string();
    assert!(
        line.ends_with("\"emnist-mnist\", which data.options.prefix names"),
        "{line}"
    );
    labelled(root, "", &[0, 1, 2, 3], &[1]);
    assert_eq!(chosen("").unwrap().len(), 4);
}

#[test]
fn transposed_images_are_transposed_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    labelled(root, "", &[0, 1], &[0]);
    let images = idx(IMAGES, &[2, 2, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    std::fs::write(root.join("train-images-idx3-ubyte"), images).unwrap();
    let options = Options {
        transposed: true,
        ..Options::default()
    };
    let set = open(root, Split::Train, &options).unwrap();
    assert_eq!(set.shape.to_string(), "1x3x2");
    assert_eq!(*set.image(0).unwrap(), [1, 4, 2, 5, 3, 6]);
    assert_eq!(*set.image(1).unwrap(), [7, 10, 8, 11, 9, 12]);
}

#[test]
fn an_empty_file_is_named_with_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["train-images.idx3-ubyte", "train-labels.idx1-ubyte"] {
        std::fs::write(root.join(name), "").unwrap();
    }
    let line = opened(root, Split::Train).unwrap_err().to_string();
    assert!(
        line.ends_with(
            "train-images.idx3-ubyte: found an empty file (0 bytes), expected 2051, that of IDX images"
        ),
        "{line}"
    );
}

proptest::proptest! {
    #[test]
    fn damaged_files_give_an_error_and_never_a_panic(at in 0usize..24, byte: u8, cut in 0usize..28) {
        let mut images = idx(IMAGES, &[2, 2, 3], &[7; 12]);
        images[at] = byte;
        images.truncate(cut);
        match opening(&images, &idx(LABELS, &[2], &[0, 1])) {
            // The header may have another size that fits the number of bytes: a valid file of smaller images.
            Ok(set) => proptest::prop_assert_eq!(images.len(), 16 + set.len() * set.shape.values()),
            Err(line) => proptest::prop_assert!(line.contains("train-"), "{}", line),
        }
    }
}

#[test]
fn damaged_files_are_refused_with_what_was_found_and_expected() {
    let images = idx(IMAGES, &[2, 2, 3], &[0; 12]);
    let labels = idx(LABELS, &[2], &[0, 1]);
    let refused = |images: &[u8], labels: &[u8], end: &str| {
        let line = refusal(images, labels);
        assert!(line.ends_with(end), "{line}");
    };
    let wrong_magic = idx(2052, &[2, 2, 3], &[0; 12]);
    refused(
        &wrong_magic,
        &labels,
        "magic number 2052, expected 2051, that of IDX images",
    );
    refused(
        &images[..3],
        &labels,
        "found 3 bytes, expected 2051, that of IDX images",
    );
    refused(
        &images[..7],
        &labels,
        "found 7 bytes, expected a header of 16",
    );
    let missing = "found 4 bytes after the header, expected 12, 2x2x3";
    refused(&images[..20], &labels, missing);
    let trailing = idx(IMAGES, &[2, 2, 3], &[0; 13]);
    refused(
        &trailing,
        &labels,
        "more than 12 bytes after the header, expected 12, 2x2x3",
    );
    let huge = idx(IMAGES, &[u32::MAX; 3], &[0; 9]);
    refused(
        &huge,
        &labels,
        "sizes 4294967295x4294967295x4294967295, expected no size of 0, and less than 2^64 bytes",
    );
    let large = idx(IMAGES, &[u32::MAX, 1 << 16, 1 << 15], &[0; 9]);
    refused(
        &large,
        &labels,
        "9223372034707292160, 4294967295x65536x32768",
    );
    let none = idx(IMAGES, &[0, 2, 3], &[]);
    refused(
        &none,
        &labels,
        "sizes 0x2x3, expected no size of 0, and less than 2^64 bytes",
    );

    let three = idx(LABELS, &[3], &[0, 1, 2]);
    let line = refusal(&images, &three);
    assert!(
        line.contains("found 3 labels, expected 2, one for each image of"),
        "{line}"
    );
}
