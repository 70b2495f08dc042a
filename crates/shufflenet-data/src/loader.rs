//! Batches in the order in which training or evaluation uses them.
//!
//! Batch `b` of epoch `e` is a function of the loader's settings alone. So an epoch can start at any batch,
//! a record has the same pixels for every batch size, and any number of threads can prepare batches ahead
//! ([`crate::prefetch`]) without changing them. (Images mixed in pairs also depend on their batch.) If
//! several processes, or ranks, train together, each makes its share of every batch: exactly the images
//! that a single process would make ([`Loader::shared`]).

use std::ops::Range;
use std::sync::Arc;

use crate::batch::{Batch, Share};
use crate::prefetch::Batches;
use crate::random::{Purpose, epoch_order, stream};
use crate::{Augmentation, DataError, Dataset, Normalization};

/// The records of a set in batches. By default they are in the given order and unchanged.
#[derive(Clone, Debug)]
pub struct Loader {
    dataset: Arc<Dataset>,
    indices: Arc<Vec<u32>>,
    batch_size: usize,
    /// The normalised value of each pixel value, by channel.
    tables: Arc<Vec<[f32; 256]>>,
    /// Seed of the order and the augmentation.
    seed: Option<u64>,
    augmentation: Augmentation,
    drop_last: bool,
    workers: usize,
    /// Rank and number of ranks.
    shared: (usize, usize),
}

impl Loader {
    /// Creates a loader of the records `indices` of `dataset`, in the given order, `batch_size` per batch.
    /// The last batch has the remaining records.
    ///
    /// # Panics
    /// If `batch_size` is 0, an index is not that of a record, or `normalization` has another number of
    /// channels: check user input with [`Normalization::check`].
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
            indices: Arc::new(indices),
            batch_size,
            tables: Arc::new(tables),
            seed: None,
            augmentation: Augmentation::default(),
            drop_last: false,
            workers: 0,
            shared: (0, 1),
        }
    }

    /// Visits the records in a different order in each epoch, see [`epoch_order`].
    pub fn shuffled(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Changes images at random, with the seed given to [`Loader::shuffled`], or seed 0 without one.
    pub fn augmented(mut self, augmentation: Augmentation) -> Self {
        self.augmentation = augmentation;
        self
    }

    /// Leaves out the last batch of an epoch if it is smaller than the others.
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// Number of threads that prepare batches ahead, two batches each. 0, the default: each batch is made
    /// when it is requested. The batches are the same for any number.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Makes only the share of rank `rank` of `ranks` of every batch. Shares differ by at most one image
    /// and follow each other in the order of the ranks.
    pub fn shared(mut self, rank: usize, ranks: usize) -> Self {
        self.shared = (rank, ranks);
        self
    }

    /// Number of images in the smallest share of the smallest batch of an epoch.
    pub fn smallest_share(&self) -> usize {
        let ragged = self.indices.len() % self.batch_size;
        let smallest = match ragged {
            0 => self.batch_size,
            _ if self.drop_last => self.batch_size,
            _ => ragged,
        };
        smallest / self.shared.1
    }

    /// The data set of the records.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The indices of the records, in the order given.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Number of records, including those that [`Loader::drop_last`] leaves out.
    pub fn records(&self) -> usize {
        self.indices.len()
    }

    /// Number of batches per epoch. 0 if `drop_last` leaves none.
    pub fn batches(&self) -> usize {
        match self.drop_last {
            true => self.indices.len() / self.batch_size,
            false => self.indices.len().div_ceil(self.batch_size),
        }
    }

    /// Number of records in the given range of batches.
    pub fn records_in(&self, batches: Range<usize>) -> usize {
        let end = batches.end.min(self.batches());
        let until = |batch: usize| (batch * self.batch_size).min(self.indices.len());
        until(end) - until(batches.start.min(end))
    }

    /// The batches of `epoch`, starting with number `first_batch`.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Batches {
        self.part_of_epoch(epoch, first_batch..self.batches())
    }

    /// The batches of `epoch` in the given range, as far as the epoch has them.
    ///
    /// An item is an error if an encoded image cannot be read or a thread that prepares batches fails. An
    /// error is the last item.
    pub fn part_of_epoch(&self, epoch: u64, batches: Range<usize>) -> Batches {
        let order = match self.seed {
            Some(seed) => Arc::new(epoch_order(&self.indices, seed, epoch)),
            None => self.indices.clone(),
        };
        let loader = self.clone();
        let make = move |batch| {
            let start = batch * loader.batch_size;
            let end = order.len().min(start + loader.batch_size);
            loader.assemble(&order[start..end], epoch, batch as u64)
        };
        let numbers = batches.start..batches.end.min(self.batches());
        Batches::new(Arc::new(make), numbers, self.workers)
    }

    fn assemble(&self, whole: &[u32], epoch: u64, batch: u64) -> Result<Batch, DataError> {
        let (rank, ranks) = self.shared;
        let [first, end] = [rank, rank + 1].map(|rank| whole.len() * rank / ranks);
        let mixes = self.augmentation.mixing.is_some();
        // A share's first image is mixed with the last image of the previous rank.
        let neighbour = match (ranks, first) {
            (1, _) => None,
            _ if !mixes || first == end => None,
            (_, 0) => whole.last(),
            (_, first) => whole.get(first - 1),
        };
        let records: Vec<u32> = neighbour
            .into_iter()
            .chain(&whole[first..end])
            .copied()
            .collect();
        let mut made = self.images(&records, epoch, batch)?;
        if neighbour.is_some() {
            made.drop_first();
        }
        let label = |&record: &u32| self.dataset.labels()[record as usize];
        let others = whole[..first].iter().chain(&whole[end..]).map(label);
        made.share = (ranks > 1).then(|| Share {
            first,
            others: others.collect(),
        });
        Ok(made)
    }

    /// The given records as a batch.
    fn images(&self, records: &[u32], epoch: u64, batch: u64) -> Result<Batch, DataError> {
        let shape = self.dataset.shape;
        let mut pixels = vec![0.0; records.len() * shape.values()];
        let seed = self.seed.unwrap_or(0);
        for (&record, out) in records.iter().zip(pixels.chunks_exact_mut(shape.values())) {
            let image = if self.augmentation.random_resized_crop {
                let mut random = stream(seed, Purpose::Crop, epoch, record.into());
                self.dataset.window(record as usize, &mut random)?
            } else {
                self.dataset.image(record as usize)?
            };
            let draw = (seed, epoch, record);
            self.augmentation
                .apply(&image, shape, draw, &self.tables, out);
        }
        let label = |&record: &u32| self.dataset.labels()[record as usize];
        let labels: Vec<u16> = records.iter().map(label).collect();
        let mixing = self.augmentation.mixing.as_ref();
        let draw = (seed, epoch, batch);
        let mix = mixing.and_then(|mixing| mixing.apply(&mut pixels, &labels, shape, draw));
        Ok(Batch {
            pixels,
            labels,
            shape,
            mix,
            share: None,
        })
    }
}

#[cfg(test)]
mod tests;
