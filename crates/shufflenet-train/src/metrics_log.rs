//! `metrics.jsonl`: one JSON object per line, appended as the run goes.
//!
//! A resumed run cuts the file back to where its checkpoint stood, so no step appears twice and a
//! line torn by a kill is gone.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::TrainError;
use crate::files::sync_folder;
use crate::tally::Metrics;

/// An open `metrics.jsonl`.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// One line. `epoch` counts from 1, `step` counts the optimizer steps taken.
#[derive(Clone, Serialize)]
pub struct Line<'a> {
    /// `step` (a training epoch so far), `epoch` (its end), `test` (the end of the run).
    pub event: &'a str,
    /// The epoch.
    pub epoch: usize,
    /// The step.
    pub step: usize,
    /// `train`, `validation` or `test`.
    pub split: &'a str,
    /// `ema` where the moving average of the weights was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<&'static str>,
    /// Loss, top-1, top-5 and the records they are means of.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Learning rate of the last step taken.
    pub lr: f64,
    /// Images per second.
    pub img_per_s: f64,
}

impl MetricsLog {
    /// Opens `path` and cuts it back to the whole lines among its first `keep` bytes. Also says how many
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
            Ok((file, bytes))
        };
        let (file, bytes) = open().map_err(|e| TrainError::io("open", path, e))?;
        sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        let log = Self {
            path: path.into(),
            file,
            bytes,
        };
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
