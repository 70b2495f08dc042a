//! Tests of `export --format model`: every command takes the folder as a checkpoint, and the figures on its card are right.
//! Also, the networks in `models/` still give their stored logits.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{TRAINED, eval, json, printed, refusal, repository, run, shufflenet};

/// Largest accepted difference of a logit from the stored one, as a fraction of the largest logit. Other vector
/// instructions add in another order.
const TOLERANCE: f64 = 1e-4;
/// Largest accepted size of all networks in `models/` together.
const MOST_BYTES: u64 = 8_000_000;

fn ship(folder: &Path, more: &[&str]) -> String {
    let run = run();
    let export = ["export", "--checkpoint", &run, "--format", "model"];
    let named = ["--licence", "CC0-1.0 | none", "--out", "nets/tiny"];
    printed(folder, &[&export[..], &named, more].concat())
}

fn file(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join("nets/tiny").join(name)).unwrap()
}

#[test]
fn an_exported_model_is_a_checkpoint_with_the_figures_of_its_card() {
    let folder = tempfile::tempdir().unwrap();
    // The remains of a killed export do no harm.
    fs::create_dir_all(folder.path().join("nets/.tiny.partial/rest")).unwrap();
    let said = ship(folder.path(), &[]);
    assert!(
        said.contains("in float16") && said.contains("\ntest: loss "),
        "{said}"
    );
    let card = file(folder.path(), "README.md");
    let report = eval(folder.path(), "nets/tiny", &[]);
    let trained = eval(folder.path(), &run(), &[]);
    let figures = format!(
        "top-1 {:.2} %, loss {:.4} on {} test records of `cifar10-format`; the epoch was chosen on this same part",
        report["top1"].as_f64().unwrap() * 100.0,
        report["loss"].as_f64().unwrap(),
        report["count"]
    );
    let manifest: Value = serde_json::from_str(&file(folder.path(), "manifest.json")).unwrap();
    let digest = &manifest["files"]["model.safetensors"]["sha256"];
    for part in [
        "# tiny\n",
        &figures,
        "| training | seed 0, after epoch 2 of 2 (4 steps), moving average 0.5 of the weights |",
        "`cifar10`, `cifar10-format`, 30 records trained on; SHA-256 `",
        "352,042 parameters",
        "| classes | T-shirt/top, Trouser, ",
        digest.as_str().unwrap(),
        "| licence of the weights | CC0-1.0 \\| none |",
        "predict --checkpoint nets/tiny",
        "ema_decay = 0.5",
        "device flex, ",
    ] {
        assert!(card.contains(part), "{part} is not in:\n{card}");
    }
    // The weights are the moving average, rounded.
    let [a, b] = [&report, &trained].map(|report| report["loss"].as_f64().unwrap());
    assert!(a != b && (a - b).abs() < 0.01 * b, "{a} and {b}");
    assert_eq!(report["weights"], "model.safetensors");

    let image = repository().join("crates/shufflenet-data/tests/fixtures/images/rgb.png");
    let predict = [
        "predict",
        "--checkpoint",
        "nets/tiny",
        "--json",
        "--top",
        "1",
    ];
    let image = image.display().to_string();
    json(folder.path(), &[&predict[..], &[&image]].concat());
    for (format, out) in [("onnx", "a.onnx"), ("safetensors", "a.safetensors")] {
        let export = ["export", "--checkpoint", "nets/tiny", "--format", format];
        printed(folder.path(), &[&export[..], &["--out", out]].concat());
    }
    // A model cannot be exported as a model again, because the second card could not name the run.
    let again = ["export", "--checkpoint", "nets/tiny", "--format", "model"];
    let again = [&again[..], &["--licence", "x", "--out", "again"]].concat();
    let line = refusal(folder.path(), &again, 2);
    assert!(
        line.contains("nets/tiny, a model with a card already"),
        "{line}"
    );

    let config = TRAINED.path().join("trial.toml").display().to_string();
    for key in ["fine_tune.from=nets/tiny", "distill.from=nets/tiny"] {
        let (name, _) = key.split_once('.').unwrap();
        let train = ["train", "--config", &config, "--set", key, "--out", name];
        let short = ["--set", "train.max_steps=1"];
        printed(folder.path(), &[&train[..], &short].concat());
    }
}

