//! Decodes every image of a set once before the first step, so that a damaged image does not stop a run hours later.
//!
//! Images that could be decoded are remembered by path, size and modification time, so that the next start decodes only
//! changed images. The memory is a file of 16-byte digests.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decode::{READABLE, dimensions};
use crate::encoded::{Encoded, EncodedImages};
use crate::{DataError, Dataset};

/// How images are checked before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Every image is decoded.
    #[default]
    Decode,
    /// The header of every image is read, for sets too large to decode.
    Headers,
}

/// An image that cannot be decoded.
#[derive(Debug)]
pub struct BadImage {
    /// Number of the record.
    pub record: usize,
    /// The reason.
    pub error: DataError,
}

type Fingerprint = [u8; 16];

/// The images that could be decoded once.
#[derive(Debug, Default)]
pub struct Checked {
    known: HashSet<Fingerprint>,
    added: usize,
}

impl Checked {
    /// Reads the memory in `file`. A file that is missing or damaged is an empty memory.
    pub fn read(file: &Path) -> Self {
        let bytes = fs::read(file).unwrap_or_default();
        Self {
            known: bytes.as_chunks().0.iter().copied().collect(),
            added: 0,
        }
    }

    /// Writes the memory to `file`, completely or not at all, if anything was added to it.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        if self.added == 0 {
            return Ok(());
        }
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let partial = file.with_extension(format!("{}.partial", std::process::id()));
        let bytes: Vec<u8> = self.known.iter().flatten().copied().collect();
        fs::write(&partial, bytes)?;
        fs::rename(&partial, file)
    }

    /// Number of images in the memory.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether the memory is empty.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// The result of a check.
#[derive(Debug, Default)]
pub struct CheckResult {
    /// The images that cannot be decoded, by record.
    pub bad: Vec<BadImage>,
    /// Number of images that were read because they were not remembered.
    pub read: usize,
}

impl Dataset {
    /// Checks every encoded image that `checked` does not remember, in one thread per core, and adds the good ones to
    /// `checked`. `progress` is called with the number of images checked so far, from any thread.
    pub fn check(
        &self,
        how: Check,
        checked: &mut Checked,
        progress: &(dyn Fn(usize) + Sync),
    ) -> CheckResult {
        let Some(images) = self.encoded() else {
            return CheckResult::default();
        };
        let known = &checked.known;
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (sender, results) = channel();
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                let (sender, next, done) = (sender.clone(), &next, &done);
                scope.spawn(move || {
                    loop {
                        let record = next.fetch_add(1, Ordering::Relaxed);
                        if record >= images.records.len() {
                            return;
                        }
                        let fingerprint = fingerprint(images, record);
                        if !fingerprint.is_some_and(|known_by| known.contains(&known_by)) {
                            // The receiver outlives the threads.
                            let _ = sender.send((record, fingerprint, one(images, record, how)));
                        }
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                });
            }
        });
        drop(sender);
        let mut result = CheckResult::default();
        for (record, fingerprint, outcome) in results {
            result.read += 1;
            match (outcome, fingerprint) {
                (Err(error), _) => result.bad.push(BadImage { record, error }),
                (Ok(()), Some(fingerprint)) if how == Check::Decode => {
                    checked.added += usize::from(checked.known.insert(fingerprint));
                }
                (Ok(()), _) => {}
            }
        }
        result.bad.sort_by_key(|bad| bad.record);
        result
    }
}

fn one(images: &EncodedImages, record: usize, how: Check) -> Result<(), DataError> {
    let refuse = |found| DataError::content(&images.path(record), found, READABLE);
    let check = || match how {
        Check::Decode => images.picture(record).map(drop),
        Check::Headers => dimensions(&images.bytes(record)?).map(drop).map_err(refuse),
    };
    // A decoder that panics is a bad image like any other.
    catch_unwind(AssertUnwindSafe(check))
        .unwrap_or_else(|_| Err(refuse("an image on which its decoder fails".into())))
}

