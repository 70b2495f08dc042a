//! `metrics.jsonl`: one JSON object per line, appended as the run goes.
//!
//! A resumed run cuts the file back to where its checkpoint stood, so no step appears twice and a
//! line torn by a kill is gone.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::TrainError;
use crate::tally::Metrics;

/// An open `metrics.jsonl`.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// One line. `epoch` counts from 1, `step` counts the optimizer steps taken.
#[derive(Serialize)]
pub struct Line<'a> {
    /// `step` (a training epoch so far), `epoch` (a whole one), `test` (the end of the run).
    pub event: &'a str,
    /// The epoch.
    pub epoch: usize,
    /// The step.
    pub step: usize,
    /// `train`, `validation` or `test`.
    pub split: &'a str,
    /// Loss, top-1, top-5 and the records they are means of.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Learning rate of the last step taken.
    pub lr: f64,
    /// Images per second.
    pub img_per_s: f64,
}

impl MetricsLog {
    /// Opens `path` and cuts it back to its first `keep` bytes.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn open(path: &Path, keep: u64) -> Result<Self, TrainError> {
        let open = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?;
            let bytes = keep.min(file.metadata()?.len());
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok((file, bytes))
        };
        let (file, bytes) = open().map_err(|e| TrainError::io("open", path, e))?;
        Ok(Self {
            path: path.into(),
            file,
            bytes,
        })
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
        Ok(())
    }

    /// Bytes written, for the checkpoint; they are on disk when this returns.
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
