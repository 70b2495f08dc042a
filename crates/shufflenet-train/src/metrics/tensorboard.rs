//! Metrics as a TensorBoard event file, `events.out.tfevents.*`.
//!
//! The file is a TFRecord file. For each record it has the length, a checksum of the length, the bytes and a
//! checksum of the bytes. A checksum is CRC-32C, rotated and offset (`tensorflow/core/lib/hash/crc32c.h`). A
//! record is an `Event` of `tensorflow/core/util/event.proto`. Scalars need only four of its fields, so the
//! protocol buffers are written by hand:
//!
//! ```text
//! Event   1 wall_time: double   2 step: int64   3 file_version: string   5 summary: Summary
//! Summary 1 value: repeated Value
//! Value   1 tag: string         2 simple_value: float
//! ```
//!
//! `tests/tensorboard.rs` reads such a file back. TensorBoard reads it, too.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::TrainError;
use crate::metrics::line::Line;

/// A name that TensorBoard recognises as an event file.
pub const NAME: &str = "events.out.tfevents.0.shufflenet";

/// An event file that is being written.
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Creates the file `path`. An existing file is replaced.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn create(path: &Path, time: f64) -> Result<Self, TrainError> {
        let file = File::create(path).map_err(|e| TrainError::io("create", path, e))?;
        let mut events = Self {
            path: path.into(),
            file,
        };
        let mut event = event(time, 0);
        bytes_field(&mut event, 3, b"brain.Event:2");
        events.write(&event)?;
        Ok(events)
    }

    /// Appends the numbers of a line of metrics, under `train/loss`, `validation/top1`, `test_ema/loss`...
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn append(&mut self, line: &Line) -> Result<(), TrainError> {
        let mut part = match line.weights {
            Some(weights) => format!("{}_{weights}", line.split),
            None => line.split.to_string(),
        };
        if line.event == "step" {
            part += "_steps";
        }
        let metrics = &line.metrics;
        let mut values = vec![
            ("loss", metrics.loss),
            ("top1", metrics.top1),
            ("top5", metrics.top5),
        ];
        values.extend(line.img_per_s.map(|speed| ("images_per_second", speed)));
        if line.split == "train" {
            values.push(("learning_rate", line.lr));
        }
        let mut summary = Vec::new();
        for (name, number) in values {
            let mut value = Vec::new();
            bytes_field(&mut value, 1, format!("{part}/{name}").as_bytes());
            key(&mut value, 2, FIXED32);
            value.extend((number as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &value);
        }
        let mut event = event(line.time, line.step as u64);
        bytes_field(&mut event, 5, &summary);
        self.write(&event)
    }

    /// One TFRecord.
    fn write(&mut self, event: &[u8]) -> Result<(), TrainError> {
        let length = (event.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(checksum(&length).to_le_bytes());
        record.extend(event);
        record.extend(checksum(event).to_le_bytes());
        let written = self.file.write_all(&record);
        written.map_err(|e| TrainError::io("write", &self.path, e))
    }
}

fn event(time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, FIXED64);
    event.extend(time.to_le_bytes());
    key(&mut event, 2, VARINT);
    varint(&mut event, step);
    event
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

fn key(message: &mut Vec<u8>, field: u64, kind: u64) {
    varint(message, field << 3 | kind);
}

fn bytes_field(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(message, field, BYTES);
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// A number in groups of seven bits, the lowest first. The highest bit of a byte says that more bytes follow.
fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

/// TFRecord's masked CRC-32C.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}
