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
/// The size and the shorter side of photographs, by flag, by key, by both, and beside another key.
#[test]
fn an_import_keeps_the_size_that_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let weights = repository().join("crates/shufflenet-model/tests/fixtures/exchange/standard.pth");
    let weights = weights.display().to_string();
    let cases: [(&[&str], [u64; 2]); 7] = [
        (&[], [224, 256]),
        (&["--size", "160"], [160, 182]),
        (
            &[
                "--set",
                "data.options.size=160",
                "--set",
                "data.options.resize=200",
            ],
            [160, 200],
        ),
        (
            &["--size", "160", "--set", "data.options.resize=160"],
            [160, 160],
        ),
        (
            &["--size", "160", "--set", "data.options.on_bad_image=error"],
            [160, 182],
        ),
        (&["--stem", "cifar"], [32, 32]),
        (
            &["--stem", "cifar", "--set", "data.options.resize=48"],
            [32, 48],
        ),
    ];
    for (number, (more, [size, resize])) in cases.into_iter().enumerate() {
        let out = number.to_string();
        let stem: &[&str] = if more.contains(&"cifar") {
            &[]
        } else {
            &["--stem", "imagenet"]
        };
        let import = ["import", "--weights", &weights, "--out", &out];
        printed(folder.path(), &[&import[..], stem, more].concat());
        let onnx = format!("{out}.onnx");
        let export = [
            "export",
            "--checkpoint",
            &out,
            "--format",
            "onnx",
            "--out",
            &onnx,
        ];
        printed(folder.path(), &export);
        let text = fs::read_to_string(folder.path().join(&out).join("classifier.json")).unwrap();
        let description: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            description["input"],
            serde_json::json!([3, size, size]),
            "{more:?}"
        );
        let bytes = fs::read(folder.path().join(onnx)).unwrap();
        let metadata = String::from_utf8_lossy(&bytes);
        let after = metadata.rsplit("resize").next().unwrap();
        let found: String = after
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take(3)
            .collect();
        assert!(found.starts_with(&resize.to_string()), "{more:?}: {found}");
    }
    let both = [
        "import",
        "--weights",
        &weights,
        "--out",
        "x",
        "--stem",
        "cifar",
        "--size",
        "32",
    ];
    let line = refusal(
        folder.path(),
        &[&both[..], &["--set", "data.options.size=48"]].concat(),
        2,
    );
    assert!(
        line.contains("--size is 32, with data.options.size = 48; accepted: one of the two"),
        "{line}"
    );
}

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
