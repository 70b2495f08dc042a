//! What a trained model is for, as its user meets it: evaluate, predict, export, import, report.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A run on the CIFAR-format fixture, with a moving average; trained once.
static TRAINED: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let data = repository().join("crates/shufflenet-data/tests/fixtures/cifar10-format");
    let text = format!(
        "[model]\nscale = 0.5\nstem = \"cifar\"\n[data]\nformat = \"cifar10\"\nroot = {data:?}\nlimit = 30\n\
         [train]\nepochs = 2\nbatch_size = 20\nema_decay = 0.5\n"
    );
    fs::write(folder.path().join("trial.toml"), text).unwrap();
    shufflenet(folder.path(), &["train", "--config", "trial.toml"])
        .assert()
        .success();
    folder
});

fn shufflenet(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("shufflenet").unwrap();
    command.current_dir(folder).args(arguments);
    command
}

fn run() -> String {
    TRAINED.path().join("runs/trial").display().to_string()
}

fn printed(folder: &Path, arguments: &[&str]) -> String {
    let assert = shufflenet(folder, arguments).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(folder, arguments)).unwrap()
}

/// What `arguments` are refused with, on standard error alone.
fn refusal(folder: &Path, arguments: &[&str], code: i32) -> String {
    let assert = shufflenet(folder, arguments).assert().code(code);
    let output = assert.get_output();
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn eval(folder: &Path, checkpoint: &str, more: &[&str]) -> Value {
    json(
        folder,
        &[&["eval", "--checkpoint", checkpoint, "--json"], more].concat(),
    )
}

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

#[test]
fn images_are_classified_and_bad_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let images = repository().join("crates/shufflenet-data/tests/fixtures/images");
    let mut names: Vec<_> = fs::read_dir(&images)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "png"))
        .collect();
    names.sort();
    fs::create_dir(folder.path().join("photos")).unwrap();
    for (name, from) in ["a.png", "b, c.png"].iter().zip(&names) {
        fs::copy(from, folder.path().join("photos").join(name)).unwrap();
    }
    let run = run();
    let predict = |more: &[&str]| {
        let arguments = [&["predict", "--checkpoint", &run, "--top", "2"], more].concat();
        shufflenet(folder.path(), &arguments)
    };
    let text = |command: &mut Command, code| {
        let assert = command.assert().code(code);
        let output = assert.get_output().clone();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let [lines, _] = text(&mut predict(&["photos"]), 0);
    assert_eq!(lines.lines().count(), 2);
    assert!(
        lines.starts_with("photos/a.png: ") && lines.matches(" %").count() == 4,
        "{lines}"
    );
    let [csv, _] = text(&mut predict(&["--csv", "photos/*.png"]), 0);
    assert!(
        csv.starts_with("path,rank,class,name,probability\nphotos/a.png,1,"),
        "{csv}"
    );
    assert!(csv.contains("\n\"photos/b, c.png\",2,"), "{csv}");

    fs::write(
        folder.path().join("photos/half.png"),
        &fs::read(&names[0]).unwrap()[..60],
    )
    .unwrap();
    let [objects, errors] = text(
        &mut predict(&["--json", "--logits", "photos", "nowhere.png"]),
        1,
    );
    let objects: Vec<Value> = objects
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 4);
    assert_eq!(objects[0]["logits"].as_array().unwrap().len(), 10);
    let sum: f64 = objects[0]["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|top| top["probability"].as_f64().unwrap())
        .sum();
    assert!(sum > 0.1 && sum <= 1.0);
    assert!(
        objects[2]["error"].as_str().unwrap().contains("damaged"),
        "{:?}",
        objects[2]
    );
    assert!(
        errors.contains("half.png") && errors.contains("nowhere.png"),
        "{errors}"
    );

    // The same by standard input: as names, and as an image. Batches change nothing.
    let [one_by_one, _] = text(
        predict(&["--batch", "1", "-"]).write_stdin("photos/a.png\nphotos/b, c.png\n"),
        0,
    );
    assert_eq!(one_by_one, lines);
    let image = fs::read(folder.path().join("photos/a.png")).unwrap();
    let [piped, _] = text(predict(&["-"]).write_stdin(image), 0);
    assert_eq!(
        piped.trim_start_matches('-'),
        lines
            .lines()
            .next()
            .unwrap()
            .trim_start_matches("photos/a.png")
            .to_string()
            + "\n"
    );
}

