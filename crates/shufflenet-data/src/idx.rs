//! IDX files, the format of MNIST (LeCun) and Fashion-MNIST (Xiao et al. 2017), plain or gzipped.
//!
//! A big-endian magic number (2051 for images, 2049 for labels), the count, for images their height
//! and width, then one byte a pixel or label. `classes.txt` beside them, one name a line, names the
//! classes; without it there are ten, named by their digits.

use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, ImageShape};
use crate::error::DataError;
use crate::{Split, files};

const IMAGES: u32 = 2051;
const LABELS: u32 = 2049;
/// More than any set of this format has, and what a file may make us hold in memory.
const MOST_BYTES: u64 = 4 << 30;
const MOST_SIDE: usize = 4096;

/// Reads a part of the set in the folder `root`.
pub(crate) fn open(root: &Path, split: Split) -> Result<Dataset, DataError> {
    let part = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let (images, pixels) = body::<3>(root, &format!("{part}-images-idx3-ubyte"), IMAGES)?;
    let [count, height, width] = images.sizes;
    let expected = format!("1 to {MOST_SIDE} rows and columns");
    let sensible = (1..=MOST_SIDE).contains(&height) && (1..=MOST_SIDE).contains(&width);
    if !sensible {
        let found = format!("images of {height}x{width}");
        return Err(DataError::malformed(&images.path, found, expected));
    }
    let (labels, classes) = body::<1>(root, &format!("{part}-labels-idx1-ubyte"), LABELS)?;
    let [label_count] = labels.sizes;
    if label_count != count {
        let found = format!("{label_count} labels");
        let expected = format!("{count}, one for each image of {}", images.path.display());
        return Err(DataError::malformed(&labels.path, found, expected));
    }
    let shape = ImageShape {
        channels: 1,
        height,
        width,
    };
    let names = class_names(root)?;
    let name = root.file_name().unwrap_or(root.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let classes = classes.into_iter().map(u16::from).collect();
    Dataset::new(name, shape, names, pixels, classes, &labels.path)
}

struct Header<const N: usize> {
    path: PathBuf,
    sizes: [usize; N],
}

/// The header of the file `name` (or `name.gz`) and the bytes behind it, exactly as many as the
/// header announces.
fn body<const N: usize>(
    root: &Path,
    name: &str,
    magic: u32,
) -> Result<(Header<N>, Vec<u8>), DataError> {
    let candidates = [root.join(name), root.join(format!("{name}.gz"))];
    let Some(path) = candidates.into_iter().find(|path| path.exists()) else {
        return Err(DataError::Missing {
            what: format!("{name} or {name}.gz"),
            root: root.into(),
            help: "data/README.md says how to get each set; data/fashion-mnist-small is bundled",
        });
    };
    let mut bytes = files::read(&path, MOST_BYTES)?;
    let header_size = 4 + 4 * N;
    if bytes.len() < header_size {
        let found = format!("{} bytes", bytes.len());
        let expected = format!("an IDX header of {header_size}");
        return Err(DataError::malformed(&path, found, expected));
    }
    let data = bytes.split_off(header_size);
    let mut words = bytes
        .chunks_exact(4)
        .map(|word| word.iter().fold(0u32, |n, &byte| n << 8 | u32::from(byte)));
    let found = words.next().unwrap_or_default();
    if found != magic {
        let found = format!("magic number {found}");
        return Err(DataError::malformed(&path, found, magic.to_string()));
    }
    let mut sizes = [0; N];
    for (size, word) in sizes.iter_mut().zip(words) {
        *size = word as usize;
    }
    let announced = sizes
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size));
    if announced != Some(data.len()) {
        let found = format!("{} bytes behind its header", data.len());
        let expected = match announced {
            Some(announced) => format!("{announced}, as the header announces"),
            None => "what fits into memory".into(),
        };
        return Err(DataError::malformed(&path, found, expected));
    }
    Ok((Header { path, sizes }, data))
}

fn class_names(root: &Path) -> Result<Vec<String>, DataError> {
    let path = root.join("classes.txt");
    if !path.is_file() {
        return Ok((0..10).map(|digit| digit.to_string()).collect());
    }
    let names = files::names(&files::read(&path, 1 << 20)?);
    match names.is_empty() {
        true => Err(DataError::malformed(&path, "no name", "one class a line")),
        false => Ok(names),
    }
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
        assert_eq!(plain.image(1), [7, 8, 9, 10, 11, 12]);
        assert_eq!(plain.image(1), gzipped.image(1));
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
    fn damaged_files_are_named_with_found_and_expected() {
        let images = idx(IMAGES, &[2, 2, 3], &[0; 12]);
        let labels = idx(LABELS, &[2], &[0, 1]);
        let line = refusal(&idx(2052, &[2, 2, 3], &[0; 12]), &labels);
        assert!(line.contains("magic number 2052, expected 2051"), "{line}");
        let line = refusal(&images[..20], &labels);
        assert!(
            line.contains("4 bytes behind its header, expected 12"),
            "{line}"
        );
        let line = refusal(&images, &idx(LABELS, &[3], &[0, 1, 2]));
        assert!(line.contains("3 labels, expected 2"), "{line}");
        let line = refusal(&images, &idx(LABELS, &[2], &[0, 10]));
        assert!(
            line.contains("label 10 in record 1, expected 0 to 9"),
            "{line}"
        );
        let line = refusal(&images[..7], &labels);
        assert!(
            line.contains("7 bytes, expected an IDX header of 16"),
            "{line}"
        );
        let line = refusal(&idx(IMAGES, &[u32::MAX; 3], &[0; 9]), &labels);
        assert!(line.contains("9 bytes behind its header"), "{line}");
        let line = refusal(&idx(IMAGES, &[u32::MAX, 0, 0], &[]), &labels);
        assert!(line.contains("images of 0x0"), "{line}");
    }
}
