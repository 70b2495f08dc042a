//! Checks and lines before the first step: refuses experiments that cannot work, notes unexpected facts about the data, and
//! describes the run.

use burn::tensor::Device;
use shufflenet_data::{Dataset, Loader, Shared, lookalikes, shared, under_two_labels};
use shufflenet_model::{Precision, ShuffleNetV2, Stem, num_parameters};

use crate::cluster::Cluster;
use crate::data::sources::Sources;
use crate::device::{self, machine::Environment};
use crate::display::words::{counted, thousands};
use crate::error::{TrainError, require};
use crate::experiment::Experiment;
use crate::recipe::optimizer::{Optimizer, OptimizerConfig, OptimizerKind};
use crate::recipe::progressive;
use crate::recipe::schedule::Schedule;

/// Refuses an experiment that cannot train on its data; returns notes on one that can.
///
/// # Errors
/// [`TrainError::Model`]: a network that cannot work, images that are too small for it, or a batch that
/// would leave batch norm one value per channel. [`TrainError::Value`]: the data has less than one batch.
pub fn check(
    experiment: &Experiment,
    sources: &Sources,
    schedule: &Schedule,
) -> Result<Vec<String>, TrainError> {
    let (height, width) = (sources.shape.height, sources.shape.width);
    let model = &experiment.model;
    model.validate(height, width)?;
    let map = model.feature_map(height, width)?;
    let size = experiment.train.batch_size;
    if sources.train.batches() == 0 {
        return Err(TrainError::Value {
            key: "train.batch_size".into(),
            found: size.to_string(),
            accepted: format!(
                "at most {}, the number of training records (with train.drop_last)",
                sources.train.records()
            ),
        });
    }
    let ragged = sources.train.records() % size;
    check_batch(experiment, sources, size.min(sources.train.records()))?;
    if ragged > 0 && !experiment.train.drop_last {
        check_batch(experiment, sources, ragged)?;
    }
    let mut notes = Vec::new();
    notes.extend(sources.notes.iter().cloned());
    notes.extend(similar_classes(&sources.class_names));
    notes.extend(unequal_classes(experiment, sources));
    notes.extend(shared_images(sources));
    notes.extend(contradictions(sources));
    if map == [1, 1] && model.stem() != Stem::Cifar {
        notes.push(format!(
            "note       at {height}x{width} the {} stem leaves the last stage a 1x1 map; \
             model.stem = \"cifar\" is the one that published CIFAR figures use",
            model.stem()
        ));
    }
    notes.extend(high_rate(&experiment.optimizer));
    let (warmup, steps) = (schedule.warmup(), schedule.total());
    if warmup >= steps {
        notes.push(format!(
            "note       the warm-up alone takes {} and the run {}: the rate ends at {:.0} % of its peak",
            counted(warmup, "step"),
            thousands(steps),
            steps as f64 / warmup as f64 * 100.0
        ));
    }
    if experiment.train.evaluate_every > 0 && sources.evaluation_split == "test" {
        notes.push(
            "note       no data.validation: the test set chooses the best epoch, so its figures are optimistic"
                .into(),
        );
    }
    Ok(notes)
}

/// Lines on the parts of the network that have no kernels of this project on a GPU. Burn's operations compute them.
pub fn without_kernels(experiment: &Experiment, device: &Device, cluster: &Cluster) -> Vec<String> {
    if !device::is_queued(device) {
        return Vec::new();
    }
    let precision = experiment.train.precision;
    let in_float32 = match precision {
        Precision::F32 => "",
        Precision::Bf16 => ", in float32",
    };
    let plainly = |why: &str, what: &str| {
        format!(
            "note       {why}: on this GPU {what} by Burn's operations{in_float32}, which are slower than kernels"
        )
    };
    if !device::has_kernels(device) {
        let why = "the adapter has less than WebGPU's limits";
        return vec![plainly(why, "the network is trained")];
    }
    if !cluster.is_alone() && experiment.cluster.sync_batch_norm {
        let why = "ranks normalise a batch together (cluster.sync_batch_norm)";
        return vec![plainly(why, "the network is trained")];
    }
    let mut notes = Vec::new();
    if experiment.model.squeeze_excitation {
        let why = "there are no kernels for squeeze-and-excitation";
        notes.push(plainly(why, "units that have it are computed"));
    }
    if precision == Precision::Bf16 && experiment.model.has_odd_widths() {
        let why = "a GPU stores bfloat16 in pairs of channels";
        notes.push(plainly(
            why,
            "parts with an odd number of them are computed",
        ));
    }
    notes
}

