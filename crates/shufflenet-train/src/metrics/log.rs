//! `metrics.jsonl`: one JSON object per line, appended as the run goes.
//!
//! A resumed run truncates the file to the step of its checkpoint. So no step appears twice, and a line that a kill cut
//! off is removed. The same numbers go into a table (`metrics.csv`) and a TensorBoard file. Each start writes both
//! again from this file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::TrainError;
use crate::files::sync_folder;
use crate::metrics::csv::MetricsCsv;
use crate::metrics::line::{Line, now};
use crate::metrics::tensorboard::{self, EventFile};

/// Name of the file in a run folder.
pub const NAME: &str = "metrics.jsonl";
/// Name of the table beside `metrics.jsonl`.
pub const TABLE: &str = "metrics.csv";

/// An open `metrics.jsonl`.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    bytes: u64,
    table: MetricsCsv,
    events: EventFile,
}

impl MetricsLog {
    /// Opens `path` and truncates it to the complete lines in its first `keep` bytes. Also returns how many
    /// of these bytes are lost.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn open(path: &Path, keep: u64) -> Result<(Self, u64), TrainError> {
        let open = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(path)?;
            let mut kept = Vec::new();
            (&file).take(keep).read_to_end(&mut kept)?;
            let end = kept.iter().rposition(|&byte| byte == b'\n');
            let bytes = end.map_or(0, |end| end as u64 + 1);
            file.set_len(bytes)?;
            file.seek(SeekFrom::Start(bytes))?;
            kept.truncate(bytes as usize);
            Ok((file, bytes, kept))
        };
        let (file, bytes, kept) = open().map_err(|e| TrainError::io("open", path, e))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        sync_folder(folder)?;
        let mut log = Self {
            path: path.into(),
            file,
            bytes,
            table: MetricsCsv::create(&folder.join(TABLE))?,
            events: EventFile::create(&folder.join(tensorboard::NAME), now())?,
        };
        // A line that cannot be read is left out of the copies, because training does not depend on it.
        let kept = kept.split(|&byte| byte == b'\n');
        for line in kept.filter_map(|line| serde_json::from_slice(line).ok()) {
            log.copy(&line)?;
        }
        Ok((log, keep - bytes))
    }

    /// Appends a line.
    ///
    /// # Errors
    /// [`TrainError::Io`], [`TrainError::Encode`].
    pub fn append(&mut self, line: &Line) -> Result<(), TrainError> {
        let mut text = serde_json::to_vec(line).map_err(|error| TrainError::Encode {
            what: "a line of metrics",
            message: error.to_string(),
        })?;
        text.push(b'\n');
        self.file
            .write_all(&text)
            .map_err(|e| TrainError::io("write", &self.path, e))?;
        self.bytes += text.len() as u64;
        self.copy(line)
    }

    /// Appends a line to the table and the TensorBoard file.
    fn copy(&mut self, line: &Line) -> Result<(), TrainError> {
        self.table.append(line)?;
        self.events.append(line)
    }

    /// Number of bytes written, for the checkpoint. They are on disk when this returns.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn sync(&self) -> Result<u64, TrainError> {
        self.file
            .sync_data()
            .map_err(|e| TrainError::io("sync", &self.path, e))?;
        Ok(self.bytes)
    }
}
