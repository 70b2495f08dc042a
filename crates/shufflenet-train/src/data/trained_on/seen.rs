//! Whether a network has learned from images that a run holds out or that it is evaluated on, so that the figures are too
//! good.

use std::path::Path;

use shufflenet_data::Loader;

use crate::checkpoint::description::Description;
use crate::display::words::thousands;
use crate::run::image_list;

const SEEN: &str = "it was trained on images that this run holds out, so the held-out figures are too good; the same \
                    data.validation and data.validation_seed hold out the same images";

/// What to say if the weights that `then` describes have learned from images that the run `now` holds out.
///
/// Both have the same data by its SHA-256, and divide it in different ways. Other data is not compared image by image, and
/// what the weights' own start or teachers have learned from is not known.
pub(crate) fn seen(then: &Description, now: &Description) -> Option<&'static str> {
    let [before, here] = [then, now].map(|of| &of.experiment);
    let is_same_data = then.data_sha256 == now.data_sha256;
    // Of one seed, a larger held-out part contains the smaller ones.
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
    // RUN/checkpoints/step-001234
    let folder = checkpoint.canonicalize().ok()?;
    let trained = image_list::trained_on(folder.ancestors().nth(2)?, description)?;
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
             too good",
            thousands(known),
            thousands(met.records())
        )
    })
}