#[test]
fn a_card_without_data_says_so_and_damage_is_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    // A checkpoint without its run folder, whose data is gone.
    let best = TRAINED.path().join("runs/trial/checkpoints/best");
    fs::create_dir(&run).unwrap();
    for entry in fs::read_dir(best).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), run.join(entry.file_name())).unwrap();
    }
    let moved = |name: &str, edit: &dyn Fn(&str) -> String| {
        let path = run.join(name);
        let text = edit(&fs::read_to_string(&path).unwrap());
        fs::write(path, text).unwrap();
    };
    let before = fs::read(run.join("classifier.json")).unwrap();
    moved("classifier.json", &|text| {
        text.replace("cifar10-format", "gone")
    });
    let line = refusal(folder.path(), &["eval", "--checkpoint", "run"], 1);
    assert!(
        line.contains("classifier.json: damaged: ") && line.lines().count() == 1,
        "{line}"
    );
    fs::write(run.join("classifier.json"), before).unwrap();

    let export = [
        "export",
        "--checkpoint",
        "run",
        "--format",
        "model",
        "--out",
        "net",
    ];
    let licence = ["--licence", "MIT"];
    let with = |more: &[&'static str]| [&export[..], &licence, more].concat();
    let line = refusal(folder.path(), &with(&["--data", "nowhere"]), 2);
    assert!(
        line.contains("--data is nowhere, which does not exist"),
        "{line}"
    );
    assert!(!folder.path().join("net").exists());
    printed(folder.path(), &with(&[]));
    let card = fs::read_to_string(folder.path().join("net/README.md")).unwrap();
    assert!(card.contains("| processor | not known |"), "{card}");

    let weights = folder.path().join("net/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let line = refusal(folder.path(), &["eval", "--checkpoint", "net"], 1);
    assert!(
        line.contains("model.safetensors: damaged: its SHA-256 is not the manifest's"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
}

/// An import that was told of no data and no recipe has none on its card.
#[test]
fn the_card_of_an_import_invents_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = repository().join("crates/shufflenet-model/tests/fixtures/exchange");
    let standard = fixtures.join("standard.pth").display().to_string();
    let import = ["import", "--weights", &standard, "--stem", "cifar"];
    printed(
        folder.path(),
        &[&import[..], &["--out", "imported"]].concat(),
    );
    let export = [
        "export",
        "--checkpoint",
        "imported",
        "--format",
        "model",
        "--licence",
        "MIT",
        "--out",
        "net",
    ];
    printed(folder.path(), &export);
    let card = fs::read_to_string(folder.path().join("net/README.md")).unwrap();
    assert!(card.contains("| training | imported weights |"), "{card}");
    assert!(
        card.contains("predict --checkpoint net photo.jpg"),
        "{card}"
    );
    for made_up in [
        "| data |",
        "| recipe |",
        "## Recipe",
        "shufflenet eval",
        "top-1",
    ] {
        assert!(!card.contains(made_up), "{made_up} is in:\n{card}");
    }
}

#[test]
fn a_model_that_cannot_be_exported_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let run = run();
    let refused = |format: &str, more: &[&str], part: &str| {
        let export = [
            "export",
            "--checkpoint",
            &run,
            "--format",
            format,
            "--out",
            "net",
        ];
        let line = refusal(folder.path(), &[&export[..], more].concat(), 2);
        assert!(line.contains(part) && line.lines().count() == 1, "{line}");
    };
    refused("model", &[], "--licence is not given; accepted: one line");
    refused("model", &["--licence", " "], "--licence is not given");
    refused("model", &["--licence", "a\nb"], "--licence is `a` `b`");
    refused(
        "onnx",
        &["--licence", "MIT"],
        "accepted: --licence with --format model or web",
    );
    refused(
        "safetensors",
        &["--data", "x"],
        "accepted: --data with --format model",
    );
    let size = ["--licence", "MIT", "--dynamic-size"];
    refused(
        "model",
        &size,
        "accepted: --dynamic-size with --format onnx",
    );
    fs::create_dir(folder.path().join("net")).unwrap();
    refused("model", &["--licence", "MIT"], "--out is net, which exists");
}

/// The folders in `place`, sorted by name.
fn folders(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The `logits.jsonl` of each network has the output of `predict --json --logits` at its release, for images in this
/// repository.
#[test]
fn every_shipped_network_gives_its_stored_logits() {
    let root = repository().canonicalize().unwrap();
    let shipped = folders(&root.join("models"));
    let fixtures = folders(&root.join("crates/shufflenet-cli/tests/fixtures/models"));
    assert!(!shipped.is_empty() && !fixtures.is_empty());
    let files = shipped
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let bytes: u64 = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= MOST_BYTES, "models/ has {bytes} bytes");
    for folder in shipped.iter().chain(&fixtures) {
        let name = folder.display().to_string();
        let text = fs::read_to_string(folder.join("logits.jsonl"));
        let text = text.unwrap_or_else(|error| panic!("{name}/logits.jsonl: {error}"));
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let stored: Vec<Value> = text.lines().map(parse).collect();
        assert!(!stored.is_empty(), "{name}/logits.jsonl is empty");
        let images = stored.iter().map(|line| line["path"].as_str().unwrap());
        let predict = ["predict", "--checkpoint", &name, "--json", "--logits"];
        let arguments: Vec<&str> = predict.into_iter().chain(images).collect();
        let assert = shufflenet(&root, &arguments).assert().success();
        let said = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        let said: Vec<Value> = said.lines().map(parse).collect();
        assert_eq!(said.len(), stored.len(), "{name}");
        for (now, stored) in said.iter().zip(&stored) {
            assert_eq!(now["top"][0]["name"], stored["top"][0]["name"], "{name}");
            let [now, then] = [now, stored].map(|line| {
                let logits = line["logits"].as_array().unwrap().iter();
                logits
                    .map(|logit| logit.as_f64().unwrap())
                    .collect::<Vec<f64>>()
            });
            assert_eq!(now.len(), then.len(), "{name}");
            let largest = then
                .iter()
                .fold(0.0, |most: f64, logit| most.max(logit.abs()));
            let pairs = now.iter().zip(&then);
            let error = pairs.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / largest;
            println!("{name}, {}: {error:.1e}", stored["path"]);
            assert!(error <= TOLERANCE, "{name}, {}: {error}", stored["path"]);
        }
        let card = fs::read_to_string(folder.join("README.md")).unwrap();
        let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
        let digest = &parse(&manifest)["files"]["model.safetensors"]["sha256"];
        assert!(
            card.contains(digest.as_str().unwrap()),
            "{name}: the card has another SHA-256"
        );
    }
}
