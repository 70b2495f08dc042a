//! Exports a trained network as a model: a folder that is a checkpoint, with the weights in float16, and a card.
//!
//! ```text
//! models/NAME/model.safetensors   float16, running variances float32, under the names of PyTorch's network
//!             README.md           the card (`card.rs`): data, recipe, processor, accuracy of this file
//!             classifier.json     classes, normalisation, size of the images, the experiment
//!             manifest.json  progress.json  optimizer.safetensors (without tensors)
//! ```
//!
//! The card's figures are those of the file that was written, evaluated before the folder gets its name.

use std::path::{Path, PathBuf};

use shufflenet_model::{num_parameters, weights};

use super::card::{Card, Origin};
use super::{in_float16, require_new_folder};
use crate::checkpoint::{self, Checkpoint, Progress, WEIGHTS};
use crate::data::trained_on::seen;
use crate::device;
use crate::display::words::{describe, thousands};
use crate::error::{TrainError, require};
use crate::evaluation::trained::{self, Trained, Weights};
use crate::evaluation::{Evaluated, EvaluationReport, EvaluationRequest, evaluate};
use crate::files::{write_folder, write_synced};

/// Name of the card in the folder.
const CARD: &str = "README.md";

/// The network to export as a model, and the parts of the card that are not in the checkpoint.
pub struct ShipRequest {
    /// The checkpoint, see [`crate::checkpoint::store::locate`].
    pub checkpoint: PathBuf,
    /// Which weights of the checkpoint. `None`: the weights that `best` was chosen by.
    pub weights: Option<Weights>,
    /// Licence of the weights.
    pub licence: String,
    /// Path of the data for the card's figures. `None`: where the run had it.
    pub data: Option<PathBuf>,
    /// The folder to make.
    pub out: PathBuf,
}

/// Makes the folder. Returns lines on what was written.
///
/// # Errors
/// Errors of the checkpoint or the folder; [`TrainError::Weights`] for weights beyond float16; errors of the data, if the
/// request names it.
pub fn ship(request: &ShipRequest) -> Result<Vec<String>, TrainError> {
    let out = &request.out;
    require_new_folder(out)?;
    let licence = request.licence.trim();
    let is_line = !licence.is_empty() && !licence.contains('\n');
    let accepted = "one line, the licence of the weights";
    let found = match licence {
        "" => "not given".into(),
        text => format!("`{}`", text.replace('\n', "` `")),
    };
    require(is_line, "--licence", found, accepted)?;
    let device = device::open(device::DEFAULT)?;
    let trained = trained::open(&request.checkpoint, request.weights, &device)?;
    let card = trained.folder.join(CARD);
    let found = format!("{}, a model with a card already", trained.folder.display());
    // The card of a second export could not name the run.
    require(
        !card.is_file(),
        "--checkpoint",
        found,
        "a run; copy the folder of a model",
    )?;
    let (network, origin) = (&trained.classifier.network, Origin::of(&trained));
    let half = in_float16(&trained)?;
    let (config, parameters) = (network.config().with_stem(), num_parameters(network));
    let run = trained.folder.clone();
    let shipped = checkpoint_of(trained, half, out)?;
    let mut lines = Vec::new();
    write_folder(out, |folder| {
        checkpoint::write(folder, &shipped)?;
        let evaluated = measure(folder, request)?.map(|evaluated| {
            // The list of images that the network was trained on stays with the run.
            let trained_images =
                seen::trained_images(&run, &shipped.description, &evaluated.loader);
            EvaluationReport {
                trained_images: trained_images.filter(|_| request.data.is_some()),
                ..evaluated.report
            }
        });
        let card = Card {
            out,
            network: &config,
            parameters,
            checkpoint: &shipped,
            origin: &origin,
            measured_on: request.data.as_deref(),
            evaluated: evaluated.as_ref(),
            licence,
        };
        lines = vec![
            format!(
                "{}: {config}, {WEIGHTS} in float16, {} bytes",
                out.display(),
                thousands(shipped.weights.len())
            ),
            match &evaluated {
                Ok(report) => format!("{}: {}", report.split, describe(&report.metrics)),
                Err(reason) => format!("not evaluated: {reason}"),
            },
        ];
        write_synced(&folder.join(CARD), card.text()?.as_bytes())
    })?;
    Ok(lines)
}

/// The checkpoint of the folder.
fn checkpoint_of(trained: Trained, half: Vec<u8>, out: &Path) -> Result<Checkpoint, TrainError> {
    let Checkpoint {
        progress,
        description,
        ..
    } = trained.checkpoint;
    let optimizer = weights::no_tensors().map_err(|source| TrainError::Weights {
        path: out.into(),
        source,
    })?;
    Ok(Checkpoint {
        weights: half,
        average: None,
        optimizer,
        // The metrics stay with the run.
        progress: Progress {
            metrics_bytes: 0,
            ..progress
        },
        description,
    })
}

/// The figures of the checkpoint in `folder`, or the reason why there are none.
fn measure(folder: &Path, request: &ShipRequest) -> Result<Result<Evaluated, String>, TrainError> {
    let evaluated = evaluate(&EvaluationRequest {
        data: request.data.clone(),
        ..EvaluationRequest::new(folder)
    });
    match evaluated {
        Ok(evaluated) if evaluated.report.drawn_anew => Ok(Err(format!(
            "the data has changed since the run: the {} part, drawn anew, may have images that the run trained on",
            evaluated.report.split
        ))),
        Ok(evaluated) => Ok(Ok(evaluated)),
        Err(error) if request.data.is_some() => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}
