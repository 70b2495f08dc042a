//! The card of a shipped network: what it is, where it comes from and how good it is, in Markdown.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::checkpoint::store;
use crate::checkpoint::{Checkpoint, WEIGHTS};
use crate::display::words::{counted, first_classes, thousands};
use crate::error::TrainError;
use crate::evaluation::EvaluationReport;
use crate::evaluation::trained::{Trained, Weights};
use crate::experiment::settings;
use crate::files::hex;
use crate::metrics::line::Line;
use crate::metrics::log;
use crate::run::folder::ENVIRONMENT;

/// The records of a checkpoint's run. Empty if the checkpoint does not belong to a run.
pub(super) struct Origin {
    /// Which of the checkpoint's weights.
    weights: Weights,
    /// The content of `environment.json`.
    environment: Value,
    /// Training records. `None`: not known.
    records: Option<u64>,
}

impl Origin {
    pub fn of(trained: &Trained) -> Self {
        let run = store::run_of(&trained.folder);
        let read = |name: &str| fs::read_to_string(run.as_ref()?.join(name)).ok();
        let environment = read(ENVIRONMENT).unwrap_or_default();
        let environment: Value = serde_json::from_str(&environment).unwrap_or_default();
        let records = environment.get("training_records").and_then(Value::as_u64);
        // The first epoch of an earlier version's run drew every record, if it left no ragged batch out.
        let train = &trained.checkpoint.description.experiment.train;
        let drawn = || {
            let metrics = read(log::NAME).filter(|_| !train.drop_last)?;
            let lines = metrics.lines().map(serde_json::from_str::<Line>);
            let mut lines = lines.flatten();
            let first = lines.find(|line| line.event == "epoch" && line.split == "train")?;
            Some(first.metrics.count)
        };
        Self {
            weights: match trained.checkpoint.average.is_some() && trained.weights != WEIGHTS {
                true => Weights::Ema,
                false => Weights::Raw,
            },
            records: records.or_else(drawn),
            environment,
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.environment.get(key)?.as_str()
    }

    /// Processor, device, threads and build.
    fn machine(&self) -> Option<String> {
        let threads = self.environment.get("threads")?.as_u64()?;
        Some(format!(
            "{}, device {}, {}; shufflenet {} ({})",
            self.text("cpu")?,
            self.text("device")?,
            counted(threads as usize, "thread"),
            self.text("version")?,
            self.text("commit")?
        ))
    }
}

/// A card.
pub(super) struct Card<'a> {
    /// The folder of the network.
    pub out: &'a Path,
    /// The network, in words.
    pub network: &'a str,
    pub parameters: usize,
    /// The content of the folder.
    pub checkpoint: &'a Checkpoint,
    pub origin: &'a Origin,
    /// Path of the data that the folder's weights were evaluated on. `None`: where the run had it.
    pub measured_on: Option<&'a Path>,
    /// The figures of the folder's weights, or why there are none.
    pub evaluated: Result<&'a EvaluationReport, &'a String>,
    pub licence: &'a str,
}

