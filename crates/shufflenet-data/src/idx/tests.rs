use std::io::Write;

use super::*;

fn idx(magic: u32, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let words = std::iter::once(&magic).chain(sizes);
    let mut bytes: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend_from_slice(data);
    bytes
}

/// The error message for a folder with these training images and labels.
fn refusal(images: &[u8], labels: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::write(root.join("train-images-idx3-ubyte"), images).unwrap();
    std::fs::write(root.join("train-labels-idx1-ubyte"), labels).unwrap();
    open(root, Split::Train).unwrap_err().to_string()
}

#[test]
fn gzipped_files_read_as_plain_ones() {
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
    let plain = open(root, Split::Train).unwrap();
    let gzipped = open(root, Split::Test).unwrap();
    assert_eq!(plain.shape.to_string(), "1x2x3");
    assert_eq!(*plain.image(1).unwrap(), [7, 8, 9, 10, 11, 12]);
    assert_eq!(plain.image(1).unwrap(), gzipped.image(1).unwrap());
    assert_eq!(gzipped.labels(), [3, 9]);

    let gz = root.join("t10k-images-idx3-ubyte.gz");
    let whole = std::fs::read(&gz).unwrap();
    std::fs::write(&gz, &whole[..whole.len() - 9]).unwrap();
    let line = open(root, Split::Test).unwrap_err().to_string();
    assert!(
        line.contains("t10k-images-idx3-ubyte.gz") && line.contains("gzip"),
        "{line}"
    );
}

#[test]
fn a_missing_set_says_what_was_looked_for_and_which_is_bundled() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let line = open(&nowhere, Split::Train).unwrap_err().to_string();
    assert!(
        line.contains("nowhere: is not a folder; a set is the four files"),
        "{line}"
    );
    let line = open(folder.path(), Split::Test).unwrap_err().to_string();
    assert!(
        line.contains("t10k-images-idx3-ubyte: is not there, nor with .gz"),
        "{line}"
    );
    assert!(line.ends_with("data/fashion-mnist-small"), "{line}");
}

#[test]
fn classes_are_named_by_a_file_or_are_ten() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let images = idx(IMAGES, &[2, 1, 1], &[0; 2]);
    std::fs::write(root.join("train-images-idx3-ubyte"), images).unwrap();
    let labels = idx(LABELS, &[2], &[0, 1]);
    std::fs::write(root.join("train-labels-idx1-ubyte"), labels).unwrap();
    assert_eq!(open(root, Split::Train).unwrap().class_names[9], "9");
    std::fs::write(root.join(CLASSES), "cat\r\ndog\r\n\n").unwrap();
    assert_eq!(
        open(root, Split::Train).unwrap().class_names,
        ["cat", "dog"]
    );
    std::fs::write(root.join(CLASSES), "cat\n").unwrap();
    let line = open(root, Split::Train).unwrap_err().to_string();
    assert!(
        line.contains("label 1 in record 1, expected 0 to 0"),
        "{line}"
    );
    std::fs::write(root.join(CLASSES), "\n").unwrap();
    let line = open(root, Split::Train).unwrap_err().to_string();
    assert!(
        line.contains("classes.txt: found no names, expected one a line"),
        "{line}"
    );
}

proptest::proptest! {
    #[test]
    fn damage_is_answered_never_panicked_on(at in 0usize..24, byte: u8, cut in 0usize..28) {
        let mut images = idx(IMAGES, &[2, 2, 3], &[7; 12]);
        let intact = images.clone();
        images[at] = byte;
        images.truncate(cut);
        if images != intact {
            let line = refusal(&images, &idx(LABELS, &[2], &[0, 1]));
            proptest::prop_assert!(line.contains("train-"), "{}", line);
        }
    }
}

#[test]
fn damaged_files_are_named_with_found_and_expected() {
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
    let foreign = idx(LABELS, &[2], &[0, 10]);
    refused(
        &images,
        &foreign,
        "found label 10 in record 1, expected 0 to 9 (classes.txt names the classes)",
    );
}
