//! Detects weights that were trained on images that a run holds out, so that the run's held-out accuracy is too high.

use crate::checkpoint::description::Description;

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
