//! Batches in the order in which a training loop or an evaluation takes them.
//!
//! Batch `b` of epoch `e` is a function of the loader's settings alone: an epoch can be entered at
//! any batch, a record looks the same whatever the batch size, and any number of threads may prepare
//! batches ahead ([`crate::prefetch`]) without changing one. (Images that are mixed in pairs look as their
//! batch has them.) Where several processes, or ranks, train together, each makes its share of every
//! batch, the very images that one process would make ([`Loader::shared`]).

use std::ops::Range;
use std::sync::Arc;

use crate::augmentation::Mix;
use crate::prefetch::Batches;
use crate::random::{Purpose, epoch_order, stream};
use crate::{Augmentation, DataError, Dataset, ImageShape, Normalization};

/// Normalised images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// N x C x H x W.
    pub pixels: Vec<f32>,
    /// N labels.
    pub labels: Vec<u16>,
    /// C, H and W.
    pub shape: ImageShape,
    /// What was mixed into the images, where [`Augmentation::mixing`] did.
    pub mix: Option<Mix>,
    /// Which part of a batch this is, where ranks share one: see [`Loader::shared`].
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
    fn drop_first(&mut self) {
        self.pixels.drain(..self.shape.values());
        self.labels.remove(0);
        if let Some(mix) = &mut self.mix {
            mix.labels.remove(0);
        }
    }
}

/// Records of a set, as batches: in the given order and unchanged, unless told otherwise.
#[derive(Clone, Debug)]
pub struct Loader {
    dataset: Arc<Dataset>,
    indices: Arc<Vec<u32>>,
    batch_size: usize,
    /// What each pixel value becomes, by channel.
    tables: Arc<Vec<[f32; 256]>>,
    /// Seed of the order and of the augmentation.
    seed: Option<u64>,
    augmentation: Augmentation,
    drop_last: bool,
    workers: usize,
    /// Rank and number of ranks.
    shared: (usize, usize),
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

    /// Has threads prepare batches ahead, two each. 0, the default: each batch is made when it is asked
    /// for. The batches are the same for any number.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Makes the share of rank `rank` of `ranks` of every batch: about as many images as each other rank,
    /// those that follow the ones of the ranks before it.
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

    /// The set that the records are of.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The records, in order.
    pub fn indices(&self) -> &[u32] {
        &self.indices
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

    /// Records in the batches with these numbers.
    pub fn records_in(&self, batches: Range<usize>) -> usize {
        let end = batches.end.min(self.batches());
        let until = |batch: usize| (batch * self.batch_size).min(self.indices.len());
        until(end) - until(batches.start.min(end))
    }

    /// The batches of `epoch` from number `first_batch` on.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Batches {
        self.part_of_epoch(epoch, first_batch..self.batches())
    }

    /// The batches of `epoch` with these numbers, as far as it has them.
    ///
    /// An item is an error where an encoded image cannot be read, or a thread that prepares batches is
    /// lost; it is the last one then.
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
        // A share's first image is mixed with the last one of the rank before.
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

