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

/// The images of an epoch with their labels, taken out of their batches.
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
fn evaluation_gets_every_record_once_in_order_and_normalised() {
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
    fn a_record_has_the_same_pixels_in_batches_of_any_size(batch_size in 1usize..30, epoch: u64) {
        let of_one = images(training(1).epoch(epoch, 0));
        prop_assert_eq!(of_one.len(), RECORDS);
        prop_assert_eq!(&of_one, &images(training(batch_size).epoch(epoch, 0)));

        // A record also has the same pixels in another order.
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
    fn an_epoch_can_start_at_any_batch_with_any_number_of_workers(
        first in 0usize..9, workers in 0usize..9, epoch: u64,
    ) {
        let expected = whole(training(4).epoch(epoch, 0)).into_iter().skip(first);
        let entered = whole(training(4).workers(workers).epoch(epoch, first));
        prop_assert_eq!(expected.collect::<Vec<_>>(), entered);
    }

    #[test]
    fn records_in_a_range_are_those_of_its_batches(start in 0usize..9, length in 0usize..9) {
        for loader in [training(4), training(4).drop_last(true)] {
            let counted = loader.records_in(start..start + length);
            let batches = whole(loader.epoch(0, start)).into_iter().take(length);
            prop_assert_eq!(counted, batches.map(|batch| batch.len()).sum::<usize>());
        }
    }
}

proptest! {
    #[test]
    fn the_shares_of_all_ranks_form_the_batches_of_one_process(
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
        "{same} images are the same in both epochs"
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
