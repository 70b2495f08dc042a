//! Progressive resizing: early epochs train on smaller images, which cost less in proportion to their area, and later
//! epochs on images of full size (fast.ai's DAWNBench entries, 2018; Tan & Le 2021, EfficientNetV2). A ShuffleNetV2
//! takes images of any size, because its classifier gets a mean over the map.
//!
//! Images are reduced on the device, after augmentation and normalisation. A pixel of the smaller image is the mean over
//! the pixels that it covers, as in PyTorch's `adaptive_avg_pool2d`. Evaluation always uses images of full size.

use burn::tensor::Tensor;
use burn::tensor::module::adaptive_avg_pool2d;
use serde::{Deserialize, Serialize};

use crate::error::{TrainError, require};

/// A size of the images for a part of the run. A list in ascending order: `progressive = [{ until_epoch = 10, size = 24 }]`.
/// After the last stage the images have their full size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The last epoch of this size.
    pub until_epoch: usize,
    /// The shorter side of the images, in pixels.
    pub size: usize,
}

/// Refuses stages out of order, and images without pixels.
///
/// # Errors
/// [`TrainError::Value`].
pub(crate) fn check(stages: &[Stage]) -> Result<(), TrainError> {
    let mut last = 0;
    for &Stage { until_epoch, size } in stages {
        let (until, accepted) = (
            "train.progressive.until_epoch",
            "more than the stage before",
        );
        require(until_epoch > last, until, until_epoch, accepted)?;
        require(
            size >= 1,
            "train.progressive.size",
            size,
            "1 or more pixels",
        )?;
        last = until_epoch;
    }
    Ok(())
}

/// Shorter side of the images of `epoch`, counted from 1. `None`: the images are not shrunk.
pub fn size_in(stages: &[Stage], epoch: usize) -> Option<usize> {
    let stage = stages.iter().find(|stage| epoch <= stage.until_epoch)?;
    Some(stage.size)
}

/// Cost of an image of `epoch`, counted from 1, relative to an image with a shorter side of `short` pixels: about its
/// share of the area.
pub fn cost(stages: &[Stage], epoch: usize, short: usize) -> f64 {
    let size = size_in(stages, epoch).map_or(short, |size| size.min(short));
    (size as f64 / short as f64).powi(2)
}

/// Cost of the first `epochs` epochs, of which the last may be a part, in epochs of images with a shorter side of `short`
/// pixels.
pub fn total_cost(stages: &[Stage], short: usize, epochs: f64) -> f64 {
    let (mut total, mut from) = (0.0, 0.0);
    for stage in stages {
        let until = epochs.clamp(from, (stage.until_epoch as f64).max(from));
        total += (until - from) * cost(stages, stage.until_epoch, short);
        from = until;
    }
    total + (epochs - from).max(0.0)
}

/// Height and width of the smallest images of a run whose images have `full` height and width.
pub fn smallest<'a>(stages: impl IntoIterator<Item = &'a Stage>, full: [usize; 2]) -> [usize; 2] {
    let sizes = stages.into_iter().map(|stage| stage.size);
    sizes.min().map_or(full, |size| shrunk(full, size))
}

/// `images`, `[batch, channels, height, width]`, with a shorter side of `size` pixels at most.
pub fn shrink(images: Tensor<4>, size: usize) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    let sides = shrunk([height, width], size);
    if sides == [height, width] {
        return images;
    }
    adaptive_avg_pool2d(images, sides)
}

/// Height and width of an image of `full` height and width after [`shrink`].
fn shrunk(full: [usize; 2], size: usize) -> [usize; 2] {
    let short = full[0].min(full[1]);
    full.map(|side| match size < short {
        true => (side * size / short).max(1),
        false => side,
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Shape, TensorData};

    use super::*;

    fn stages(of: &[(usize, usize)]) -> Vec<Stage> {
        let stage = |&(until_epoch, size)| Stage { until_epoch, size };
        of.iter().map(stage).collect()
    }

    #[test]
    fn each_epoch_has_the_size_of_its_stage() {
        let stages = stages(&[(2, 16), (3, 24)]);
        let sizes: Vec<_> = (1..=5).map(|epoch| size_in(&stages, epoch)).collect();
        assert_eq!(sizes, [Some(16), Some(16), Some(24), None, None]);
    }

    #[test]
    fn the_total_cost_is_the_sum_over_steps() {
        let (stages, short, steps) = (stages(&[(2, 16), (3, 24)]), 32, 5);
        for taken in 0..=25 {
            let each = (0..taken).map(|step| cost(&stages, step / steps + 1, short));
            let expected = each.sum::<f64>() / steps as f64;
            let found = total_cost(&stages, short, taken as f64 / steps as f64);
            assert!(
                (found - expected).abs() < 1e-12,
                "{taken}: {found}, {expected}"
            );
        }
    }

    #[test]
    fn stages_out_of_order_are_refused() {
        check(&stages(&[(2, 16), (3, 24)])).unwrap();
        for wrong in [&[(3, 16), (3, 24)][..], &[(0, 16)], &[(2, 0)]] {
            let line = check(&stages(wrong)).unwrap_err().to_string();
            assert!(line.contains("train.progressive"), "{line}");
        }
    }

    #[test]
    fn the_smallest_images_are_those_of_the_smallest_stage() {
        let of = |of: &[(usize, usize)]| smallest(&stages(of), [40, 30]);
        assert_eq!(of(&[]), [40, 30]);
        assert_eq!(of(&[(1, 24), (2, 15)]), [20, 15]);
        assert_eq!(of(&[(1, 64)]), [40, 30]);
    }

    #[test]
    fn a_pixel_is_the_mean_of_the_pixels_that_it_covers() {
        let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let images = TensorData::new(values, Shape::new([1, 1, 4, 6]));
        let images = Tensor::<4>::from_data(images, &Device::flex());
        let small = shrink(images.clone(), 2);
        assert_eq!(small.dims(), [1, 1, 2, 3]);
        let found = small.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(found, [3.5, 5.5, 7.5, 15.5, 17.5, 19.5]);
        assert_eq!(shrink(images, 4).dims(), [1, 1, 4, 6]);
    }
}
