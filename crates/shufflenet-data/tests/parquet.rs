//! Tests of reading parquet files as Hugging Face writes them, and of refusing damaged or hostile files.

// Helpers of tests, outside a `#[test]` function.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use shufflenet_data::{DataError, Dataset, Format, Options, Split, open};

const NAME: &str = "train-00000-of-00001.parquet";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn set(root: &Path, split: Split) -> Result<Dataset, DataError> {
    let options = Options {
        size: 2,
        resize: Some(2),
        ..Options::default()
    };
    open(Format::named("parquet").unwrap(), root, split, &options)
}

/// The error message for a file with these bytes.
fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(NAME), bytes).unwrap();
    set(folder.path(), Split::Train).unwrap_err().to_string()
}

#[test]
fn images_labels_and_names_are_read() {
    let root = fixtures().join("parquet");
    let train = set(&root, Split::Train).unwrap();
    assert_eq!(train.class_names, ["cat", "dog"]);
    assert_eq!(train.labels(), [0, 1, 1]);
    assert_eq!(train.image(2).unwrap()[..4], [30; 4]);
    let line = set(&root, Split::Test).unwrap_err().to_string();
    assert!(line.contains("has no files of the test part"), "{line}");
}

#[test]
fn damage_is_answered() {
    let whole = fs::read(fixtures().join("parquet").join(NAME)).unwrap();
    for cut in [0, 5, whole.len() / 2, whole.len() - 1] {
        let line = refusal(&whole[..cut]);
        assert!(line.contains("found a damaged parquet file"), "{line}");
    }
}

/// The fuzzer found these files (the second was made by hand after such a file). With them the parquet library failed an
/// assertion, allocated memory for all claimed values, or counted to two billion.
#[test]
fn lying_headers_are_answered() {
    for (name, answer) in [
        ("column-before-the-file", "a column outside it"),
        ("dictionary-too-large", "a dictionary larger than its page"),
        ("list-of-billions", "a page without a valid header"),
    ] {
        let file = fixtures().join("parquet-damaged").join(name);
        let line = refusal(&fs::read(file.with_extension("parquet")).unwrap());
        assert!(line.contains(answer), "{line}");
    }
}
