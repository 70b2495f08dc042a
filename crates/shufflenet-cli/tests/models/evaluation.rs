//! `eval`: what it says, and that its documentation says the same.

use std::fs;

use crate::{eval, refusal, repository, run};

#[test]
fn an_evaluation_says_what_its_documentation_promises() {
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
    // Those that were trained on, of the fifty that there are.
    assert_eq!(
        eval(folder.path(), &run(), &["--split", "train"])["count"],
        30
    );
}
