//! Reads the history of a run from its folder: `config.toml`, `environment.json`, `metrics.jsonl`.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use toml::Table;

use crate::error::TrainError;
use crate::metrics::log;
use crate::recipe::distill::Distill;
use crate::recipe::progressive::{Stage, size_in};
use crate::refusals;
use crate::run::folder::{CONFIG, ENVIRONMENT};
use crate::run::pace::Slowdown;

/// The history of a run.
pub(super) struct History {
    pub name: String,
    /// The text of `config.toml`.
    pub config: String,
    /// Keys and values of `environment.json`.
    pub environment: Vec<(String, String)>,
    pub lines: Vec<HistoryLine>,
}

/// The fields of a line of `metrics.jsonl` that a report needs. Newer versions may write more.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HistoryLine {
    pub event: String,
    pub epoch: usize,
    pub step: usize,
    pub split: String,
    pub weights: Option<String>,
    pub loss: Option<f64>,
    pub top1: Option<f64>,
    #[serde(default)]
    pub lr: f64,
    /// `None`: the line is of a process that took no step of the epoch.
    pub img_per_s: Option<f64>,
}

impl History {
    /// Reads the run folder `path`.
    pub(super) fn read(path: &Path) -> Result<Self, TrainError> {
        let config = path.join(CONFIG);
        if !config.is_file() {
            let message = "is not a run folder: it has no config.toml";
            return Err(TrainError::checkpoint(path, message));
        }
        let config = fs::read_to_string(&config).map_err(|e| TrainError::io("read", &config, e))?;
        let metrics = path.join(log::NAME);
        let text = fs::read_to_string(&metrics).map_err(|e| TrainError::io("read", &metrics, e))?;
        let line = |(number, text): (usize, &str)| {
            refusals::from_json(text.as_bytes()).map_err(|words| {
                let message = format!("line {}: damaged: {words}", number + 1);
                TrainError::checkpoint(&metrics, message)
            })
        };
        // A run in progress may have written half a line. A complete line ends with a line feed.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().enumerate().map(line);
        Ok(Self {
            name: name(path),
            config,
            environment: environment(&path.join(ENVIRONMENT)),
            lines: lines.collect::<Result<_, _>>()?,
        })
    }

    /// The run's `[distill]`. `None`: it had no teacher.
    pub(super) fn distill(&self) -> Option<Distill> {
        let config: Table = self.config.parse().ok()?;
        config.get("distill")?.clone().try_into().ok()
    }

    /// The epochs' lines of a split, of the moving average where the run kept one.
    pub(super) fn epochs(&self, training: bool) -> Vec<&HistoryLine> {
        let of_split =
            |line: &&HistoryLine| line.event == "epoch" && (line.split == "train") == training;
        let mut lines: Vec<&HistoryLine> = self.lines.iter().filter(of_split).collect();
        if lines.iter().any(|line| line.weights.is_some()) {
            lines.retain(|line| line.weights.is_some());
        }
        lines
    }

    /// Name of the evaluated split.
    pub(super) fn evaluated(&self) -> &str {
        self.epochs(false)
            .last()
            .map_or("evaluation", |line| line.split.as_str())
    }

    /// Values of lines by epoch.
    pub(super) fn curve(
        &self,
        training: bool,
        value: fn(&HistoryLine) -> Option<f64>,
    ) -> Vec<(f64, f64)> {
        let lines = self.epochs(training).into_iter();
        lines
            .filter_map(|line| Some((line.epoch as f64, value(line)?)))
            .collect()
    }

    /// The learning rate by step, from all lines that have it.
    pub(super) fn rates(&self) -> Vec<(f64, f64)> {
        let lines = self.lines.iter();
        lines
            .filter(|line| line.split == "train")
            .map(|line| (line.step as f64, line.lr))
            .collect()
    }

    /// Images per second by epoch.
    pub(super) fn pace(&self) -> Vec<(f64, f64)> {
        self.curve(true, |line| line.img_per_s)
    }

    /// A note if the pace has fallen by a third at one size of the images.
    pub(super) fn slowdown(&self) -> Option<String> {
        let config: Table = self.config.parse().unwrap_or_default();
        let stages = config
            .get("train")
            .and_then(|train| train.get("progressive"));
        let stages: Vec<Stage> = stages
            .and_then(|stages| stages.clone().try_into().ok())
            .unwrap_or_default();
        let mut slowdown = Slowdown::default();
        self.epochs(true).iter().find_map(|line| {
            slowdown.note(line.epoch, size_in(&stages, line.epoch), line.img_per_s?)
        })
    }

    /// Median speed of the training epochs.
    pub(super) fn speed(&self) -> Option<f64> {
        let mut speeds: Vec<f64> = self
            .epochs(true)
            .iter()
            .filter_map(|line| line.img_per_s)
            .collect();
        speeds.sort_by(f64::total_cmp);
        speeds.get(speeds.len() / 2).copied()
    }
}

/// The name of the folder `path`, also if `path` is relative.
pub(super) fn name(path: &Path) -> String {
    let resolved = path.canonicalize();
    let resolved = resolved.as_deref().unwrap_or(path);
    let name = resolved.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Keys and values of the JSON object in the file `path`. Empty if there is none.
fn environment(path: &Path) -> Vec<(String, String)> {
    let bytes = fs::read(path).unwrap_or_default();
    let Ok(Value::Object(object)) = serde_json::from_slice(&bytes) else {
        return Vec::new();
    };
    let in_words = |value: Value| match value {
        Value::String(text) => text,
        Value::Array(parts) => {
            let parts = parts.iter().map(|part| part.as_str().unwrap_or("?"));
            parts.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let pairs = object.into_iter();
    pairs.map(|(key, value)| (key, in_words(value))).collect()
}
