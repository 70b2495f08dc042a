//! Applies `[fine_tune]`: loads the weights to start from, and freezes parts of the network.
//!
//! A resumed run reads its own checkpoint instead.

use shufflenet_model::{ShuffleNetV2, load_for_fine_tuning, parameters};

use crate::checkpoint;
use crate::checkpoint::store;
use crate::error::TrainError;
use crate::evaluation::trained::{chosen, weights_of};
use crate::recipe::fine_tune::FineTune;
use crate::recipe::optimizer::pattern;

/// `network` with the weights to start from, and what is to be said about them.
///
/// # Errors
/// What the checkpoint refuses; [`TrainError::Weights`] where it does not fit.
pub fn load(
    config: &FineTune,
    network: ShuffleNetV2,
) -> Result<(ShuffleNetV2, Vec<String>), TrainError> {
    let Some(from) = &config.from else {
        return Ok((network, Vec::new()));
    };
    let located = store::locate(from)?;
    let checkpoint = checkpoint::load(&located.folder)?;
    let file = located.file.unwrap_or(chosen(&checkpoint));
    let bytes = weights_of(&checkpoint, file, &located.folder)?;
    let path = located.folder.join(file);
    let (network, adapted) = load_for_fine_tuning(network, bytes).map_err(|source| {
        let path = path.clone();
        TrainError::Weights { path, source }
    })?;
    let mut note = format!("start      from {}", path.display());
    for change in adapted {
        note += &format!("; {change}");
    }
    Ok((network, vec![note]))
}

/// `network` with the frozen parts left out of training.
///
/// # Errors
/// [`TrainError::Value`]: a pattern without a parameter, or nothing left to train.
pub fn freeze(config: &FineTune, network: ShuffleNetV2) -> Result<ShuffleNetV2, TrainError> {
    let names: Vec<String> = parameters(&network)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    for pattern in &config.freeze {
        pattern::require_match("fine_tune.freeze", pattern, names.iter())?;
    }
    let is_frozen = |name: &str| config.freeze.iter().any(|p| pattern::matches(p, name));
    if names.iter().all(|name| is_frozen(name)) {
        return Err(TrainError::Value {
            key: "fine_tune.freeze".into(),
            found: format!("{:?}", config.freeze),
            accepted: "what leaves a parameter to train".into(),
        });
    }
    match config.freeze.is_empty() {
        true => Ok(network),
        false => Ok(network.freeze_parts(is_frozen)),
    }
}