#[test]
fn a_report_shows_mistakes_and_runs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = ("one.html", "two.html");
    printed(folder.path(), &["report", &run(), "--out", one]);
    let page = fs::read_to_string(folder.path().join(one)).unwrap();
    for part in [
        "<h2>Mistakes</h2>",
        "data:image/png;base64,",
        "Confusion matrix",
        "Calibration",
        "ema_decay",
    ] {
        assert!(page.contains(part), "{part}");
    }
    printed(folder.path(), &["report", &run(), &run(), "--out", two]);
    let page = fs::read_to_string(folder.path().join(two)).unwrap();
    assert!(
        page.contains("<p>Nothing.</p>"),
        "a run does not differ from itself"
    );
}

/// Fifteen bad inputs, each with its exit code and what its answer names.
#[test]
fn bad_inputs_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = repository().join("crates/shufflenet-model/tests/fixtures/exchange");
    let fixture = |name: &str| fixtures.join(name).display().to_string();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let standard = fs::read(fixture("standard.pth")).unwrap();
    write("half.pth", &standard[..standard.len() / 2]);
    let safetensors = fs::read(fixture("standard.safetensors")).unwrap();
    write("half.safetensors", &safetensors[..safetensors.len() / 2]);
    write(
        "code.pth",
        b"\x80\x02cposix\nsystem\nX\x0a\0\0\0touch made\x85R.",
    );
    write(
        "deep.pth",
        &[&[b']'; 50_000][..], &[b'a'; 49_999], b"."].concat(),
    );
    write("photo.pth", b"\x89PNG\r\n\x1a\n0000");
    write("names.txt", b"cat\ndog\n");
    let (standard, checkpoint) = (fixture("standard.pth"), fixture("checkpoint.pth"));
    let cifar = ["--stem", "cifar"];
    let cases: [(&[&str], &[&str], i32, &str); 15] = [
        (
            &["--weights", "nowhere.pth"],
            &cifar,
            1,
            "nowhere.pth: cannot be read",
        ),
        (&["--weights", "half.pth"], &cifar, 1, "half.pth: neither"),
        (
            &["--weights", "half.safetensors"],
            &cifar,
            1,
            "no whole safetensors file",
        ),
        (&["--weights", "code.pth"], &cifar, 1, "code.pth: neither"),
        (&["--weights", "deep.pth"], &cifar, 1, "nesting exceeds"),
        (&["--weights", "photo.pth"], &cifar, 1, "photo.pth: neither"),
        (
            &["--weights", &checkpoint],
            &cifar,
            1,
            "2 networks in one file",
        ),
        (
            &["--weights", &checkpoint, "--prefix", "net."],
            &cifar,
            1,
            "no name begins with",
        ),
        (&["--weights", &standard], &[], 2, "--stem is not given"),
        (
            &["--weights", &standard, "--classes", "7"],
            &cifar,
            1,
            "fc.weight: [5, 16], expected [7, 16]",
        ),
        (
            &["--weights", &standard, "--set", "model.repeats=[1,1,1]"],
            &cifar,
            1,
            "15 unused",
        ),
        (
            &["--weights", &standard, "--class-names", "names.txt"],
            &cifar,
            2,
            "2 lines; accepted: 5 names",
        ),
        (
            &["--weights", &standard, "--mean", "0.5", "--std", "0.5"],
            &cifar,
            2,
            "3 values, one a channel",
        ),
        (
            &["--weights", &standard, "--mean", "0.5,0.5,0.5"],
            &cifar,
            2,
            "--std",
        ),
        (
            &["--weights", &standard, "--layout", "seed"],
            &cifar,
            1,
            "missing",
        ),
    ];
    for (what, stem, code, answer) in cases {
        let arguments = [&["import", "--out", "imported"], what, stem].concat();
        let said = refusal(folder.path(), &arguments, code);
        assert!(said.contains(answer), "{what:?}: {said}");
        assert!(!folder.path().join("imported").exists() && !folder.path().join("made").exists());
    }
    // Asked for, what fits is taken.
    let partial = [
        "import",
        "--out",
        "imported",
        "--weights",
        &standard,
        "--classes",
        "7",
        "--partial",
    ];
    let said = printed(folder.path(), &[&partial[..], &cifar].concat());
    assert!(said.contains("2 misshapen"), "{said}");
    assert!(refusal(folder.path(), &[&partial[..], &cifar].concat(), 2).contains("which exists"));
}