impl Card<'_> {
    /// The card's text.
    ///
    /// # Errors
    /// [`TrainError::Encode`], which today's types do not reach.
    pub fn text(&self) -> Result<String, TrainError> {
        let description = &self.checkpoint.description;
        let experiment = &description.experiment;
        let recipe = settings::to_toml(experiment)?;
        let out = self.out.display();
        // An import that was told of neither has made up data and a recipe.
        let is_trained = !description.has_no_data();
        let name = self.out.file_name().unwrap_or_default().to_string_lossy();
        let mut rows = vec![("network", self.network())];
        rows.push(("classes", self.classes()));
        if is_trained {
            rows.push(("data", self.data()));
            rows.push((
                "recipe",
                format!(
                    "`{}`, below; SHA-256 of the configuration `{}`",
                    experiment.name,
                    hex(&Sha256::digest(recipe.as_bytes()))
                ),
            ));
        }
        rows.push(("training", self.training()));
        let machine = self.origin.machine();
        rows.push(("processor", machine.unwrap_or("not known".into())));
        rows.push(("accuracy of this file", self.accuracy()));
        let weights = &self.checkpoint.weights;
        rows.push((
            "file",
            format!(
                "`{WEIGHTS}`, {} bytes, float16, running variances float32; SHA-256 `{}`",
                thousands(weights.len()),
                hex(&Sha256::digest(weights))
            ),
        ));
        rows.push(("licence of the weights", escaped(self.licence)));
        let rows: String = rows
            .iter()
            .map(|(key, value)| format!("| {key} | {} |\n", value.replace('|', "\\|")))
            .collect();
        let own = is_trained.then_some(&*experiment.data.root);
        let evaluate = self.measured_on.or(own).map_or(String::new(), |data| {
            format!(
                "shufflenet eval --checkpoint {out} --data {}\n",
                data.display()
            )
        });
        let recipe = match is_trained {
            true => format!("\n## Recipe\n\n```toml\n{recipe}```\n"),
            false => String::new(),
        };
        Ok(format!(
            "# {name}\n\n| | |\n|---|---|\n{rows}\n## Use\n\nThis folder is a checkpoint:\n\n```sh\n\
             shufflenet predict --checkpoint {out} photo.jpg\n\
             {evaluate}\
             shufflenet train --data photos --from {out}\n\
             ```\n{recipe}"
        ))
    }

    fn network(&self) -> String {
        let [channels, height, width] = self.checkpoint.description.input;
        format!(
            "ShuffleNetV2, {}, images of {channels}x{height}x{width}, {}",
            self.network,
            counted(self.parameters, "parameter")
        )
    }

    fn classes(&self) -> String {
        let names = self.checkpoint.description.class_names.iter();
        let names: Vec<String> = names.map(|name| escaped(name)).collect();
        first_classes(&names, 10)
    }

    fn data(&self) -> String {
        let description = &self.checkpoint.description;
        let format = description.experiment.data.format.name();
        let mut text = format!("`{format}`, {}", in_code(&description.experiment.data.root));
        if let Some(records) = self.origin.records {
            text += &format!(", {} trained on", counted(records as usize, "record"));
        }
        if !description.data_sha256.is_empty() {
            text += &format!("; SHA-256 `{}`", description.data_sha256);
        }
        text
    }

    fn training(&self) -> String {
        let (progress, experiment) = (
            &self.checkpoint.progress,
            &self.checkpoint.description.experiment,
        );
        let train = &experiment.train;
        if progress.step == 0 {
            return "imported weights".into();
        }
        let mut text = format!(
            "seed {}, after epoch {} of {} ({})",
            train.seed,
            progress.epochs,
            train.epochs,
            counted(progress.step, "step")
        );
        if let (Weights::Ema, Some(decay)) = (self.origin.weights, train.ema_decay) {
            text += &format!(", moving average {decay} of the weights");
        }
        if let Some(from) = &experiment.fine_tune.from {
            text += &format!(", started from {}", in_code(from));
        }
        if let Some(distill) = &experiment.distill {
            let teachers: Vec<String> = distill.from.0.iter().map(|from| in_code(from)).collect();
            text += &format!(", taught by {}: {}", teachers.join(", "), distill);
        }
        text
    }

    fn accuracy(&self) -> String {
        let report = match self.evaluated {
            Ok(report) => report,
            Err(reason) => return format!("not evaluated: {}", escaped(reason)),
        };
        let metrics = &report.metrics;
        let mut caveat = match report.chosen_by_this_split {
            true => "; the epoch was chosen on this same part".to_string(),
            false => String::new(),
        };
        if let Some(trained_images) = &report.trained_images {
            caveat += &format!("; {trained_images}");
        }
        let part = match report.split.as_str() {
            "all" => "record".into(),
            split => format!("{split} record"),
        };
        let experiment = &self.checkpoint.description.experiment;
        format!(
            "top-1 {:.2} %, loss {:.4} on {} of {}{caveat}",
            metrics.top1 * 100.0,
            metrics.loss,
            counted(metrics.count as usize, &part),
            in_code(self.measured_on.unwrap_or(&experiment.data.root))
        )
    }
}

/// Escapes text for Markdown, so that it is shown as it is. Line breaks become spaces, because a row of a table is one
/// line.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '~' => escaped.extend(['\\', letter]),
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// The last part of a path, in Markdown's code.
fn in_code(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    format!("`{}`", name.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are_written() {
        assert_eq!(escaped("great_white, *new*"), "great\\_white, \\*new\\*");
        assert_eq!(escaped("<b>\n[x](y)"), "\\<b\\> \\[x\\](y)");
    }
}
