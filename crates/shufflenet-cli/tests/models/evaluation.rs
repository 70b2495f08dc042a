//! Tests of `eval`: its output, and that `docs/evaluation.md` describes this output.

use std::fs;

use crate::{eval, json, printed, refusal, repository, run};

#[test]
fn an_evaluation_has_documented_keys_and_consistent_counts() {
    let folder = tempfile::tempdir().unwrap();
    let report = eval(folder.path(), &run(), &["--predictions", "images.csv"]);
    let documented = fs::read_to_string(repository().join("docs/evaluation.md")).unwrap();
    for key in report.as_object().unwrap().keys() {
        assert!(
            documented.contains(&format!("| `{key}` |")),
            "{key} is not documented"
        );
    }
    let count = report["count"].as_u64().unwrap() as usize;
    let cells = report["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap());
    assert_eq!(
        cells.map(|cell| cell.as_u64().unwrap()).sum::<u64>(),
        count as u64
    );
    assert_eq!(report["weights"], "ema.safetensors");

    let rows = fs::read_to_string(folder.path().join("images.csv")).unwrap();
    let right = rows.lines().filter(|line| line.contains(",true,")).count();
    assert_eq!(rows.lines().count(), count + 1);
    assert!((report["top1"].as_f64().unwrap() - right as f64 / count as f64).abs() < 1e-12);
    let again = [
        "eval",
        "--checkpoint",
        &run(),
        "--predictions",
        "images.csv",
    ];
    assert!(refusal(folder.path(), &again, 2).contains("images.csv, which exists"));

    let raw = eval(folder.path(), &run(), &["--weights", "raw"]);
    assert_eq!(raw["weights"], "model.safetensors");
    assert_ne!(raw["loss"], report["loss"]);
    let mirrored = eval(folder.path(), &run(), &["--tta"]);
    assert!(mirrored["tta"] == true && mirrored["loss"] != report["loss"]);
    // The run trained on 30 of the 50 training images (`data.limit`).
    assert_eq!(
        eval(folder.path(), &run(), &["--split", "train"])["count"],
        30
    );
}

/// In bfloat16 the results of `eval`, `predict` and `bench infer` are close to those of float32, and the output names
/// the precision.
#[test]
fn commands_with_bfloat16_name_it_and_stay_close_to_float32() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, wide, narrow] = [
        &[][..],
        &["--precision", "f32"],
        &["--precision", "bf16", "--threads", "1"],
    ]
    .map(|more| eval(folder.path(), &run(), more));
    assert!(plain["precision"] == "f32" && wide["precision"] == "f32");
    assert_eq!(plain["loss"], wide["loss"]);
    assert_eq!(narrow["precision"], "bf16");
    assert_ne!(narrow["loss"], wide["loss"]);
    let [a, b] = [&wide, &narrow].map(|report| report["loss"].as_f64().unwrap());
    assert!((a - b).abs() < 0.05 * a, "{a} and {b}");
    let two = eval(
        folder.path(),
        &run(),
        &["--precision", "bf16", "--threads", "2"],
    );
    assert_eq!(two["loss"], narrow["loss"]);
    let words = ["eval", "--checkpoint", &run(), "--precision", "bf16"];
    assert!(printed(folder.path(), &words).contains(" on flex, activations in bf16"));

    let images = repository().join("crates/shufflenet-data/tests/fixtures/images/grey.png");
    let image = images.display().to_string();
    let predict = |precision: &str| {
        let run = run();
        let arguments = ["predict", "--checkpoint", &run, "--json", "--logits"];
        let more = ["--precision", precision, &image];
        json(folder.path(), &[&arguments[..], &more].concat())
    };
    let [wide, narrow] = ["f32", "bf16"].map(predict);
    assert_eq!(wide["path"], narrow["path"]);
    assert_ne!(wide["logits"], narrow["logits"]);

    let bench = |more: &[&str]| {
        let arguments = ["bench", "infer", "--scale", "0.5", "--stem", "cifar"];
        let small = ["--batch", "2", "--steps", "1", "--json"];
        json(folder.path(), &[&arguments[..], &small, more].concat())
    };
    assert_eq!(bench(&[])["precision"], "f32");
    assert_eq!(bench(&["--precision", "bf16"])["precision"], "bf16");
}

#[test]
fn an_unknown_or_unsupported_precision_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let infer = ["bench", "infer", "--scale", "0.5", "--stem", "cifar"];
    let cases: [(&[&str], &str); 3] = [
        (&["--precision", "f16"], "accepted: f32, bf16"),
        (
            &[
                "--set",
                "model.squeeze_excitation=true",
                "--precision",
                "bf16",
            ],
            "--precision is \"bf16\" with squeeze-and-excitation",
        ),
        (
            &["--checkpoint", "runs/none", "--precision", "bf16"],
            "cannot be used with",
        ),
    ];
    for (more, expected) in cases {
        let line = refusal(folder.path(), &[&infer[..], more].concat(), 2);
        assert!(line.contains(expected), "{more:?}: {line}");
    }
}

/// A flag that `bench` has, too, is explained for the command at hand.
#[test]
fn a_file_of_predictions_in_no_folder_is_refused_before_the_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "eval",
        "--checkpoint",
        &run(),
        "--predictions",
        "none/p.csv",
    ];
    let line = refusal(folder.path(), &arguments, 2);
    assert_eq!(
        line.trim_end(),
        "error: --predictions is none/p.csv, whose folder does not exist; accepted: a file to be made, in a folder that exists"
    );
}

#[test]
fn the_help_of_a_command_speaks_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["eval", "predict"] {
        let help = printed(folder.path(), &[command, "--help"]);
        assert!(
            help.contains("f32, or bf16 (on the CPU) [default: f32]") && !help.contains("bench"),
            "{help}"
        );
    }
}
