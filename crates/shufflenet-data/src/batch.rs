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
    /// What [`crate::Augmentation::mixing`] mixed into the images. `None`: nothing.
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
