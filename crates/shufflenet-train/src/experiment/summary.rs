//! The network of an experiment, or of a command line, as a table of layers.

use std::path::Path;

use shufflenet_model::{ShuffleNetV2, Summary};

use crate::device;
use crate::error::TrainError;
use crate::experiment::settings;

/// Builds the network that `config` and `overrides` describe and sums it up for images of `input`:
/// channels (which then replace the configured ones), height and width. Without `input` the images are
/// what the stem was made for: 32x32 for `cifar`, else 224x224.
///
/// # Errors
/// What reading the configuration refuses, and [`TrainError::Model`].
pub fn summarise(
    config: Option<&Path>,
    overrides: &[String],
    input: Option<[usize; 3]>,
) -> Result<Summary, TrainError> {
    let mut model = settings::load_model(config, overrides)?;
    let [height, width] = match (input, model.stem()) {
        (Some([channels, height, width]), _) => {
            model.input_channels = Some(channels);
            [height, width]
        }
        (None, stem) => [stem.customary_size(); 2],
    };
    model.validate(height, width)?;
    let network = ShuffleNetV2::new(&model, 0, &device::open(device::DEFAULT)?)?;
    Ok(Summary::of(&network, height, width)?)
}
