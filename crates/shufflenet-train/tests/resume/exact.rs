//! Tests that an interrupted and resumed run ends with the bits of an uninterrupted run.

use crate::{experiment, last, metrics, narrow, train};
use shufflenet_train::run::Outcome;
use shufflenet_train::run::folder::Existing;

#[test]
fn an_interrupted_run_ends_with_the_same_bits() {
    check_interruption(&[]);
}

#[test]
fn an_interrupted_run_with_dropout_accumulation_and_average_ends_with_the_same_bits() {
    check_interruption(&[
        "model.dropout=0.3",
        "model.squeeze_excitation=true",
        "train.batch_size=12",
        "train.accumulate=3",
        "train.ema_decay=0.9",
    ]);
}

#[test]
fn an_interrupted_run_with_any_optimizer_and_recipe_ends_with_the_same_bits() {
    let augmentation = "data.augmentation={crop_padding=2, padding=\"reflect\", flip=true, \
        alternating_flip=true, trivial_augment={}, random_erasing={}, mixing={until_epoch=3}}";
    check_interruption(&[
        "optimizer.kind=adamw",
        "optimizer.learning_rate=0.002",
        "optimizer.clip_norm=1.0",
        "schedule.kind=one_cycle",
        "schedule.warmup_epochs=0",
        "loss.label_smoothing=0.1",
        augmentation,
    ]);
    check_interruption(&["optimizer.kind=lion", "optimizer.learning_rate=0.001"]);
    // Only the schedule has a momentum, or only the optimizer.
    let one_cycle = ["schedule.kind=one_cycle", "schedule.warmup_epochs=0"];
    let without = ["optimizer.momentum=0", "optimizer.nesterov=false"];
    check_interruption(&[one_cycle, without].concat());
    let low = "schedule.one_cycle={momentum_low=0, momentum_high=0}";
    check_interruption(&[&one_cycle[..], &[low]].concat());
    check_interruption(&[
        "optimizer.kind=muon",
        "fine_tune.freeze=[\"conv1.*\"]",
        "train.progressive=[{until_epoch = 1, size = 14}, {until_epoch = 3, size = 20}]",
        "train.evaluate_every=3",
        "optimizer.parts=[{names = \"fc.*\", rate = 2.0}]",
    ]);
}

#[test]
fn an_interrupted_run_in_bfloat16_ends_with_the_same_bits() {
    check_interruption(&["train.precision=bf16"]);
    check_interruption(&[
        "train.precision=bf16",
        "model.squeeze_excitation=true",
        "train.accumulate=2",
        "fine_tune.freeze=[\"conv1.*\"]",
    ]);
}

/// Trains a whole run and a run that is interrupted twice, and compares their ends. An epoch has eight steps (250
/// records in batches of 32 or 36). There are enough epochs that an interruption comes before the end, even if it comes
/// late on a busy machine.
pub fn check_interruption(overrides: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let with = |workers: &str| {
        experiment(
            folder.path(),
            &[overrides, &[workers, "train.epochs=4"]].concat(),
        )
    };
    let whole = folder.path().join("whole");
    let parts = folder.path().join("parts");

    let outcome = train(
        &with("data.workers=0"),
        &whole,
        Existing::Refuse,
        usize::MAX,
    );
    assert!(matches!(outcome, Outcome::Finished));

    let (one, three) = (with("data.workers=1"), with("data.workers=3"));
    let outcome = train(&one, &parts, Existing::Refuse, 3);
    assert!(matches!(outcome, Outcome::Interrupted));
    let stopped = last(&parts).progress;
    assert!((3..32).contains(&stopped.step), "stopped at {stopped:?}");
    let outcome = train(&three, &parts, Existing::Resume, 11);
    assert!(matches!(outcome, Outcome::Interrupted));
    let outcome = train(&one, &parts, Existing::Resume, usize::MAX);
    assert!(matches!(outcome, Outcome::Finished));

    let (whole_end, parts_end) = (last(&whole), last(&parts));
    assert!(whole_end.weights == parts_end.weights, "weights differ");
    assert!(
        whole_end.optimizer == parts_end.optimizer,
        "optimizer differs"
    );
    assert!(whole_end.average == parts_end.average, "averages differ");
    assert_eq!(whole_end.progress.tally, parts_end.progress.tally);
    assert_eq!(whole_end.progress.best, parts_end.progress.best);
    assert_eq!(metrics(&whole), metrics(&parts));
}

#[test]
fn metrics_after_the_last_checkpoint_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = narrow(folder.path(), &["train.epochs=20"]);
    let run = folder.path().join("run");
    let outcome = train(&experiment, &run, Existing::Refuse, 2);
    assert!(matches!(outcome, Outcome::Interrupted));
    let file = run.join("metrics.jsonl");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("{\"event\":\"step\",\"step\":7,\"torn");
    std::fs::write(&file, text).unwrap();
    train(&experiment, &run, Existing::Resume, usize::MAX);
    assert_eq!(steps(&run), (1..=160).collect::<Vec<u64>>());
}

fn steps(run: &std::path::Path) -> Vec<u64> {
    let lines = metrics(run);
    let steps = lines.iter().filter(|line| line["event"] == "step");
    steps.map(|line| line["step"].as_u64().unwrap()).collect()
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = narrow(folder.path(), &["train.epochs=1"]);
    let run = folder.path().join("run");
    train(&experiment, &run, Existing::Refuse, usize::MAX);
    let before = metrics(&run);
    assert_eq!(before.last().unwrap()["event"], "test");
    let outcome = train(&experiment, &run, Existing::Resume, usize::MAX);
    assert!(matches!(outcome, Outcome::Finished));
    assert_eq!(metrics(&run), before);
}

