//! A list of images: CSV with the columns `path`, `label` and optionally `split`, or JSONL with those keys.
//!
//! ```text
//! path,label,split                    {"path": "cats/1.jpg", "label": "cat", "split": "train"}
//! cats/1.jpg,cat,train                {"path": "dogs/7.jpg", "label": "dog", "split": "test"}
//! dogs/7.jpg,dog,test
//! ```
//!
//! Paths are relative to the list's folder. Labels are class names, sorted by their bytes; if all are whole
//! numbers, they are sorted by value. Without `split`, `test_fraction` divides the list.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::encoded::file;
use crate::format::Reader;
use crate::holdout::division;
use crate::{DataError, Dataset, Options, Split};

const ADVICE: &str = "a manifest is a .csv with the columns path, label and perhaps split, or a .jsonl \
    with those keys";
/// The largest size of a list, in bytes.
const MOST_BYTES: u64 = 1 << 30;

/// The format `manifest`.
pub(crate) struct Manifest;

impl Reader for Manifest {
    fn name(&self) -> &'static str {
        "manifest"
    }

    fn is_encoded(&self) -> bool {
        true
    }

    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
        if !root.is_file() {
            return Err(DataError::missing(root, "is not a file", ADVICE));
        }
        let mut bytes = Vec::new();
        let list = File::open(root).map_err(|error| DataError::io(root, error))?;
        list.take(MOST_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| DataError::io(root, error))?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(DataError::content(
                root,
                "more than 1 GiB",
                "a shorter list",
            ));
        }
        let entries = parse(root, &bytes)?;
        let classes = classes(root, &entries)?;
        let label = |entry: &Entry| classes.binary_search_by(|name| order(name, &entry.label));
        let labels: Vec<u16> = entries
            .iter()
            .filter_map(|entry| u16::try_from(label(entry).ok()?).ok())
            .collect();
        let chosen: Vec<u32> = match entries.iter().all(|entry| entry.split.is_none()) {
            true => division(root, &labels, classes.len(), split, options)?,
            false => {
                let mut chosen = Vec::new();
                for (number, entry) in (0u32..).zip(&entries) {
                    if is_of(root, entry)? == split {
                        chosen.push(number);
                    }
                }
                chosen
            }
        };
        let folder = root.parent().unwrap_or(Path::new("."));
        let mut records = Vec::new();
        for &entry in &chosen {
            let path = entries[entry as usize].path.clone();
            records.push(file(folder, path.into(), options)?);
        }
        let labels = chosen.iter().map(|&entry| labels[entry as usize]).collect();
        let mut set = Dataset::of_encoded(folder, classes, records, labels, options)?;
        set.name = crate::dataset::name_of(root);
        Ok(set)
    }
}

/// An entry of the list.
#[derive(Debug, Deserialize)]
struct Entry {
    path: String,
    #[serde(deserialize_with = "text_or_number")]
    label: String,
    #[serde(default)]
    split: Option<String>,
    #[serde(skip)]
    line: u64,
}

/// Reads a label. JSON labels may be numbers; in both kinds of list a label is a name.
fn text_or_number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Label {
        Text(String),
        Number(i64),
    }
    Ok(match Label::deserialize(from)? {
        Label::Text(text) => text,
        Label::Number(number) => number.to_string(),
    })
}

/// The entries of a list: JSON if the list begins with a brace, otherwise CSV.
fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, DataError> {
    let refuse = |line: u64, problem: String| {
        let found = format!("line {line}: {problem}");
        DataError::content(path, found, ADVICE)
    };
    let mut entries = Vec::new();
    if bytes.trim_ascii_start().starts_with(b"{") {
        for (line, text) in (1u64..).zip(bytes.split(|&byte| byte == b'\n')) {
            if text.trim_ascii().is_empty() {
                continue;
            }
            let entry: Entry =
                serde_json::from_slice(text).map_err(|e| refuse(line, e.to_string()))?;
            entries.push(Entry { line, ..entry });
        }
    } else {
        // The byte order mark that spreadsheets write is not part of the first column's name.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let headers = reader
            .headers()
            .map_err(|error| refuse(1, error.to_string()))?
            .clone();
        let column = |name: &str| headers.iter().position(|header| header == name);
        let missing = |name: &str| refuse(1, format!("no column {name}"));
        let path_at = column("path").ok_or_else(|| missing("path"))?;
        let label_at = column("label").ok_or_else(|| missing("label"))?;
        let split_at = column("split");
        for row in reader.records() {
            let row = row.map_err(|error| {
                let line = error.position().map_or(0, csv::Position::line);
                refuse(line, error.to_string())
            })?;
            let line = row.position().map_or(0, csv::Position::line);
            let field = |at: usize| row.get(at).unwrap_or_default().to_string();
            entries.push(Entry {
                path: field(path_at),
                label: field(label_at),
                split: split_at.map(field),
                line,
            });
        }
    }
    match entries
        .iter()
        .find(|entry| entry.path.is_empty() || entry.label.is_empty())
    {
        Some(entry) => Err(refuse(entry.line, "an empty path or label".into())),
        None if entries.is_empty() => Err(refuse(1, "no entries".into())),
        None => Ok(entries),
    }
}

