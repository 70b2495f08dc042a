//! `metrics.csv`: the lines of `metrics.jsonl` as a table, for a spreadsheet.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::TrainError;
use crate::files::csv_row;
use crate::metrics::line::Line;

const COLUMNS: [&str; 12] = [
    "event",
    "epoch",
    "step",
    "split",
    "weights",
    "loss",
    "top1",
    "top5",
    "count",
    "lr",
    "img_per_s",
    "time",
];

/// A table that is being written.
pub struct MetricsCsv {
    path: PathBuf,
    file: File,
}

impl MetricsCsv {
    /// Creates the file `path`. An existing file is replaced.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        let file = File::create(path).map_err(|e| TrainError::io("create", path, e))?;
        let mut table = Self {
            path: path.into(),
            file,
        };
        table.write(COLUMNS.map(String::from))?;
        Ok(table)
    }

    /// Appends a line.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn append(&mut self, line: &Line) -> Result<(), TrainError> {
        let metrics = &line.metrics;
        self.write([
            line.event.into(),
            line.epoch.to_string(),
            line.step.to_string(),
            line.split.into(),
            line.weights.unwrap_or("").into(),
            metrics.loss.to_string(),
            metrics.top1.to_string(),
            metrics.top5.to_string(),
            metrics.count.to_string(),
            line.lr.to_string(),
            line.img_per_s
                .map_or(String::new(), |speed| speed.to_string()),
            line.time.to_string(),
        ])
    }

    fn write(&mut self, row: [String; COLUMNS.len()]) -> Result<(), TrainError> {
        let written = self.file.write_all(csv_row(row).as_bytes());
        written.map_err(|e| TrainError::io("write", &self.path, e))
    }
}
