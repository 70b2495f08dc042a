//! A batch: what a loader makes and a network takes.

use crate::ImageShape;
use crate::augmentation::Mix;

/// Normalised images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// N x C x H x W.
    pub pixels: Vec<f32>,
    /// N labels.
    pub labels: Vec<u16>,
    /// C, H and W.
    pub shape: ImageShape,
    /// What was mixed into the images, where [`crate::Augmentation::mixing`] did.
    pub mix: Option<Mix>,
    /// Which part of a batch this is, where ranks share one: see [`crate::Loader::shared`].
    pub share: Option<Share>,
}

/// What a rank knows of the batch that it has a share of.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The batch's images before this share's first.
    pub first: usize,
    /// Labels of the images that other ranks have, in order.
    pub others: Vec<u16>,
}

impl Batch {
    /// Number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Number of images in the whole batch, those of other ranks included.
    pub fn whole(&self) -> usize {
        let others = self.share.as_ref().map_or(0, |share| share.others.len());
        self.len() + others
    }

    /// True only of a share of fewer images than ranks.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Takes the first image out.
    pub(crate) fn drop_first(&mut self) {
        self.pixels.drain(..self.shape.values());
        self.labels.remove(0);
        if let Some(mix) = &mut self.mix {
            mix.labels.remove(0);
        }
    }
}