/// `train.max_steps` ends the short run within an epoch, and the longer run continues in the middle of that epoch.
#[test]
fn a_lengthened_run_has_the_bits_of_a_longer_run() {
    let folder = tempfile::tempdir().unwrap();
    let of = |steps: &str| narrow(folder.path(), &["schedule.kind=constant", steps]);
    let (short, long) = (of("train.max_steps=5"), of("train.max_steps=11"));
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    train(&long, &whole, Existing::Refuse, usize::MAX);
    train(&short, &parts, Existing::Refuse, usize::MAX);
    assert_eq!(last(&parts).progress.step, 5);
    train(&long, &parts, Existing::Resume, usize::MAX);
    let (whole_end, parts_end) = (last(&whole), last(&parts));
    assert_eq!(parts_end.progress.step, 11);
    assert!(whole_end.weights == parts_end.weights, "weights differ");
    assert!(whole_end.optimizer == parts_end.optimizer);
    assert_eq!(steps(&whole), steps(&parts));
}

#[test]
fn a_link_that_is_missing_after_a_kill_is_made_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = narrow(folder.path(), &["train.epochs=1"]);
    let run = folder.path().join("run");
    train(&experiment, &run, Existing::Refuse, usize::MAX);
    let best = run.join("checkpoints/best");
    std::fs::remove_file(&best).unwrap();
    train(&experiment, &run, Existing::Resume, usize::MAX);
    assert!(best.join("manifest.json").is_file());
}

#[test]
fn checkpoints_are_saved_by_time_and_by_steps_and_the_newest_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let saved = |name: &str, overrides: &[&str]| {
        let short = ["train.max_steps=6", "checkpoint.keep=3"];
        let experiment = narrow(folder.path(), &[&short, overrides].concat());
        let run = folder.path().join(name);
        train(&experiment, &run, Existing::Refuse, usize::MAX);
        let entries = std::fs::read_dir(run.join("checkpoints")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("step-")).collect();
        names.sort();
        names
    };
    // The last two checkpoints are of the evaluation and of the run's end. One of them is the best.
    let by_steps = saved("steps", &["checkpoint.every_steps=2"]);
    assert_eq!(by_steps, ["step-000006", "step-000006-2", "step-000006-3"]);
    let by_time = saved("time", &["checkpoint.every_minutes=1e-9"]);
    assert_eq!(by_time, by_steps);
    let by_neither = saved("neither", &["checkpoint.every_minutes=0"]);
    assert_eq!(by_neither, ["step-000006", "step-000006-2"]);
    let sparse = saved("sparse", &["checkpoint.every_steps=4"]);
    assert_eq!(sparse, ["step-000004", "step-000006", "step-000006-2"]);
}

#[test]
fn epochs_are_evaluated_as_often_as_evaluate_every_says() {
    let folder = tempfile::tempdir().unwrap();
    for (every, expected) in [("1", &[1, 2, 3, 4, 5][..]), ("2", &[2, 4, 5]), ("0", &[5])] {
        let run = folder.path().join(every);
        let every = format!("train.evaluate_every={every}");
        let experiment = narrow(folder.path(), &["train.epochs=5", &every]);
        train(&experiment, &run, Existing::Refuse, usize::MAX);
        let lines = metrics(&run);
        let evaluated = lines.iter().filter(|line| line["split"] == "validation");
        let epochs: Vec<_> = evaluated
            .map(|line| line["epoch"].as_u64().unwrap())
            .collect();
        assert_eq!(epochs, expected, "{every}");
        assert!(last(&run).progress.finished);
        let best = last(&run).progress.best.unwrap();
        assert!(expected.contains(&(best.epoch as u64)), "{best:?}");
    }
}

#[test]
fn the_part_that_chose_the_best_epoch_is_known_after_a_resume_that_chooses_none() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let begun = narrow(folder.path(), &[]);
    train(&begun, &run, Existing::Refuse, usize::MAX);
    let chosen_on = last(&run).description.chosen_on;
    assert_eq!(chosen_on.as_ref().unwrap().split, "validation");
    let longer = narrow(folder.path(), &["train.epochs=3", "train.evaluate_every=0"]);
    train(&longer, &run, Existing::Resume, usize::MAX);
    assert_eq!(last(&run).description.chosen_on, chosen_on);
}

/// The run stops when it no longer improves, is finished if it is resumed, and continues with a longer patience.
#[test]
fn a_run_out_of_patience_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let of = |patience: &str| {
        let still = ["optimizer.learning_rate=1e-12", "checkpoint.best_by=loss"];
        let long = ["train.epochs=6", "schedule.warmup_epochs=0", patience];
        narrow(folder.path(), &[&still[..], &long[..]].concat())
    };
    let run = folder.path().join("run");
    // With so small a learning rate only the running statistics change, so the loss changes at random.
    train(&of("train.patience=1"), &run, Existing::Refuse, usize::MAX);
    let progress = last(&run).progress;
    let best = progress.best.clone().unwrap();
    assert!(progress.finished);
    let epochs = progress.epochs;
    assert!(epochs == 6 || epochs == best.epoch + 1, "{progress:?}");
    let losses: Vec<f64> = metrics(&run)
        .iter()
        .filter(|line| line["event"] == "epoch" && line["split"] == "validation")
        .map(|line| line["loss"].as_f64().unwrap())
        .collect();
    assert_eq!(
        best.value,
        losses.iter().copied().fold(f64::INFINITY, f64::min)
    );
    train(&of("train.patience=1"), &run, Existing::Resume, usize::MAX);
    assert_eq!(last(&run).progress.epochs, epochs);
    train(&of("train.patience=9"), &run, Existing::Resume, usize::MAX);
    assert_eq!(last(&run).progress.epochs, 6);
}
