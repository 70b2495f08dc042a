//! Tests of `report` on one run and on several.

use std::fs;

use crate::{printed, run};

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
