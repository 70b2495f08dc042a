//! IDX, the format of MNIST (LeCun 1998) and Fashion-MNIST (Xiao 2017), plain or gzipped.
//!
//! A file is a big-endian 32-bit magic number, one 32-bit size per dimension, and one byte per value.
//! Images have magic 2051 and three dimensions (count, rows, columns), labels 2049 and one dimension. The
//! format has no class names: the file `classes.txt` in the folder gives one per line. Without it the
//! classes are 0 to 9.

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

    fn recognises(&self, root: &Path) -> bool {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| name.contains("idx3-ubyte"))
    }

    fn open(&self, root: &Path, split: Split, _: &Options) -> Result<Dataset, DataError> {
        open(root, split)
    }
}

/// Reads `split` of the set in the folder `root`.
fn open(root: &Path, split: Split) -> Result<Dataset, DataError> {
    let part = match split {
        Split::Train => "train",
        _ => "t10k",
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

/// Reads the sizes and values of an IDX file of bytes with `N` dimensions.
fn read<const N: usize>(path: &Path, magic: u32) -> Result<([usize; N], Vec<u8>), DataError> {
    let file = BufReader::new(File::open(path).map_err(|error| DataError::io(path, error))?);
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => parse(path, MultiGzDecoder::new(file), true, magic),
        false => parse(path, file, false, magic),
    }
}

/// Reads sizes and values from `reader`, which gives the content of the file at `path`, unpacked if the
/// file is `gzipped`.
///
/// The sizes in the header allocate no memory: values are collected as they arrive, at most one more than
/// the header announces.
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
mod tests;
