//! Counts the training images of each class, and refuses classes that cannot be learned from them.

use std::collections::HashSet;

use shufflenet_data::Dataset;

use crate::display::words::{counted, first_classes};
use crate::error::{TrainError, require};

/// The number of `records`, the training records, of each class. Refuses a set of a single class, and a class without a
/// training record.
pub(super) fn class_images(train: &Dataset, records: &[u32]) -> Result<Vec<usize>, TrainError> {
    let names = &train.class_names;
    require(
        names.len() > 1,
        "the number of classes",
        names.len(),
        "two or more, to tell apart",
    )?;
    let mut seen = HashSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(TrainError::Value {
            key: format!("the name of two classes of {}", train.name),
            found: name.clone(),
            accepted: "classes of different names".into(),
        });
    }
    let mut counts = vec![0; names.len()];
    for &record in records {
        let label = train
            .labels()
            .get(record as usize)
            .copied()
            .unwrap_or_default();
        counts[usize::from(label)] += 1;
    }
    let empty: Vec<&str> = names
        .iter()
        .zip(&counts)
        .filter(|&(_, &count)| count == 0)
        .map(|(name, _)| name.as_str())
        .collect();
    if empty.is_empty() {
        return Ok(counts);
    }
    Err(TrainError::Value {
        key: "the number of training images".into(),
        found: format!(
            "0 for {} of {}: {}",
            empty.len(),
            counted(names.len(), "class"),
            first_classes(&empty, 5)
        ),
        accepted: "at least one image of every class, after data.limit and data.validation".into(),
    })
}
