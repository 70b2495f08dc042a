//! Tests of `report` on one run and on several.

use std::fs;

use crate::{printed, refusal, run};

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
        "the comparison of a run with itself lists differences"
    );
}

/// A misspelt part or folder does not cost an earlier report its figures.
#[test]
fn a_report_with_a_wrong_argument_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    printed(folder.path(), &["report", &run(), "--out", "one.html"]);
    let before = fs::read(folder.path().join("one.html")).unwrap();
    for (more, answer) in [
        (
            ["--split", "tset"],
            "--split is tset; accepted: test, validation, train, all",
        ),
        (
            ["--split", "validation"],
            "--split is validation; accepted: test, train (this run has no validation part)",
        ),
        (["--data", "nope"], "--data is nope, which does not exist"),
        (["--device", "nope"], "--device is `nope`"),
    ] {
        let run = run();
        let report = [&["report", &run, "--out", "one.html"], &more[..]].concat();
        let line = refusal(folder.path(), &report, 2);
        assert!(line.contains(answer), "{line}");
        let now = fs::read(folder.path().join("one.html")).unwrap();
        assert!(now == before, "{more:?} has replaced the report");
    }
}
