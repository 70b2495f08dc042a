//! Sets of encoded images. Images are read and decoded when a batch needs them, so a set may be larger than
//! memory.
//!
//! Opening such a set reads no image: it only lists the files with their sizes. A file that is missing
//! later, or has another size, is an error that names the file, because a change during a run would change
//! the run.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use image::RgbImage;
use rand_chacha::ChaCha8Rng;

use shufflenet_image::decode::{READABLE, decode};
use shufflenet_image::{Window, cut};

use crate::window::random_window;
use crate::words::counted_bytes;
use crate::{DataError, OnBadImage, Options};

/// The largest size of an image file, in bytes.
const MOST_BYTES: u64 = 1 << 30;

/// One encoded image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    /// Path of the image relative to the set's root, or another name for it.
    pub name: PathBuf,
    /// Size of the encoded image in bytes.
    pub size: u64,
    /// The encoded bytes, if the image is not a file.
    pub bytes: Option<Vec<u8>>,
}

/// The encoded images of a set, and the size that they are resized to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncodedImages {
    /// The folder that names are relative to.
    pub root: PathBuf,
    /// The images, one per record.
    pub records: Vec<Encoded>,
    /// Side of the square that images are resized and cropped to.
    pub size: u32,
    /// Shorter side before the centre crop.
    pub resize: u32,
    /// Number of channels, 3 or 1.
    pub channels: usize,
}

impl EncodedImages {
    /// Creates the set of the images `records` below `root`.
    pub(crate) fn new(root: &Path, records: Vec<Encoded>, options: &Options) -> Self {
        Self {
            root: root.into(),
            records,
            size: options.size,
            resize: options.resize(),
            channels: options.channels,
        }
    }

    /// Name of `record` for messages: its path if it is a file.
    pub(crate) fn path(&self, record: usize) -> PathBuf {
        self.root.join(&self.records[record].name)
    }

    /// All encoded bytes of `record`.
    pub(crate) fn bytes(&self, record: usize) -> Result<Cow<'_, [u8]>, DataError> {
        let Encoded { size, bytes, .. } = &self.records[record];
        if let Some(bytes) = bytes {
            return Ok(Cow::Borrowed(bytes));
        }
        let path = self.path(record);
        // Checked before the file is opened, because opening a pipe would wait forever.
        fs::metadata(&path).map_err(|error| DataError::io(&path, error))?;
        check_size(&path, *size)?;
        let mut read = Vec::new();
        let file = File::open(&path).map_err(|error| DataError::io(&path, error))?;
        // One byte more than expected shows that a file has grown, and bounds what a pipe could give.
        file.take(size + 1)
            .read_to_end(&mut read)
            .map_err(|error| DataError::io(&path, error))?;
        if read.len() as u64 == *size {
            Ok(Cow::Owned(read))
        } else {
            Err(DataError::content(
                &path,
                match read.len() as u64 > *size {
                    true => format!("more than {}", counted_bytes(*size)),
                    false => counted_bytes(read.len() as u64),
                },
                format!("{size}, as when the set was opened"),
            ))
        }
    }

    /// The decoded image.
    pub(crate) fn picture(&self, record: usize) -> Result<RgbImage, DataError> {
        let bytes = self.bytes(record)?;
        decode(&bytes).map_err(|found| DataError::content(&self.path(record), found, READABLE))
    }

    /// The centre crop of evaluation: `channels` x `size` x `size` values.
    pub(crate) fn middle(&self, record: usize) -> Result<Vec<u8>, DataError> {
        let picture = self.picture(record)?;
        let window = Window::central(picture.dimensions(), self.resize, self.size);
        self.cut(record, &picture, window)
    }

    /// A random window drawn from `random`: `channels` x `size` x `size` values.
    pub(crate) fn window(
        &self,
        record: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<Vec<u8>, DataError> {
        let picture = self.picture(record)?;
        let window = random_window(picture.dimensions(), random);
        self.cut(record, &picture, window)
    }

    fn cut(&self, record: usize, picture: &RgbImage, window: Window) -> Result<Vec<u8>, DataError> {
        cut(picture, window, self.size, self.channels)
            .map_err(|found| DataError::content(&self.path(record), found, READABLE))
    }
}

/// The image file `name` below `root`. If bad images are skipped, a missing file is found later, with the
/// other bad ones.
pub(crate) fn file(root: &Path, name: PathBuf, options: &Options) -> Result<Encoded, DataError> {
    let path = root.join(&name);
    let size = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) if options.on_bad_image == OnBadImage::Error => {
            return Err(DataError::content(&path, "no regular file", READABLE));
        }
        Err(error) if options.on_bad_image == OnBadImage::Error => {
            return Err(DataError::io(&path, error));
        }
        _ => 0,
    };
    if options.on_bad_image == OnBadImage::Error {
        check_size(&path, size)?;
    }
    Ok(Encoded {
        name,
        size,
        bytes: None,
    })
}

fn check_size(path: &Path, size: u64) -> Result<(), DataError> {
    match (1..=MOST_BYTES).contains(&size) {
        true => Ok(()),
        false => Err(DataError::content(path, counted_bytes(size), READABLE)),
    }
}
