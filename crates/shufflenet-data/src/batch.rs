//! A batch: the output of a loader and the input of a network.

use crate::ImageShape;
use crate::augmentation::Mix;

/// Normalised images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The normalised pixels, N x C x H x W.
    pub pixels: Vec<f32>,
    /// The N labels.
    pub labels: Vec<u16>,
    /// Channels, height and width of each image.
    pub shape: ImageShape,
    /// The labels and the share that [`crate::Augmentation::mixing`] mixed in. `None`: the images are not mixed.
    pub mix: Option<Mix>,
    /// Which part of a batch this is, if several ranks share the batch: see [`crate::Loader::shared`].
    pub share: Option<Share>,
}

/// What a rank knows about the rest of a shared batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Number of the batch's images before the first image of this share.
    pub first: usize,
    /// Labels of the images of other ranks, in order.
    pub others: Vec<u16>,
}

impl Batch {
    /// `images` images of uniform noise from -1 to 1 with labels of `classes` classes, for benchmarks and checks.
    ///
    /// The numbers are the same everywhere. `start` is the place where they begin in an endless sequence, so batches
    /// with different `start` differ.
    pub fn noise(start: u32, images: usize, shape: ImageShape, classes: usize) -> Self {
        // Knuth's multiplicative hash: any noise will do.
        let hash = |i: usize| start.wrapping_add(i as u32).wrapping_mul(2_654_435_761) >> 8;
        let pixel = |i| hash(i) as f32 / 8_388_608.0 - 1.0;
        let label = |i| (hash(i) as usize % classes.max(1)) as u16;
        Self {
            pixels: (0..images * shape.values()).map(pixel).collect(),
            labels: (0..images).map(label).collect(),
            shape,
            mix: None,
            share: None,
        }
    }

    /// Number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Number of images in the whole batch, including those of other ranks.
    pub fn whole(&self) -> usize {
        let others = self.share.as_ref().map_or(0, |share| share.others.len());
        self.len() + others
    }

    /// Whether there are no images. Only a share of a batch with fewer images than ranks can be empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Removes the first image.
    pub(crate) fn drop_first(&mut self) {
        self.pixels.drain(..self.shape.values());
        self.labels.remove(0);
        if let Some(mix) = &mut self.mix {
            mix.labels.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tolerances of a GPU's self-check were chosen with this noise.
    #[test]
    fn noise_never_changes() {
        let shape = ImageShape {
            channels: 1,
            height: 1,
            width: 1,
        };
        let noise = Batch::noise(1 << 20, 3, shape, 10);
        assert_eq!(noise.pixels, [0.211_425_78, -0.552_506_3, 0.683_561_7]);
        assert_eq!(noise.labels, [6, 9, 9]);
    }
}
