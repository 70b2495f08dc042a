//! Sets of encoded images: read and decoded when a batch needs them, so that a set may be larger than
//! memory.
//!
//! Opening such a set reads no image: it lists files with their sizes. A file that is gone later, or of
//! another size, is an error that names it: what changes under a run would change the run.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use image::RgbImage;
use rand_chacha::ChaCha8Rng;

use crate::decode::{READABLE, decode};
use crate::view::{Window, cut};
use crate::{DataError, OnBadImage, Options};

/// The most bytes that an image's file may have.
const MOST_BYTES: u64 = 1 << 30;

/// One encoded image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    /// Its path from the set's root, or what else names it.
    pub name: PathBuf,
    /// Its bytes' number.
    pub size: u64,
    /// Its bytes, where they are not in a file of their own.
    pub bytes: Option<Vec<u8>>,
}

/// The encoded images of a set, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncodedImages {
    /// What names start at.
    pub root: PathBuf,
    /// One a record.
    pub records: Vec<Encoded>,
    /// Side of the square that they are brought to.
    pub size: u32,
    /// Shorter side before the centre crop.
    pub resize: u32,
    /// 3 or 1.
    pub channels: usize,
}

impl EncodedImages {
    /// The images `records` below `root`.
    pub(crate) fn new(root: &Path, records: Vec<Encoded>, options: &Options) -> Self {
        Self {
            root: root.into(),
            records,
            size: options.size,
            resize: options.resize(),
            channels: options.channels,
        }
    }

    /// What names `record` in a message: its file, where it has one.
    pub(crate) fn path(&self, record: usize) -> PathBuf {
        self.root.join(&self.records[record].name)
    }

    /// The bytes of `record`, whole or an error.
    pub(crate) fn bytes(&self, record: usize) -> Result<Cow<'_, [u8]>, DataError> {
        let Encoded { size, bytes, .. } = &self.records[record];
        if let Some(bytes) = bytes {
            return Ok(Cow::Borrowed(bytes));
        }
        let path = self.path(record);
        // Before it is opened, which would wait for ever on a pipe.
        fs::metadata(&path).map_err(|error| DataError::io(&path, error))?;
        check_size(&path, *size)?;
        let mut read = Vec::new();
        let file = File::open(&path).map_err(|error| DataError::io(&path, error))?;
        // One more than expected, to see that a file has grown; never what a pipe would give for ever.
        file.take(size + 1)
            .read_to_end(&mut read)
            .map_err(|error| DataError::io(&path, error))?;
        match read.len() as u64 == *size {
            true => Ok(Cow::Owned(read)),
            false => Err(DataError::content(
                &path,
                match read.len() as u64 > *size {
                    true => format!("more than {size} bytes"),
                    false => format!("{} bytes", read.len()),
                },
                format!("{size}, as when the set was opened"),
            )),
        }
    }

    /// The image as a person sees it.
    pub(crate) fn picture(&self, record: usize) -> Result<RgbImage, DataError> {
        let bytes = self.bytes(record)?;
        decode(&bytes).map_err(|found| DataError::content(&self.path(record), found, READABLE))
    }

    /// Its middle, as evaluation sees it: `channels` x `size` x `size`.
    pub(crate) fn middle(&self, record: usize) -> Result<Vec<u8>, DataError> {
        let picture = self.picture(record)?;
        let window = Window::central(picture.dimensions(), self.resize, self.size);
        self.cut(record, &picture, window)
    }

    /// A window of it drawn from `random`, likewise.
    pub(crate) fn window(
        &self,
        record: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<Vec<u8>, DataError> {
        let picture = self.picture(record)?;
        let window = Window::random(picture.dimensions(), random);
        self.cut(record, &picture, window)
    }

    fn cut(&self, record: usize, picture: &RgbImage, window: Window) -> Result<Vec<u8>, DataError> {
        cut(picture, window, self.size, self.channels)
            .map_err(|found| DataError::content(&self.path(record), found, READABLE))
    }

    /// Decodes every image, by as many threads as there are cores; the records that cannot be, with the
    /// reason, in order.
    pub(crate) fn check(&self) -> Vec<(usize, DataError)> {
        let next = AtomicUsize::new(0);
        let (sender, bad) = channel();
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let record = next.fetch_add(1, Ordering::Relaxed);
                        if record >= self.records.len() {
                            return;
                        }
                        if let Err(error) = self.picture(record) {
                            // The receiver outlives the threads.
                            let _ = sender.send((record, error));
                        }
                    }
                });
            }
        });
        drop(sender);
        let mut bad: Vec<(usize, DataError)> = bad.into_iter().collect();
        bad.sort_by_key(|&(record, _)| record);
        bad
    }
}

/// An image in a file: `name` below `root`. Where bad images are skipped, one that is not there is found
/// with the others.
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
        false => Err(DataError::content(path, format!("{size} bytes"), READABLE)),
    }
}