/// A line on a rate that suits SGD, the default's, where AdamW or Lion takes it.
fn high_rate(optimizer: &OptimizerConfig) -> Option<String> {
    const HIGH: f64 = 50.0;
    let (name, usual) = match optimizer.kind {
        OptimizerKind::AdamW => ("AdamW", 0.001),
        OptimizerKind::Lion => ("Lion", 0.0001),
        OptimizerKind::Sgd | OptimizerKind::Muon => return None,
    };
    let rate = optimizer.learning_rate;
    (rate >= HIGH * usual).then(|| {
        format!("note       optimizer.learning_rate is {rate}, which is high for {name}: {usual} is usual")
    })
}

/// Lines on classes whose names look alike, the first few of them.
fn similar_classes(names: &[String]) -> impl Iterator<Item = String> {
    const MOST: usize = 3;
    let pairs = lookalikes(names).into_iter().take(MOST);
    pairs.map(|(one, other, how)| {
        format!("note       the classes {one:?} and {other:?} {how}: they are trained as two")
    })
}

/// Lines on images that two parts have in common.
fn shared_images(sources: &Sources) -> Vec<String> {
    let evaluated = (sources.evaluation_split, &sources.evaluation);
    let tested = sources.test.as_ref().map(|test| ("test", test));
    let later = [Some(evaluated), tested];
    let lines = later.into_iter().flatten().filter_map(|(name, loader)| {
        let Shared { count, example } = shared(part(&sources.train), part(loader))?;
        let are = match count {
            1 => "is a training image",
            _ => "are training images",
        };
        Some(format!(
            "note       {} of the {} {are}, too ({} is {}): the network was trained on images that it is measured on, so \
             the figures are optimistic",
            thousands(count),
            counted(loader.records(), &format!("{name} image")),
            example.1,
            example.0
        ))
    });
    let between = tested.and_then(|(name, test)| {
        let (split, evaluation) = evaluated;
        let Shared { count, example } = shared(part(evaluation), part(test))?;
        Some(format!(
            "note       {} of the {} chose the best epoch, too ({} is {} of the {split} part)",
            thousands(count),
            counted(test.records(), &format!("{name} image")),
            example.1,
            example.0
        ))
    });
    lines.chain(between).collect()
}

/// A line on training images that are in two classes.
fn contradictions(sources: &Sources) -> Option<String> {
    let Shared { count, example } = under_two_labels(part(&sources.train))?;
    let (are, each) = match count {
        1 => ("is", "it"),
        _ => ("are", "each of them"),
    };
    Some(format!(
        "note       {} {are} in two classes ({} is {}): the network learns {each} under both labels",
        counted(count, "training image"),
        example.1,
        example.0
    ))
}

/// The records of `loader`.
fn part(loader: &Loader) -> (&Dataset, &[u32]) {
    (loader.dataset(), loader.indices())
}

/// Classes are unequal if the largest has at least this many times the images of the smallest.
const UNEQUAL: usize = 3;

/// A line on classes of which some have far more training images than others.
fn unequal_classes(experiment: &Experiment, sources: &Sources) -> Option<String> {
    let named = sources.class_images.iter().zip(&sources.class_names);
    let (fewest, rare) = named.clone().min_by_key(|&(count, _)| count)?;
    let (most, common) = named.max_by_key(|&(count, _)| count)?;
    if *most < fewest.saturating_mul(UNEQUAL) {
        return None;
    }
    let (fewest, most) = (counted(*fewest, "training image"), thousands(*most));
    let remedy = match experiment.loss.class_weights {
        None => {
            "every image has the same weight; loss.class_weights = \"balanced\" gives every class the same"
        }
        Some(_) => "loss.class_weights weighs them",
    };
    Some(format!(
        "note       classes are unequal: {rare} has {fewest}, {common} {most}; {remedy}"
    ))
}

