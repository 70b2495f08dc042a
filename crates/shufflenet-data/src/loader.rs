//! Batches in the order in which a training loop or an evaluation takes them.
//!
//! Batch `b` of epoch `e` is a function of the loader's settings alone: an epoch can be entered at
//! any batch, and a record looks the same whatever the batch size. Batches are made one at a time,
//! when they are asked for.

use std::borrow::Cow;
use std::sync::Arc;

use crate::augmentation::{Placement, render};
use crate::random::epoch_order;
use crate::{Augmentation, Dataset, ImageShape, Normalization};

/// Normalised images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// N x C x H x W.
    pub pixels: Vec<f32>,
    /// N labels.
    pub labels: Vec<u16>,
    /// C, H and W.
    pub shape: ImageShape,
}

impl Batch {
    /// Number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never true of a loader's batch.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Records of a set, as batches: in the given order and unchanged, unless told otherwise.
#[derive(Clone, Debug)]
pub struct Loader {
    dataset: Arc<Dataset>,
    indices: Vec<u32>,
    batch_size: usize,
    /// What each pixel value becomes, by channel.
    tables: Vec<[f32; 256]>,
    /// Seed of the order and of the augmentation.
    seed: Option<u64>,
    augmentation: Augmentation,
    drop_last: bool,
}

impl Loader {
    /// The records `indices` of `dataset`, in that order, `batch_size` at a time, the last batch
    /// with what remains.
    ///
    /// # Panics
    /// Where `batch_size` is 0, an index is not a record's, or `normalization` has another number of
    /// channels: check those of a user with [`Normalization::check`].
    pub fn new(
        dataset: Arc<Dataset>,
        indices: Vec<u32>,
        batch_size: usize,
        normalization: Normalization,
    ) -> Self {
        let tables = normalization.tables();
        assert!(batch_size > 0, "a batch has at least one record");
        assert_eq!(
            tables.len(),
            dataset.shape.channels,
            "channels normalised, of the images"
        );
        let foreign = indices
            .iter()
            .find(|&&index| index as usize >= dataset.len());
        assert_eq!(foreign, None, "not a record of {}", dataset.name);
        Self {
            dataset,
            indices,
            batch_size,
            tables,
            seed: None,
            augmentation: Augmentation::default(),
            drop_last: false,
        }
    }

    /// Visits the records in another order each epoch, [`epoch_order`].
    pub fn shuffled(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Changes images at random, by the seed given to [`Loader::shuffled`], 0 without one.
    pub fn augmented(mut self, augmentation: Augmentation) -> Self {
        self.augmentation = augmentation;
        self
    }

    /// Leaves out the last batch of an epoch where it is smaller than the others.
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// The set that the records are of.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Number of records, those that [`Loader::drop_last`] leaves out included.
    pub fn records(&self) -> usize {
        self.indices.len()
    }

    /// Batches an epoch: 0 where `drop_last` leaves none.
    pub fn batches(&self) -> usize {
        match self.drop_last {
            true => self.indices.len() / self.batch_size,
            false => self.indices.len().div_ceil(self.batch_size),
        }
    }

    /// The batches of `epoch` from number `first_batch` on.
    pub fn epoch(
        &self,
        epoch: u64,
        first_batch: usize,
    ) -> impl ExactSizeIterator<Item = Batch> + '_ {
        let order = match self.seed {
            Some(seed) => Cow::Owned(epoch_order(&self.indices, seed, epoch)),
            None => Cow::Borrowed(&self.indices[..]),
        };
        (first_batch..self.batches()).map(move |batch| {
            let start = batch * self.batch_size;
            let end = order.len().min(start + self.batch_size);
            self.assemble(&order[start..end], epoch)
        })
    }

    fn assemble(&self, records: &[u32], epoch: u64) -> Batch {
        let shape = self.dataset.shape;
        let mut pixels = vec![0.0; records.len() * shape.values()];
        for (&record, out) in records.iter().zip(pixels.chunks_exact_mut(shape.values())) {
            let placement = self
                .augmentation
                .draw(self.seed.unwrap_or(0), epoch, record);
            let image = self.dataset.image(record as usize);
            render(image, shape, placement, &self.tables, out);
        }
        let label = |&record: &u32| self.dataset.labels()[record as usize];
        let labels = records.iter().map(label).collect();
        Batch {
            pixels,
            labels,
            shape,
        }
    }
}
