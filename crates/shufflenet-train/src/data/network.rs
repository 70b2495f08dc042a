//! The network of an experiment before a run. `[model]` may leave classes and channels to the data. `summary` and
//! `bench` fill them in here, as a run does ([`crate::data::sources`]), but do without data that cannot be opened.

use shufflenet_model::ModelConfig;

use crate::data::sources;
use crate::error::TrainError;
use crate::experiment::Experiment;

/// A network that fits its data.
pub struct Fitted {
    /// The network, with classes and channels where they are known.
    pub model: ModelConfig,
    /// Height and width of the images in pixels. `None`: not known.
    pub size: Option<[usize; 2]>,
    /// The error of data that cannot be opened.
    pub error: Option<TrainError>,
}

/// The network of `experiment`, fitted to its training images, which are not decoded.
pub fn fitted(experiment: &Experiment) -> Fitted {
    let mut model = experiment.model.clone();
    let data = &experiment.data;
    let set = sources::training_split(experiment)
        .and_then(|split| sources::part(experiment, &data.root, split));
    let (size, error) = match set {
        Ok(set) => {
            model.classes.get_or_insert(set.classes());
            model.input_channels.get_or_insert(set.shape.channels);
            (Some([set.shape.height, set.shape.width]), None)
        }
        Err(error) if data.format.is_encoded() => {
            model.input_channels.get_or_insert(data.options.channels);
            (Some([data.options.size as usize; 2]), Some(error))
        }
        Err(error) => (None, Some(error)),
    };
    Fitted { model, size, error }
}