/// The digest that an image is remembered by. `None`: the image is not remembered, because its modification time is
/// unknown, or so recent that another change might not alter it.
fn fingerprint(images: &EncodedImages, record: usize) -> Option<Fingerprint> {
    let Encoded { size, bytes, .. } = images.records.get(record)?;
    let mut digest = Sha256::new();
    // Another version may decode differently.
    digest.update(env!("CARGO_PKG_VERSION"));
    match bytes {
        Some(bytes) => digest.update(bytes),
        None => {
            let path = images.path(record);
            let changed = fs::metadata(&path).ok()?.modified().ok()?;
            let age = SystemTime::now().duration_since(changed).ok()?;
            if age < Duration::from_secs(2) {
                return None;
            }
            let changed = changed.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            digest.update(path.as_os_str().as_encoded_bytes());
            digest.update([0]);
            digest.update(size.to_le_bytes());
            digest.update(changed.as_nanos().to_le_bytes());
        }
    }
    digest.finalize().first_chunk().copied()
}

/// The file that remembers the images of the set at `root`, in `folder`.
pub fn memory_of(root: &Path, folder: &Path) -> PathBuf {
    let root = root.canonicalize().unwrap_or_else(|_| root.into());
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let name: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    folder.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::png;
    use crate::{Format, Options, Split, open};
    use std::fs::File;

    /// Ten images of two classes, changed an hour ago.
    fn made() -> (tempfile::TempDir, Dataset) {
        let folder = tempfile::tempdir().unwrap();
        for image in 0..10 {
            let class = folder.path().join(["a", "b"][image % 2]);
            fs::create_dir_all(&class).unwrap();
            let path = class.join(format!("{image}.png"));
            fs::write(&path, png(8, 8, image as u8)).unwrap();
            age(&path, 3600);
        }
        let set = opened(folder.path());
        (folder, set)
    }

    fn opened(root: &Path) -> Dataset {
        let options = Options {
            size: 8,
            resize: Some(8),
            ..Options::default()
        };
        open(
            Format::named("folder").unwrap(),
            root,
            Split::Whole,
            &options,
        )
        .unwrap()
    }

    fn age(path: &Path, seconds: u64) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    fn decode(set: &Dataset, checked: &mut Checked) -> (usize, Vec<String>) {
        let result = set.check(Check::Decode, checked, &|_| ());
        let bad = result.bad.iter().map(|bad| bad.error.to_string()).collect();
        (result.read, bad)
    }

    #[test]
    fn a_second_check_decodes_only_changed_images() {
        let (folder, set) = made();
        let memory = memory_of(folder.path(), folder.path());
        let mut checked = Checked::read(&memory);
        assert_eq!(decode(&set, &mut checked), (10, vec![]));
        checked.write(&memory).unwrap();
        let mut checked = Checked::read(&memory);
        assert_eq!(
            (checked.len(), decode(&set, &mut checked)),
            (10, (0, vec![]))
        );
        // The same size and another modification time.
        age(&folder.path().join("a/0.png"), 1800);
        assert_eq!(decode(&set, &mut checked).0, 1);
        // A damaged image is never remembered.
        let bad = folder.path().join("b/1.png");
        let bytes = fs::read(&bad).unwrap();
        fs::write(&bad, &bytes[..bytes.len() / 2]).unwrap();
        age(&bad, 100);
        let set = opened(folder.path());
        for _ in 0..2 {
            let (read, lines) = decode(&set, &mut checked);
            assert!(
                read == 1 && lines[0].contains("b/1.png: found a truncated PNG"),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn an_image_that_has_just_changed_is_not_remembered() {
        let (folder, set) = made();
        age(&folder.path().join("a/0.png"), 0);
        let mut checked = Checked::default();
        assert_eq!(decode(&set, &mut checked).0, 10);
        assert_eq!(checked.len(), 9);
    }

    #[test]
    fn headers_show_files_of_another_kind_and_are_not_remembered() {
        let (folder, _) = made();
        let other = folder.path().join("a/0.png");
        fs::write(&other, "no image at all").unwrap();
        let mut checked = Checked::default();
        let result = opened(folder.path()).check(Check::Headers, &mut checked, &|_| ());
        assert_eq!((result.bad.len(), result.bad[0].record), (1, 0));
        assert!(checked.is_empty());
    }
}
