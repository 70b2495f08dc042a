//! `metrics.jsonl`: one JSON object per line, appended as the run goes.
//!
//! A resumed run cuts the file back to where its checkpoint stood, so no step appears twice and a
//! line torn by a kill is gone. Beside it the same numbers are kept as a table (`metrics.csv`) and for
//! TensorBoard; both are written anew from this file at each start, and follow it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::files::sync_folder;
use crate::metrics_csv::MetricsCsv;
use crate::tally::Metrics;
use crate::tensorboard::{self, EventFile};

/// The table beside it.
pub const TABLE: &str = "metrics.csv";

/// An open `metrics.jsonl`.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    bytes: u64,
    table: MetricsCsv,
    events: EventFile,
}

/// One line. `epoch` counts from 1, `step` counts the optimizer steps taken.
#[derive(Clone, Serialize, Deserialize)]
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
    pub weights: Option<&'a str>,
    /// Loss, top-1, top-5 and the records they are means of.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Learning rate of the last step taken.
    pub lr: f64,
    /// Images per second.
    pub img_per_s: f64,
    /// When it was written, in seconds since 1970. 0 in lines from before it was noted.
    #[serde(default)]
    pub time: f64,
}

/// Seconds since 1970.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |time| time.as_secs_f64())
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
        // A line that is not ours is passed over: what was trained does not depend on it.
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

    /// Appends a line to what follows the file.
    fn copy(&mut self, line: &Line) -> Result<(), TrainError> {
        self.table.append(line)?;
        self.events.append(line)
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