/// Refuses batches that several ranks cannot share.
///
/// # Errors
/// [`TrainError::Value`]: a batch with fewer images than there are ranks.
pub fn check_cluster(
    experiment: &Experiment,
    sources: &Sources,
    cluster: &Cluster,
) -> Result<(), TrainError> {
    if cluster.is_alone() {
        return Ok(());
    }
    let share = sources.train.smallest_share();
    let smallest =
        (0..sources.train.batches()).map(|batch| sources.train.records_in(batch..batch + 1));
    require(
        share > 0,
        "the smallest batch of an epoch",
        counted(smallest.min().unwrap_or(0), "image"),
        &format!(
            "one for each of the {} ranks (train.drop_last leaves out a smaller last batch)",
            cluster.ranks()
        ),
    )?;
    check_batch(experiment, sources, share)
}

/// Refuses a training batch of `images` images that leaves batch norm no variance at the smallest size of the run.
fn check_batch(
    experiment: &Experiment,
    sources: &Sources,
    images: usize,
) -> Result<(), TrainError> {
    let full = [sources.shape.height, sources.shape.width];
    let [height, width] = progressive::smallest(&experiment.train.progressive, full);
    let checked = experiment.model.check_training_batch(images, height, width);
    checked.map_err(|error| match [height, width] == full {
        true => error.into(),
        false => TrainError::from(error).named_by("train.progressive"),
    })
}

/// Lines that describe network, data, training and device.
pub fn introduce(
    experiment: &Experiment,
    sources: &Sources,
    environment: &Environment,
    total_steps: usize,
    network: &ShuffleNetV2,
) -> Vec<String> {
    let (model, train, shape) = (&experiment.model, &experiment.train, sources.shape);
    let optimizer = &experiment.optimizer;
    let schedule = experiment.schedule.kind;
    let together = match train.accumulate {
        1 => String::new(),
        batches => format!("{batches} x "),
    };
    let average = match train.ema_decay {
        Some(decay) => format!(", moving average {decay}"),
        None => String::new(),
    };
    let tested = match &sources.test {
        Some(test) => format!(", {} for the end", counted(test.records(), "test record")),
        None => String::new(),
    };
    vec![
        format!(
            "network    {}: {}",
            model.in_words(Some([shape.channels, shape.height, shape.width])),
            counted(num_parameters(network), "parameter")
        ),
        format!(
            "data       {}: {}, {}{tested}",
            sources.name,
            counted(sources.train.records(), "training record"),
            counted(
                sources.evaluation.records(),
                &format!("{} record", sources.evaluation_split)
            )
        ),
        format!(
            "training   {} of {together}{} (at most {}), {} {schedule}, decay {}{average}",
            counted(total_steps, "step"),
            counted(train.batch_size, "image"),
            counted(train.epochs, "epoch"),
            Optimizer::in_words(optimizer),
            optimizer.weight_decay
        ),
        format!("device     {environment}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rate_is_noted_for_adamw_and_lion() {
        for (kind, learning_rate, name) in [
            (OptimizerKind::AdamW, 0.1, Some("AdamW")),
            (OptimizerKind::AdamW, 0.01, None),
            (OptimizerKind::Lion, 0.1, Some("Lion")),
            (OptimizerKind::Lion, 0.001, None),
            (OptimizerKind::Sgd, 0.1, None),
        ] {
            let optimizer = OptimizerConfig {
                kind,
                learning_rate,
                ..OptimizerConfig::default()
            };
            let line = high_rate(&optimizer);
            let words = |name| format!("is {learning_rate}, which is high for {name}: ");
            match name {
                Some(name) => assert!(line.unwrap().contains(&words(name))),
                None => assert_eq!(line, None),
            }
        }
    }
}
