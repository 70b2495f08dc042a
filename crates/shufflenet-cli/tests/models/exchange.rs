//! `export` and `import`, there and back.

use std::fs;

use serde_json::Value;

use crate::{TRAINED, eval, printed, refusal, run};

#[test]
fn what_is_exported_and_imported_evaluates_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let export = |format, out| {
        printed(
            folder.path(),
            &[
                "export",
                "--checkpoint",
                &run(),
                "--format",
                format,
                "--out",
                out,
            ],
        )
    };
    export("safetensors", "network.safetensors");
    assert!(export("onnx", "network.onnx").contains("standard network of scale 0.5"));
    let again = [
        "export",
        "--checkpoint",
        &run(),
        "--format",
        "onnx",
        "--out",
        "network.onnx",
    ];
    assert!(refusal(folder.path(), &again, 1).contains("network.onnx"));

    let config = TRAINED
        .path()
        .join("runs/trial/config.toml")
        .display()
        .to_string();
    let import = [
        "import",
        "--weights",
        "network.safetensors",
        "--out",
        "imported",
    ];
    let said = printed(
        folder.path(),
        &[&import[..], &["--config", &config]].concat(),
    );
    assert!(said.contains("0 missing, 0 unused, 0 misshapen"), "{said}");
    // Normalisation was measured, and is not in the file: it is told.
    let checkpoint = TRAINED
        .path()
        .join("runs/trial/checkpoints/best/classifier.json");
    let text = fs::read_to_string(checkpoint).unwrap();
    let description: Value = serde_json::from_str(&text).unwrap();
    let list = |key: &str| {
        let values = description["normalization"][key].as_array().unwrap();
        values
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let (mean, std) = (list("mean"), list("std"));
    let import = [
        "import",
        "--weights",
        "network.safetensors",
        "--out",
        "told",
        "--config",
        &config,
    ];
    let import = [&import[..], &["--mean", &mean, "--std", &std]].concat();
    printed(folder.path(), &import);
    let (ours, theirs) = (
        eval(folder.path(), &run(), &[]),
        eval(folder.path(), "told", &[]),
    );
    for key in ["loss", "top1", "confusion", "calibration"] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    assert_eq!(theirs["chosen_by_this_split"], false);
    let export = [
        "export",
        "--checkpoint",
        "told",
        "--format",
        "safetensors",
        "--out",
        "again",
    ];
    printed(folder.path(), &export);
    let bytes = |name| fs::read(folder.path().join(name)).unwrap();
    assert!(
        bytes("again") == bytes("network.safetensors"),
        "a round trip is exact"
    );
}
