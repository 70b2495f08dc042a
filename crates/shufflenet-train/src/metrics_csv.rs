//! `metrics.csv`: the lines of `metrics.jsonl` as a table, for a spreadsheet.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::TrainError;
use crate::metrics_log::Line;

/// A table that is being written.
pub struct MetricsCsv {
    path: PathBuf,
    file: File,
}

impl MetricsCsv {
    /// A new file at `path`, in place of one that is there.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        let file = File::create(path).map_err(|e| TrainError::io("create", path, e))?;
        let mut table = Self {
            path: path.into(),
            file,
        };
        table.write("event,epoch,step,split,weights,loss,top1,top5,count,lr,img_per_s,time")?;
        Ok(table)
    }

    /// Appends a line; no name in one has a comma.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn append(&mut self, line: &Line) -> Result<(), TrainError> {
        let Line {
            event,
            epoch,
            step,
            split,
            weights,
            metrics,
            lr,
            img_per_s,
            time,
        } = line;
        let weights = weights.unwrap_or("");
        let (loss, top1, top5, count) = (metrics.loss, metrics.top1, metrics.top5, metrics.count);
        self.write(&format!(
            "{event},{epoch},{step},{split},{weights},{loss},{top1},{top5},{count},{lr},{img_per_s},{time}"
        ))
    }

    fn write(&mut self, row: &str) -> Result<(), TrainError> {
        let written = writeln!(self.file, "{row}");
        written.map_err(|e| TrainError::io("write", &self.path, e))
    }
}
