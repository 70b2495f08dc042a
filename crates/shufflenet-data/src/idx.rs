//! IDX, the format of MNIST (LeCun 1998), Fashion-MNIST (Xiao 2017) and EMNIST (Cohen 2017), plain or gzipped.
//!
//! A file is a big-endian 32-bit magic number, one 32-bit size per dimension, and one byte per value.
//! Images have magic 2051 and three dimensions (count, rows, columns), labels 2049 and one dimension. The
//! format has no class names: [`classes`] says where they come from. [`files`] finds the files. EMNIST's images
//! are stored column by column: `data.options.transposed` transposes them.

mod classes;
mod files;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::dataset::name_of;
use crate::format::Reader;
use crate::words::counted_bytes;
use crate::{DataError, Dataset, ImageShape, Options, Split};
use classes::Classes;
use files::Files;

pub(crate) const IMAGES: u32 = 2051;
pub(crate) const LABELS: u32 = 2049;

/// The format `idx`.
pub(crate) struct Idx;

impl Reader for Idx {
    fn name(&self) -> &'static str {
        "idx"
    }

    fn recognises(&self, root: &Path) -> bool {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| name.contains("idx3-ubyte"))
    }

    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
        open(root, split, options)
    }
}

/// Reads `split` of the set in the folder `root`.
fn open(root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
    let files = Files::of(root, options.prefix.as_deref())?;
    let image_file = files.path(split, files::IMAGES)?;
    let label_file = files.path(split, files::LABELS)?;

    let ([images, mut height, mut width], mut pixels) = read(&image_file, IMAGES)?;
    let ([count], labels) = read(&label_file, LABELS)?;
    if count != images {
        return Err(DataError::content(
            &label_file,
            format!("{count} labels"),
            format!("{images}, one for each image of {}", image_file.display()),
        ));
    }
    let training = match split {
        Split::Train => None,
        _ => files.find(Split::Train, files::LABELS),
    };
    let classes = match training {
        Some(file) => Classes::of(root, &read::<1>(&file, LABELS)?.1)?,
        None => Classes::of(root, &labels)?,
    };
    let labels = classes.labels(&label_file, &labels)?;
    if options.transposed {
        pixels = transposed(&pixels, height, width);
        (height, width) = (width, height);
    }
    let shape = ImageShape {
        channels: 1,
        height,
        width,
    };
    Dataset::new(name_of(root), shape, classes.names, pixels, labels)
}

/// Images of `rows` x `columns` with rows and columns exchanged.
fn transposed(pixels: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let images = pixels.chunks_exact(rows * columns);
    let turned = images.flat_map(|image| {
        (0..columns).flat_map(move |column| image.iter().skip(column).step_by(columns))
    });
    turned.copied().collect()
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
    reader: impl Read,
    gzipped: bool,
    magic: u32,
) -> Result<([usize; N], Vec<u8>), DataError> {
    let mut content = Content {
        path,
        reader,
        gzipped,
    };
    let sizes = content.header(magic)?;
    let values = content.values(&sizes)?;
    Ok((sizes, values))
}

/// A file that is read from front to back.
struct Content<'a, R> {
    path: &'a Path,
    reader: R,
    gzipped: bool,
}

impl<R: Read> Content<'_, R> {
    /// The next `count` bytes, or fewer at the end of the file.
    fn take(&mut self, count: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        match (&mut self.reader).take(count).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if self.gzipped => Err(DataError::content(
                self.path,
                format!("a damaged or truncated gzip file ({error})"),
                "a whole one",
            )),
            Err(error) => Err(DataError::io(self.path, error)),
        }
    }

    /// The sizes after the magic number.
    fn header<const N: usize>(&mut self, magic: u32) -> Result<[usize; N], DataError> {
        let header = self.take(4 * (1 + N as u64))?;
        let words = header.as_chunks().0.iter();
        let mut words = words.map(|&word| u32::from_be_bytes(word));
        let found = words.next();
        if found != Some(magic) {
            let found = match found {
                Some(word) => format!("magic number {word}"),
                None if header.is_empty() => "an empty file (0 bytes)".into(),
                None => counted_bytes(header.len() as u64),
            };
            let what = if N == 1 { "labels" } else { "images" };
            let expected = format!("{magic}, that of IDX {what}");
            return Err(DataError::content(self.path, found, expected));
        }
        let mut sizes = [0; N];
        for size in &mut sizes {
            let Some(word) = words.next() else {
                let found = counted_bytes(header.len() as u64);
                let expected = format!("a header of {}", 4 * (1 + N));
                return Err(DataError::content(self.path, found, expected));
            };
            *size = word as usize;
        }
        Ok(sizes)
    }

    /// The values after the header: as many as the product of `sizes`, and no more.
    fn values(&mut self, sizes: &[usize]) -> Result<Vec<u8>, DataError> {
        let text: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let text = text.join("x");
        let announced = sizes
            .iter()
            .try_fold(1u64, |product, &size| product.checked_mul(size as u64));
        let Some(announced) = announced.filter(|&values| values > 0 && values < u64::MAX) else {
            return Err(DataError::content(
                self.path,
                format!("sizes {text}"),
                "no size of 0, and less than 2^64 bytes",
            ));
        };
        let values = self.take(announced + 1)?;
        if values.len() as u64 != announced {
            let found = match values.len() as u64 > announced {
                true => format!("more than {} after the header", counted_bytes(announced)),
                false => format!("{} after the header", counted_bytes(values.len() as u64)),
            };
            let expected = format!("{announced}, {text}");
            return Err(DataError::content(self.path, found, expected));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests;
