//! The network of an experiment, or of a command line, as a table of layers.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use shufflenet_model::{ShuffleNetV2, Summary};

use crate::checkpoint::{self, store};
use crate::data::network::{self, Fitted};
use crate::device;
use crate::error::TrainError;
use crate::experiment::settings;
use crate::recipe::distill::Distill;

/// A network and its teachers.
#[derive(Clone, Debug, Serialize)]
pub struct Summarised {
    /// The network.
    #[serde(flatten)]
    pub network: Summary,
    /// Why the number of classes is assumed. Empty: it is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub assumed: String,
    /// A line on each teacher, and one on the loss.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teacher: Vec<String>,
}

impl fmt::Display for Summarised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)?;
        if !self.assumed.is_empty() {
            write!(f, "\nclasses  {}", self.assumed)?;
        }
        self.teacher
            .iter()
            .try_for_each(|line| write!(f, "\nteacher  {line}"))
    }
}

/// Builds the network that `config` and `overrides` describe, and summarises it for images of size `input`:
/// channels (which replace the configured ones), height and width. Without `input` the size is that of the experiment's
/// data, or, without data, the usual one for the stem: 32x32 for `cifar`, else 224x224.
///
/// # Errors
/// What reading the configuration refuses, and [`TrainError::Model`].
pub fn summarise(
    config: Option<&Path>,
    overrides: &[String],
    input: Option<[usize; 3]>,
) -> Result<Summarised, TrainError> {
    let experiment = config.map(|config| settings::load(config, overrides));
    let experiment = experiment.transpose()?;
    let (mut model, size, assumed) = match &experiment {
        Some(experiment) => {
            let Fitted { model, size, error } = network::fitted(experiment);
            let assumed = match (model.classes, error) {
                (None, Some(error)) => format!("{} are assumed: {error}", model.classes()),
                _ => String::new(),
            };
            (model, size, assumed)
        }
        None => (settings::load_model(None, overrides)?, None, String::new()),
    };
    let [height, width] = match input {
        Some([channels, height, width]) => {
            model.input_channels = Some(channels);
            [height, width]
        }
        None => size.unwrap_or([model.stem().customary_size(); 2]),
    };
    model.validate(height, width)?;
    let network = ShuffleNetV2::new(&model, 0, &device::open(device::DEFAULT)?)?;
    let distill = experiment.and_then(|experiment| experiment.distill);
    Ok(Summarised {
        network: Summary::of(&network, height, width)?,
        assumed,
        teacher: distill.as_ref().map(in_words).unwrap_or_default(),
    })
}

/// Lines on the teachers. A missing teacher is reported in its line, because the summary does not need it.
fn in_words(distill: &Distill) -> Vec<String> {
    let teachers = distill.from.0.iter().map(|path| {
        let place = path.display();
        let located = store::locate(path).map_err(|error| error.to_string());
        located.map_or_else(
            |error| error,
            |located| match checkpoint::description(&located.folder) {
                Some(then) => format!("{place}: {}", then.experiment.model.in_words(None)),
                None => format!("{place}: its classifier.json cannot be read"),
            },
        )
    });
    teachers.chain([distill.to_string()]).collect()
}