/// Parses a list, for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn fuzz_list(bytes: &[u8]) {
    let path = Path::new("list");
    if let Ok(entries) = parse(path, bytes) {
        let _ = classes(path, &entries);
        entries.iter().for_each(|entry| drop(is_of(path, entry)));
    }
}

/// The sorted names of the classes.
fn classes(root: &Path, entries: &[Entry]) -> Result<Vec<String>, DataError> {
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry.label.as_str()).collect();
    if names.len() > 65_536 {
        let found = format!("{} labels", names.len());
        return Err(DataError::content(
            root,
            found,
            "at most 65536, one a class",
        ));
    }
    let mut names: Vec<String> = names.into_iter().map(String::from).collect();
    names.sort_by(|a, b| order(a, b));
    Ok(names)
}

/// Orders whole numbers by value and before names, and names by their bytes.
fn order(a: &str, b: &str) -> std::cmp::Ordering {
    let key = |name: &str| name.parse::<u64>().unwrap_or(u64::MAX);
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

fn is_of(root: &Path, entry: &Entry) -> Result<Split, DataError> {
    let found = entry.split.as_deref().unwrap_or_default();
    [Split::Train, Split::Test]
        .into_iter()
        .find(|split| split.to_string() == found)
        .ok_or_else(|| {
            let found = format!("line {}: split `{found}`", entry.line);
            DataError::content(
                root,
                found,
                "train or test in every line, or no split at all",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::png;

    const CSV: &str = "label,path,split\n10,a.png,train\n9,\"b,c.png\",train\n9,a.png,test\n";
    const JSONL: &str = "{\"path\":\"a.png\",\"label\":10,\"split\":\"train\"}\n\n\
        {\"path\":\"b,c.png\",\"label\":\"9\",\"split\":\"train\"}\n\
        {\"path\":\"a.png\",\"label\":9,\"split\":\"test\"}\n";

    fn options() -> Options {
        Options {
            size: 4,
            resize: Some(4),
            ..Options::default()
        }
    }

    fn open(list: &[u8], split: Split, options: &Options) -> Result<Dataset, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::write(root.join("a.png"), png(4, 4, 1)).unwrap();
        std::fs::write(root.join("b,c.png"), png(4, 4, 2)).unwrap();
        std::fs::write(root.join("list"), list).unwrap();
        let set = Manifest.open(&root.join("list"), split, options)?;
        assert!(set.image(0).is_ok());
        Ok(set)
    }

    fn refusal(list: &[u8]) -> String {
        open(list, Split::Train, &options())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn both_kinds_of_list_read_alike() {
        for list in [CSV, JSONL, &format!("\u{feff}{CSV}")] {
            let train = open(list.as_bytes(), Split::Train, &options()).unwrap();
            assert_eq!(train.class_names, ["9", "10"]);
            assert_eq!(train.labels(), [1, 0]);
            let test = open(list.as_bytes(), Split::Test, &options()).unwrap();
            assert_eq!(test.labels(), [0]);
        }
    }

    #[test]
    fn a_list_without_a_division_is_divided_by_fraction() {
        let list = "path,label\na.png,x\nb,c.png\n".replace("b,c.png", "\"b,c.png\",x");
        let divided = Options {
            test_fraction: 0.5,
            ..options()
        };
        let [train, test] = [Split::Train, Split::Test]
            .map(|split| open(list.as_bytes(), split, &divided).unwrap());
        assert_eq!((train.len(), test.len()), (1, 1));
        assert!(refusal(list.as_bytes()).contains("data.options.test_fraction is 0"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let cases: [(&[u8], &str); 8] = [
            (b"", "list: found line 1: no column path"),
            (b"file,label\na,b\n", "line 1: no column path"),
            (b"path,label\n", "line 1: no entries"),
            (b"path,label\na.png,\n", "line 2: an empty path or label"),
            (
                b"path,label,split\na.png,x,dev\n",
                "line 2: split `dev`, expected train or test",
            ),
            (b"path,label,split\na.png,x,train\n,,,\n", "line 3:"),
            (
                b"path,label,split\nno.png,x,train\n",
                "no.png: cannot be read",
            ),
            (b"{\"path\": 3}\n", "line 1: invalid type: integer `3`"),
        ];
        for (list, expected) in cases {
            let line = refusal(list);
            assert!(line.contains(expected), "{line}");
        }
        assert!(refusal(b"path,label\n\xff\xfe.png,x\n").contains("line 2: CSV parse error"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse(Path::new("list"), &bytes);
            let _ = parse(Path::new("list"), &[b"path,label\n", bytes.as_slice()].concat());
            let _ = parse(Path::new("list"), &[b"{", bytes.as_slice()].concat());
        }
    }
}