    /// These records as a batch of their own.
    fn images(&self, records: &[u32], epoch: u64, batch: u64) -> Result<Batch, DataError> {
        let shape = self.dataset.shape;
        let mut pixels = vec![0.0; records.len() * shape.values()];
        let seed = self.seed.unwrap_or(0);
        for (&record, out) in records.iter().zip(pixels.chunks_exact_mut(shape.values())) {
            let image = match self.augmentation.random_resized_crop {
                true => {
                    let mut random = stream(seed, Purpose::Crop, epoch, record.into());
                    self.dataset.window(record as usize, &mut random)?
                }
                false => self.dataset.image(record as usize)?,
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
mod tests {
    use super::*;
    use crate::augmentation::Mixing;
    use crate::testing::random_dataset;
    use proptest::prelude::*;

    const RECORDS: usize = 23;

    fn loader(batch_size: usize) -> Loader {
        let normalization = Normalization {
            mean: vec![0.4, 0.5, 0.6],
            std: vec![0.2, 0.3, 0.4],
        };
        let indices = (0..RECORDS as u32).collect();
        Loader::new(
            Arc::new(random_dataset(RECORDS, 9)),
            indices,
            batch_size,
            normalization,
        )
    }

    fn training(batch_size: usize) -> Loader {
        loader(batch_size).shuffled(3).augmented(Augmentation {
            crop_padding: 2,
            flip: true,
            ..Augmentation::default()
        })
    }

    /// Images of an epoch with their labels, out of their batches.
    fn images(batches: Batches) -> Vec<(Vec<f32>, u16)> {
        let images = |batch: Batch| {
            let pixels: Vec<_> = batch
                .pixels
                .chunks_exact(batch.shape.values())
                .map(Vec::from)
                .collect();
            pixels.into_iter().zip(batch.labels).collect::<Vec<_>>()
        };
        batches.map(Result::unwrap).flat_map(images).collect()
    }

    fn whole(batches: Batches) -> Vec<Batch> {
        batches.map(Result::unwrap).collect()
    }

    fn sizes(loader: &Loader) -> Vec<usize> {
        whole(loader.epoch(0, 0)).iter().map(Batch::len).collect()
    }

    #[test]
    fn an_evaluation_sees_every_record_once_in_order_and_normalised() {
        let loader = loader(5);
        assert_eq!((loader.records(), loader.batches()), (23, 5));
        assert_eq!(sizes(&loader), [5, 5, 5, 5, 3]);
        let dataset = loader.dataset();
        for (record, (values, label)) in images(loader.epoch(0, 0)).iter().enumerate() {
            assert_eq!(*label, dataset.labels()[record]);
            let first = f32::from(dataset.image(record).unwrap()[0]) / 255.0;
            assert!((values[0] - (first - 0.4) / 0.2).abs() < 1e-6);
        }
    }

    proptest! {
        #[test]
        fn a_record_looks_the_same_whatever_the_batches(batch_size in 1usize..30, epoch: u64) {
            let of_one = images(training(1).epoch(epoch, 0));
            prop_assert_eq!(of_one.len(), RECORDS);
            prop_assert_eq!(&of_one, &images(training(batch_size).epoch(epoch, 0)));

            // Likewise in another order.
            let order = epoch_order(&training(1).indices, 3, epoch);
            let mut reversed = training(batch_size);
            Arc::make_mut(&mut reversed.indices).reverse();
            let reversed_order = epoch_order(&reversed.indices, 3, epoch);
            for (record, image) in reversed_order.iter().zip(images(reversed.epoch(epoch, 0))) {
                let place = order.iter().position(|other| other == record).unwrap();
                prop_assert_eq!(&of_one[place], &image);
            }
        }

        #[test]
        fn an_epoch_can_be_entered_at_any_batch_with_any_number_of_workers(
            first in 0usize..9, workers in 0usize..9, epoch: u64,
        ) {
            let expected = whole(training(4).epoch(epoch, 0)).into_iter().skip(first);
            let entered = whole(training(4).workers(workers).epoch(epoch, first));
            prop_assert_eq!(expected.collect::<Vec<_>>(), entered);
        }

        #[test]
        fn records_are_counted_as_batches_hold_them(start in 0usize..9, length in 0usize..9) {
            for loader in [training(4), training(4).drop_last(true)] {
                let counted = loader.records_in(start..start + length);
                let batches = whole(loader.epoch(0, start)).into_iter().take(length);
                prop_assert_eq!(counted, batches.map(|batch| batch.len()).sum::<usize>());
            }
        }
    }

    proptest! {
        #[test]
        fn shares_of_all_ranks_are_the_batches_of_one(
            ranks in 1usize..7, batch_size in 1usize..30, workers in 0usize..3, epoch in 0u64..9,
        ) {
            let mixing = |loader: Loader| {
                let augmentation = Augmentation {
                    flip: true,
                    mixing: Some(Mixing::default()),
                    ..Augmentation::default()
                };
                loader.shuffled(3).augmented(augmentation).workers(workers)
            };
            let one = whole(mixing(loader(batch_size)).epoch(epoch, 0));
            let shares: Vec<Vec<Batch>> = (0..ranks)
                .map(|rank| whole(mixing(loader(batch_size)).shared(rank, ranks).epoch(epoch, 0)))
                .collect();
            for (number, batch) in one.iter().enumerate() {
                let shares = shares.iter().map(|batches| &batches[number]);
                let sizes: Vec<usize> = shares.clone().map(Batch::len).collect();
                prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
                let pixels: Vec<f32> = shares.clone().flat_map(|share| share.pixels.clone()).collect();
                prop_assert_eq!(&pixels, &batch.pixels);
                let mut first = 0;
                for share in shares {
                    let own = first..first + share.len();
                    prop_assert_eq!(&share.labels, &batch.labels[own.clone()]);
                    prop_assert_eq!(share.whole(), batch.len());
                    if let Some(place) = &share.share {
                        prop_assert_eq!(place.first, first);
                        let others = [&batch.labels[..own.start], &batch.labels[own.end..]].concat();
                        prop_assert_eq!(&place.others, &others);
                    }
                    if let (Some(mix), Some(of_batch), false) = (&share.mix, &batch.mix, share.is_empty()) {
                        prop_assert_eq!(&mix.labels, &of_batch.labels[own.clone()]);
                        prop_assert_eq!(mix.share, of_batch.share);
                    }
                    first = own.end;
                }
            }
        }
    }

    #[test]
    fn epochs_differ_in_order_and_in_augmentation() {
        let loader = training(RECORDS);
        let [first, second] = [0, 1].map(|epoch| images(loader.epoch(epoch, 0)));
        assert_ne!(first, second);
        let same = first.iter().filter(|image| second.contains(image)).count();
        assert!(
            same < RECORDS / 2,
            "{same} images look the same in both epochs"
        );
    }

    #[test]
    fn a_small_last_batch_can_be_left_out() {
        let large = loader(24);
        let loader = loader(5).drop_last(true);
        assert_eq!(loader.batches(), 4);
        assert_eq!(sizes(&loader), [5; 4]);
        assert_eq!(large.drop_last(true).epoch(0, 0).len(), 0);
    }
}
