//! Tests of the changes that `--resume` accepts and of those that it refuses.

use std::path::Path;

use crate::{experiment, metrics, narrow, options, refusal, start, train};
use shufflenet_train::Interrupter;
use shufflenet_train::display::console::Console;
use shufflenet_train::experiment::settings;
use shufflenet_train::run::Outcome;
use shufflenet_train::run::folder::Existing;
use shufflenet_train::run::start::RunOptions;

#[test]
fn a_changed_experiment_is_refused_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&narrow(folder.path(), &[]), &run, Existing::Refuse, 2);
    for (changed, line) in [
        (
            "optimizer.momentum=0.5",
            "optimizer.momentum = 0.9, now it is 0.5",
        ),
        ("train.batch_size=16", "train.batch_size = 32, now it is 16"),
        ("train.accumulate=2", "train.accumulate = 1, now it is 2"),
        (
            "train.ema_decay=0.9",
            "train.ema_decay = unset, now it is 0.9",
        ),
        ("train.seed=1", "train.seed = 0, now it is 1"),
        (
            "train.precision=bf16",
            "train.precision = \"f32\", now it is \"bf16\"",
        ),
        ("schedule.kind=constant", "now it is \"constant\""),
        ("data.limit=200", "data.limit = 250, now it is 200"),
        (
            "data.augmentation.flip=false",
            "data.augmentation.flip = true, now it is false",
        ),
    ] {
        let before = std::fs::read(run.join("config.toml")).unwrap();
        let refused = refusal(&narrow(folder.path(), &[changed]), &run);
        assert!(refused.contains(line), "{refused}");
        assert!(std::fs::read(run.join("config.toml")).unwrap() == before);
    }
}

#[test]
fn fewer_steps_than_the_run_has_taken_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&narrow(folder.path(), &[]), &run, Existing::Refuse, 3);
    let line = refusal(&narrow(folder.path(), &["train.max_steps=2"]), &run);
    // The run may have taken one more step before it stopped.
    let expected = format!(
        "train.max_steps is 2; accepted: more: {} is at step ",
        run.display()
    );
    assert!(
        line.starts_with(&expected) && line.ends_with(", in epoch 1"),
        "{line}"
    );
}

#[test]
fn an_edited_config_toml_in_the_run_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&narrow(folder.path(), &[]), &run, Existing::Refuse, 2);
    let file = run.join("config.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("momentum = 0.9", "momentum = 0.8")).unwrap();
    let edited = settings::load(&file, &[]).unwrap();
    let line = refusal(&edited, &run);
    assert!(line.contains("momentum = 0.9, now it is 0.8"), "{line}");
}

#[test]
fn another_precision_is_accepted_with_the_flag_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&narrow(folder.path(), &[]), &run, Existing::Refuse, 2);
    let changed = narrow(folder.path(), &["train.precision=bf16"]);
    let accepting = RunOptions {
        accept_changed_precision: true,
        ..options(&run, Existing::Resume)
    };
    let (interrupter, console) = (Interrupter::new(), &mut Console::new());
    let outcome = start(&changed, &accepting, &interrupter, console).unwrap();
    assert!(matches!(outcome, Outcome::Finished));
    // The run is now a run in bfloat16.
    let refused = refusal(&narrow(folder.path(), &["train.epochs=3"]), &run);
    let line = "train.precision = \"bf16\", now it is \"f32\"";
    assert!(refused.contains(line), "{refused}");
}

#[test]
fn length_log_checkpoints_and_workers_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&narrow(folder.path(), &[]), &run, Existing::Refuse, 2);
    let changed = narrow(
        folder.path(),
        &[
            "name=other",
            "train.epochs=3",
            "train.max_steps=9",
            "train.log_every=2",
            "data.workers=2",
            "checkpoint.every_steps=4",
            "checkpoint.every_minutes=0",
            "checkpoint.keep=3",
        ],
    );
    train(&changed, &run, Existing::Resume, usize::MAX);
    assert_eq!(metrics(&run).last().unwrap()["event"], "test");
}

#[test]
fn the_data_may_move_but_not_change() {
    let folder = tempfile::tempdir().unwrap();
    let original = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shufflenet-data/tests/fixtures/cifar10-format");
    let moved = folder.path().join("moved");
    std::fs::create_dir(&moved).unwrap();
    for entry in std::fs::read_dir(&original).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), moved.join(entry.file_name())).unwrap();
    }
    let at = |root: &Path| {
        let root = format!("data.root={}", root.display());
        narrow(
            folder.path(),
            &[
                &root,
                "data.format=cifar10",
                "model.input_channels=3",
                "data.validation=0",
                "data.limit=64",
            ],
        )
    };
    let run = folder.path().join("run");
    train(&at(&original), &run, Existing::Refuse, 1);

    let test = moved.join("test_batch.bin");
    let intact = std::fs::read(&test).unwrap();
    let mut changed = intact.clone();
    changed[100] ^= 1;
    std::fs::write(&test, changed).unwrap();
    let line = refusal(&at(&moved), &run);
    let places = format!(
        "the data is not what this run was trained on: it was {}, now it is {}; its SHA-256 is ",
        original.display(),
        moved.display()
    );
    assert!(line.contains(&places), "{line}");
    std::fs::write(&test, intact).unwrap();
    train(&at(&moved), &run, Existing::Resume, usize::MAX);
}

#[test]
fn a_diverging_run_stops_and_names_step_rate_and_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    // The learning rate is far too high, even at the first step of the long warm-up.
    let diverging = [
        "optimizer.learning_rate=1e30",
        "checkpoint.every_steps=1",
        "schedule.warmup_epochs=1e40",
    ];
    let experiment = experiment(folder.path(), &[&crate::NARROW[..], &diverging].concat());
    let options = crate::options(&run, Existing::Refuse);
    let outcome = shufflenet_train::run::start::train(
        &experiment,
        &options,
        &shufflenet_train::Interrupter::new(),
        &mut shufflenet_train::display::console::Console::new(),
    );
    let line = outcome.err().unwrap().to_string();
    for part in [
        "is infinite or NaN at step",
        "epoch 1",
        "learning rate",
        "Last good checkpoint",
    ] {
        assert!(line.contains(part), "{line}");
    }
}
