//! IDX, the files of MNIST (LeCun 1998) and Fashion-MNIST (Xiao 2017), plain or gzipped.
//!
//! A file is a big-endian 32-bit magic number, one 32-bit size per dimension, and a byte per value:
//! images have magic 2051 and three dimensions (count, rows, columns), labels 2049 and one. The
//! format has no class names: `classes.txt` beside the files gives one a line, without it the classes
//! are 0 to 9.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::dataset::{class_names, first_foreign_label, name_of};
use crate::format::Reader;
use crate::{DataError, Dataset, ImageShape, Options, Split};

pub(crate) const IMAGES: u32 = 2051;
pub(crate) const LABELS: u32 = 2049;
const CLASSES: &str = "classes.txt";
const ADVICE: &str = "a set is the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, \
    t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each plain or .gz; one is bundled in \
    data/fashion-mnist-small";

/// The format `idx`.
pub(crate) struct Idx;

impl Reader for Idx {
    fn name(&self) -> &'static str {
        "idx"
    }

    fn open(&self, root: &Path, split: Split, _: &Options) -> Result<Dataset, DataError> {
        open(root, split)
    }
}

/// Reads `split` of the set in the folder `root`.
fn open(root: &Path, split: Split) -> Result<Dataset, DataError> {
    let part = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let image_file = locate(root, &format!("{part}-images-idx3-ubyte"))?;
    let label_file = locate(root, &format!("{part}-labels-idx1-ubyte"))?;

    let ([images, height, width], pixels) = read(&image_file, IMAGES)?;
    let ([count], labels) = read(&label_file, LABELS)?;
    if count != images {
        return Err(DataError::content(
            &label_file,
            format!("{count} labels"),
            format!("{images}, one for each image of {}", image_file.display()),
        ));
    }
    let names = read_names(root)?;
    let labels: Vec<u16> = labels.into_iter().map(u16::from).collect();
    if let Some((record, label)) = first_foreign_label(&labels, names.len()) {
        let found = format!("label {label} in record {record}");
        let last = names.len() - 1;
        let expected = format!("0 to {last} ({CLASSES} names the classes)");
        return Err(DataError::content(&label_file, found, expected));
    }
    let shape = ImageShape {
        channels: 1,
        height,
        width,
    };
    Dataset::new(name_of(root), shape, names, pixels, labels)
}

/// The file `name` in `root`, or its gzipped form.
fn locate(root: &Path, name: &str) -> Result<PathBuf, DataError> {
    if !root.is_dir() {
        return Err(DataError::missing(root, "is not a folder", ADVICE));
    }
    let plain = root.join(name);
    let gzipped = root.join(format!("{name}.gz"));
    match (plain.exists(), gzipped.exists()) {
        (true, _) => Ok(plain),
        (false, true) => Ok(gzipped),
        (false, false) => Err(DataError::missing(
            &plain,
            "is not there, nor with .gz",
            ADVICE,
        )),
    }
}

fn read_names(root: &Path) -> Result<Vec<String>, DataError> {
    let path = root.join(CLASSES);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((0..10).map(|digit| digit.to_string()).collect());
        }
        Err(error) => return Err(DataError::io(&path, error)),
    };
    let names = class_names(&text);
    match names.is_empty() {
        true => Err(DataError::content(&path, "no names", "one a line")),
        false => Ok(names),
    }
}

/// Sizes and values of an IDX file of bytes in `N` dimensions.
fn read<const N: usize>(path: &Path, magic: u32) -> Result<([usize; N], Vec<u8>), DataError> {
    let file = BufReader::new(File::open(path).map_err(|error| DataError::io(path, error))?);
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => parse(path, MultiGzDecoder::new(file), true, magic),
        false => parse(path, file, false, magic),
    }
}

/// The same of what `reader` gives: what is in the file at `path`, unpacked where it is `gzipped`.
///
/// Nothing is allocated on the header's word: values are collected as they come, one beyond what the
/// header announces at the most.
pub(crate) fn parse<const N: usize>(
    path: &Path,
    mut reader: impl Read,
    gzipped: bool,
    magic: u32,
) -> Result<([usize; N], Vec<u8>), DataError> {
    let mut take = |count: u64| {
        let mut bytes = Vec::new();
        match (&mut reader).take(count).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if gzipped => Err(DataError::content(
                path,
                format!("a damaged or truncated gzip file ({error})"),
                "a whole one",
            )),
            Err(error) => Err(DataError::io(path, error)),
        }
    };

    let header = take(4 * (1 + N as u64))?;
    let mut words = header
        .as_chunks()
        .0
        .iter()
        .map(|&word| u32::from_be_bytes(word));
    let found = words.next();
    if found != Some(magic) {
        let found = match found {
            Some(word) => format!("magic number {word}"),
            None => format!("{} bytes", header.len()),
        };
        let what = if N == 1 { "labels" } else { "images" };
        return Err(DataError::content(
            path,
            found,
            format!("{magic}, that of IDX {what}"),
        ));
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        let Some(word) = words.next() else {
            let found = format!("{} bytes", header.len());
            let expected = format!("a header of {}", 4 * (1 + N));
            return Err(DataError::content(path, found, expected));
        };
        *size = word as usize;
    }

    let text = sizes.map(|size| size.to_string()).join("x");
    let announced = sizes
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size as u64));
    let Some(announced) = announced.filter(|&values| values > 0 && values < u64::MAX) else {
        return Err(DataError::content(
            path,
            format!("sizes {text}"),
            "no size of 0, and less than 2^64 bytes",
        ));
    };
    let values = take(announced + 1)?;
    if values.len() as u64 != announced {
        let found = match values.len() as u64 > announced {
            true => format!("more than {announced} bytes after the header"),
            false => format!("{} bytes after the header", values.len()),
        };
        return Err(DataError::content(
            path,
            found,
            format!("{announced}, {text}"),
        ));
    }
    Ok((sizes, values))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn idx(magic: u32, sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let words = std::iter::once(&magic).chain(sizes);
        let mut bytes: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend_from_slice(data);
        bytes
    }

    /// A folder with two 2x3 training images, changed by what `images` and `labels` say.
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
}
