//! Tests of the answers of these commands to bad input.

use std::fs;

use crate::{printed, refusal, repository};

/// Bad inputs of `import`, each with the exit code and a part of the error.
#[test]
fn bad_inputs_are_refused_with_their_cause() {
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
        (
            &["--weights", "half.pth"],
            &cifar,
            1,
            "half.pth: cannot be read as weights: it is cut off",
        ),
        (
            &["--weights", "half.safetensors"],
            &cifar,
            1,
            "half.safetensors: a safetensors file that was cut off or damaged",
        ),
        (
            &["--weights", "code.pth"],
            &cifar,
            1,
            "code.pth: cannot be read as weights: there are no tensors",
        ),
        (&["--weights", "deep.pth"], &cifar, 1, "nesting exceeds"),
        (
            &["--weights", "photo.pth"],
            &cifar,
            1,
            "photo.pth: cannot be read as weights: it is neither",
        ),
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
            "no network's names begin with",
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
            "2 lines; accepted: 5 different names",
        ),
        (
            &["--weights", &standard, "--mean", "0.5", "--std", "0.5"],
            &cifar,
            2,
            "3 values, one per channel",
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
    // With `--partial` the import takes the tensors that fit.
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
    // An import does not guess where its data is.
    fs::create_dir(folder.path().join("data")).unwrap();
    let said = refusal(folder.path(), &["eval", "--checkpoint", "imported"], 2);
    assert!(
        said.contains("--data is not given, and an import has no data of its own"),
        "{said}"
    );
}
