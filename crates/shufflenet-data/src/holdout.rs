//! Takes a validation part from a training set, so that no choice depends on the test set.

use std::path::Path;

use crate::random::{Purpose, shuffle, stream};
use crate::{DataError, Options, Split};

/// The records of a set in two parts, each in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdout {
    /// Records to train on.
    pub train: Vec<u32>,
    /// Records held out for validation.
    pub validation: Vec<u32>,
}

/// How many of `count` records are held out at `fraction`: the nearest whole number.
pub fn held_out(fraction: f64, count: usize) -> usize {
    (fraction * count as f64).round() as usize
}

/// Holds out `fraction` of each class: `round(fraction * count)` of its records, drawn from `seed`.
///
/// `labels` are the labels of a [`crate::Dataset`] with the classes `names`; errors use `key` as the name of
/// the fraction.
///
/// # Errors
/// [`DataError::Value`] if `fraction` is not between 0 and 1, if it leaves a class without a record in one
/// of the parts, or if a label is not below the number of classes.
pub fn holdout(
    key: &str,
    labels: &[u16],
    names: &[String],
    fraction: f64,
    seed: u64,
) -> Result<Holdout, DataError> {
    let refuse = |expected: String| DataError::value(key, fraction.to_string(), expected);
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(refuse("more than 0 and less than 1".into()));
    }
    let mut records_of = vec![Vec::new(); names.len()];
    for (record, &label) in (0u32..).zip(labels) {
        let Some(records) = records_of.get_mut(usize::from(label)) else {
            let what = format!("label of record {record}");
            return Err(DataError::value(
                what,
                label.to_string(),
                format!("below {}", names.len()),
            ));
        };
        records.push(record);
    }

    let mut parts = Holdout {
        train: Vec::new(),
        validation: Vec::new(),
    };
    for ((class, name), records) in (0u64..).zip(names).zip(&mut records_of) {
        let count = records.len();
        let held_out = held_out(fraction, count);
        if count < 2 {
            // No fraction leaves a record in each part.
            let what = format!("the number of readable images of class {name}");
            return Err(DataError::value(what, count.to_string(), "2 or more"));
        }
        if held_out == 0 || held_out == count {
            return Err(refuse(format!(
                "one that leaves class {name} a record in each part ({held_out} of {count} would be \
                 held out)"
            )));
        }
        shuffle(&mut stream(seed, Purpose::Holdout, 0, class), records);
        let (validation, train) = records.split_at(held_out);
        parts.validation.extend(validation);
        parts.train.extend(train);
    }
    parts.train.sort_unstable();
    parts.validation.sort_unstable();
    Ok(parts)
}

const TEST_FRACTION: &str = "data.options.test_fraction";

/// The records of `split` in a set at `root` that has no division: [`Options::test_fraction`] of each class
/// is the test part.
pub(crate) fn division(
    root: &Path,
    labels: &[u16],
    names: &[String],
    split: Split,
    options: &Options,
) -> Result<Vec<u32>, DataError> {
    if split == Split::Whole {
        return Ok((0..labels.len() as u32).collect());
    }
    if split == Split::Validation {
        let found = "a set without a division";
        return Err(DataError::content(
            root,
            found,
            "one with a validation part",
        ));
    }
    if options.test_fraction == 0.0 {
        return Err(DataError::value(
            TEST_FRACTION,
            "0",
            format!(
                "a fraction (or data.validation, which holds out images to choose by): {} has no training and test part",
                root.display()
            ),
        ));
    }
    let (fraction, seed) = (options.test_fraction, options.split_seed);
    let parts = holdout(TEST_FRACTION, labels, names, fraction, seed)?;
    Ok(match split {
        Split::Train => parts.train,
        _ => parts.validation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| class.to_string()).collect()
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_complete_and_stratified(
            extra in proptest::collection::vec(0u16..4, 0..200), fraction in 0.1f64..0.9, seed: u64,
        ) {
            // At least ten of each class, so that no part of a class is empty.
            let labels: Vec<u16> = (0..40).map(|record| record % 4).chain(extra).collect();
            let parts = holdout("data.validation", &labels, &names(4), fraction, seed).unwrap();
            prop_assert_eq!(&parts, &holdout("data.validation", &labels, &names(4), fraction, seed).unwrap());
            prop_assert!(parts.train.is_sorted() && parts.validation.is_sorted());

            let mut all = [parts.train, parts.validation.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len() as u32).collect::<Vec<_>>());

            for class in 0..4 {
                let of_class = |record: &&u32| labels[**record as usize] == class;
                let held_out = parts.validation.iter().filter(of_class).count();
                let count = labels.iter().filter(|&&label| label == class).count();
                prop_assert_eq!(held_out, (fraction * count as f64).round() as usize);
            }
        }
    }

    #[test]
    fn seeds_differ() {
        let labels: Vec<u16> = (0..200).map(|record| record % 2).collect();
        assert_ne!(
            holdout("data.validation", &labels, &names(2), 0.2, 0).unwrap(),
            holdout("data.validation", &labels, &names(2), 0.2, 1).unwrap()
        );
    }

    #[test]
    fn fractions_that_cannot_work_are_refused() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 1];
        let refusal = |fraction| {
            holdout("data.validation", &labels, &names(2), fraction, 0)
                .unwrap_err()
                .to_string()
        };
        for fraction in [0.0, 1.0, -0.1, f64::NAN] {
            let line = refusal(fraction);
            assert!(line.contains("more than 0 and less than 1"), "{line}");
        }
        assert_eq!(
            refusal(0.2),
            "data.validation is 0.2; accepted: one that leaves class 1 a record in each part \
             (0 of 2 would be held out)"
        );
        assert!(
            holdout("data.validation", &labels, &names(1), 0.5, 0)
                .unwrap_err()
                .to_string()
                .contains("below 1")
        );
    }
}
