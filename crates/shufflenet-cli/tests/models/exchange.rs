//! Tests of `export` and `import`, and of the round trip.

use std::fs;

use serde_json::Value;

use crate::{TRAINED, eval, printed, refusal, repository, run};

#[test]
fn an_exported_and_imported_network_evaluates_to_the_same() {
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
    let line = refusal(folder.path(), &again, 2);
    assert!(
        line.contains("network.onnx, which exists; accepted: a file to be made"),
        "{line}"
    );

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
    // The run measured the normalisation, and the weight file does not have it: flags give it.
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
        "normalised",
        "--config",
        &config,
    ];
    let import = [&import[..], &["--mean", &mean, "--std", &std]].concat();
    printed(folder.path(), &import);
    let (ours, theirs) = (
        eval(folder.path(), &run(), &[]),
        eval(folder.path(), "normalised", &[]),
    );
    for key in ["loss", "top1", "confusion", "calibration"] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    assert_eq!(theirs["chosen_by_this_split"], false);
    let export = [
        "export",
        "--checkpoint",
        "normalised",
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

#[test]
fn an_onnx_file_with_a_dynamic_size_takes_images_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let run = run();
    let export = ["export", "--checkpoint", &run, "--dynamic-size", "--format"];
    let onnx = [&export[..], &["onnx", "--out", "any.onnx"]].concat();
    printed(folder.path(), &onnx);
    let bytes = fs::read(folder.path().join("any.onnx")).unwrap();
    let has = |text: &str| {
        bytes
            .windows(text.len())
            .any(|found| found == text.as_bytes())
    };
    for text in [
        "batch", "height", "width", "resize", "crop", "labels", "mean", "std",
    ] {
        assert!(has(text), "{text}");
    }
    let other = [&export[..], &["safetensors", "--out", "any.safetensors"]].concat();
    let said = refusal(folder.path(), &other, 2);
    assert!(said.contains("--dynamic-size with --format onnx"), "{said}");
}

/// The import of a file with an optimizer and objects of every type prints a few lines only.
#[test]
fn tensors_outside_the_network_are_counted_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = repository().join("crates/shufflenet-model/tests/fixtures/import");
    let strange = fixtures.join("strange.pth").display().to_string();
    let import = [
        "import",
        "--weights",
        &strange,
        "--stem",
        "cifar",
        "--out",
        "imported",
    ];
    let said = printed(folder.path(), &import);
    assert!(said.contains("12 other tensors: array 1, "), "{said}");
    assert!(said.contains("0 missing, 0 unused, 0 misshapen"), "{said}");
    assert_eq!(said.lines().count(), 6, "{said}");
}

#[cfg(not(feature = "web"))]
#[test]
fn a_binary_without_the_web_module_says_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = run();
    let export = ["export", "--checkpoint", &checkpoint, "--format", "web"];
    let line = refusal(
        folder.path(),
        &[&export[..], &["--out", "site"]].concat(),
        2,
    );
    assert!(
        line.contains("`scripts/build_web` and then `cargo build --release --features web`"),
        "{line}"
    );
    assert!(!folder.path().join("site").exists());
}
