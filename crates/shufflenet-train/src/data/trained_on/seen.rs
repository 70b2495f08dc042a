//! Detects weights that were trained on images that a run holds out, or on images of an evaluation, so that the accuracy is
//! too high.

use std::path::Path;

use shufflenet_data::Loader;

use crate::checkpoint::description::Description;
use crate::checkpoint::store;
use crate::display::words::thousands;
use crate::run::image_list;

const SEEN: &str = "it was trained on images that this run holds out, so the held-out figures are optimistic; the same \
                    data.validation and data.validation_seed hold out the same images";

/// A line if the weights that `then` describes were trained on images that the run `now` holds out.
///
/// This is the case if both have the same data by its SHA-256, and divide it in different ways. Other data is not compared
/// image by image. The images that the weights' own start or teachers were trained on are not known.
pub(crate) fn seen(then: &Description, now: &Description) -> Option<&'static str> {
    let [before, here] = [then, now].map(|of| &of.experiment);
    let is_same_data = then.data_sha256 == now.data_sha256;
    // With the same seed, a larger held-out part contains the smaller ones.
    let is_held_out = before.validation_seed() == here.validation_seed()
        && before.data.validation >= here.data.validation;
    (here.data.validation > 0.0 && is_same_data && !is_held_out).then_some(SEEN)
}

/// What to say if half of the images of `met` or more seem to be those that the network of the checkpoint in the folder
/// `checkpoint` has learned from, by the list in the folder of its run.
pub(crate) fn trained_images(
    checkpoint: &Path,
    description: &Description,
    met: &Loader,
) -> Option<String> {
    let set = met.dataset();
    if !set.is_encoded() {
        return None;
    }
    let trained = image_list::trained_on(&store::run_of(checkpoint)?, description)?;
    let is_known = |&&record: &&u32| {
        let image = set.file(record as usize);
        image.is_some_and(|(path, bytes)| {
            trained.contains(&(path.display().to_string(), bytes.to_string()))
        })
    };
    let known = met.indices().iter().filter(is_known).count();
    (known > 0 && known * 2 >= met.records()).then(|| {
        format!(
            "{} of {} images have path and size of images that the run trained on: if they are the same, the figures are \
             optimistic",
            thousands(known),
            thousands(met.records())
        )
    })
}
