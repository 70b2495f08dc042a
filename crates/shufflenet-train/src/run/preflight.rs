//! Before the first step: refuses what cannot work, notes what may surprise, and describes what is about to be trained.

use shufflenet_model::{ShuffleNetV2, Stem, num_parameters};

use crate::cluster::Cluster;
use crate::data::sources::Sources;
use crate::device::machine::Environment;
use crate::display::words::{counted, thousands};
use crate::error::{TrainError, require};
use crate::experiment::Experiment;
use crate::recipe::optimizer::Optimizer;
use crate::recipe::schedule::Schedule;

/// Refuses an experiment that cannot train on its data; returns notes on one that can.
///
/// # Errors
/// [`TrainError::Model`]: a network that cannot work, images that are too small for it, or a batch that
/// would leave batch norm one value per channel. [`TrainError::Value`]: not one whole batch.
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
    model.check_training_batch(size.min(sources.train.records()), height, width)?;
    if ragged > 0 && !experiment.train.drop_last {
        model.check_training_batch(ragged, height, width)?;
    }
    let mut notes = Vec::new();
    notes.extend(sources.notes.iter().cloned());
    notes.extend(unequal_classes(experiment, sources));
    if map == [1, 1] && model.stem() != Stem::Cifar {
        notes.push(format!(
            "note       at {height}x{width} the {} stem leaves the last stage a 1x1 map; \
             model.stem = \"cifar\" is the one that published CIFAR figures use",
            model.stem()
        ));
    }
    let (warmup, steps) = (schedule.warmup(), schedule.total());
    if warmup >= steps {
        notes.push(format!(
            "note       the warm-up alone takes {} steps and the run {}: the rate ends at {:.0} % of its peak",
            thousands(warmup),
            thousands(steps),
            steps as f64 / warmup as f64 * 100.0
        ));
    }
    if experiment.train.evaluate_every > 0 && sources.evaluation_split == "test" {
        notes.push(
            "note       no data.validation: the test set stands in, so `best` will have seen it"
                .into(),
        );
    }
    Ok(notes)
}

/// Classes of which the largest has this many times the images of the smallest are unequal.
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
            "every image counts alike; loss.class_weights = \"balanced\" has the classes count alike"
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
    require(
        share > 0,
        "the smallest batch of an epoch",
        "smaller than the number of ranks",
        "an image for each rank (train.drop_last leaves a ragged last batch out)",
    )?;
    let (height, width) = (sources.shape.height, sources.shape.width);
    Ok(experiment
        .model
        .check_training_batch(share, height, width)?)
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
        Some(test) => format!(", {} test records for the end", thousands(test.records())),
        None => String::new(),
    };
    vec![
        format!(
            "network    {}: {} parameters",
            model.in_words(Some([shape.channels, shape.height, shape.width])),
            thousands(num_parameters(network))
        ),
        format!(
            "data       {}: {} training records, {} {} records{tested}",
            sources.name,
            thousands(sources.train.records()),
            thousands(sources.evaluation.records()),
            sources.evaluation_split
        ),
        format!(
            "training   {} of {together}{} images (at most {}), {} {schedule}, decay {}{average}",
            counted(total_steps, "step"),
            train.batch_size,
            counted(train.epochs, "epoch"),
            Optimizer::in_words(optimizer),
            optimizer.weight_decay
        ),
        format!("device     {environment}"),
    ]
}
