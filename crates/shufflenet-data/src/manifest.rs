//! A list of images: CSV with the columns `path`, `label` and optionally `split`, or JSONL with those keys.
//!
//! ```text
//! path,label,split                    {"path": "cats/1.jpg", "label": "cat", "split": "train"}
//! cats/1.jpg,cat,train                {"path": "dogs/7.jpg", "label": "dog", "split": "test"}
//! dogs/7.jpg,dog,test
//! ```
//!
//! Paths are relative to the list's folder; `~` is the home folder, and a backslash separates folders as a slash does.
//! Hugging Face's name of the column, `file_name`, is `path`, too. Labels are class names, sorted by their bytes;
//! whole numbers are sorted by value and come first. A split is `train` (or `training`), `val` (or `valid`, `validation`)
//! or `test` (or `testing`). Without splits, `test_fraction` divides the list.

mod list;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::classes::ClassOrder;
use crate::encoded::file;
use crate::format::Reader;
use crate::holdout::division;
use crate::{DataError, Dataset, Options, Split, paths};
use list::{Entry, parse};

const ADVICE: &str = "a manifest is a .csv with the columns path, label and optionally split, or a .jsonl \
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

    fn recognises(&self, root: &Path) -> bool {
        let ending = root.extension().unwrap_or_default();
        root.is_file()
            && ["csv", "jsonl", "ndjson"]
                .iter()
                .any(|known| ending.eq_ignore_ascii_case(known))
    }

    fn parts(&self, root: &Path) -> Result<Vec<Split>, DataError> {
        let entries = read(root)?;
        let splits = splits(root, &entries)?.unwrap_or_default();
        let all = [Split::Train, Split::Validation, Split::Test];
        Ok(all
            .into_iter()
            .filter(|split| splits.contains(split))
            .collect())
    }

    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
        let entries = read(root)?;
        let classes = classes(root, &entries)?;
        let label = |entry: &Entry| {
            classes.binary_search_by(|name| ClassOrder::Value.compare(name, &entry.label))
        };
        let labels: Vec<u16> = entries
            .iter()
            .filter_map(|entry| u16::try_from(label(entry).ok()?).ok())
            .collect();
        let chosen: Vec<u32> = match splits(root, &entries)? {
            None => division(root, &labels, &classes, split, options)?,
            Some(splits) => {
                let numbered = (0u32..).zip(splits);
                let of_part = numbered.filter(|&(_, part)| part == split);
                of_part.map(|(number, _)| number).collect()
            }
        };
        if chosen.is_empty() {
            let problem = format!("has no entries of the {split} part");
            return Err(DataError::missing(root, problem, ADVICE));
        }
        let folder = root.parent().unwrap_or(Path::new("."));
        let mut records = Vec::new();
        for &entry in &chosen {
            let path = paths::listed(folder, &entries[entry as usize].path);
            records.push(file(folder, path, options)?);
        }
        let labels = chosen.iter().map(|&entry| labels[entry as usize]).collect();
        let mut set = Dataset::of_encoded(folder, classes, records, labels, options)?;
        set.name = crate::dataset::name_of(root);
        Ok(set)
    }
}

/// The entries of the list at `root`.
fn read(root: &Path) -> Result<Vec<Entry>, DataError> {
    if !root.is_file() {
        return Err(DataError::missing(
            root,
            paths::problem(root, "file"),
            ADVICE,
        ));
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
    parse(root, &bytes)
}

/// Parses a list, for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn fuzz_list(bytes: &[u8]) {
    let path = Path::new("list");
    if let Ok(entries) = parse(path, bytes) {
        let _ = classes(path, &entries);
        let _ = splits(path, &entries);
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
    let names: Vec<String> = names.into_iter().map(String::from).collect();
    Ok(ClassOrder::Value.sorted(&names))
}

/// The part of each entry. `None`: no entry names a part.
fn splits(root: &Path, entries: &[Entry]) -> Result<Option<Vec<Split>>, DataError> {
    if entries.iter().all(|entry| entry.split.is_none()) {
        return Ok(None);
    }
    let of_entry = |entry: &Entry| {
        let found = entry.split.as_deref().unwrap_or_default();
        Split::named(found).ok_or_else(|| {
            let found = format!("line {}: split `{found}`", entry.line);
            let expected = "train, val or test in every line, or no split at all";
            DataError::content(root, found, expected)
        })
    };
    entries
        .iter()
        .map(of_entry)
        .collect::<Result<_, _>>()
        .map(Some)
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
    fn csv_and_jsonl_give_the_same_set() {
        for list in [CSV, JSONL, &format!("\u{feff}{CSV}")] {
            let train = open(list.as_bytes(), Split::Train, &options()).unwrap();
            assert_eq!(train.class_names, ["9", "10"]);
            assert_eq!(train.labels(), [1, 0]);
            let test = open(list.as_bytes(), Split::Test, &options()).unwrap();
            assert_eq!(test.labels(), [0]);
        }
    }

    #[test]
    fn lists_of_other_programs_can_be_read() {
        let list = "file_name,label,split\r\na.png,x,train\r\n\".\\b,c.png\",y,Valid\r\n";
        let set = open(list.as_bytes(), Split::Validation, &options()).unwrap();
        assert_eq!(set.labels(), [1]);
        assert_eq!(set.file(0).unwrap().0, Path::new("./b,c.png"));
        let json = "\u{feff}{\"file_name\":\"a.png\",\"label\":\"x\"}\r\n";
        let set = open(json.as_bytes(), Split::Whole, &options()).unwrap();
        assert_eq!(
            (set.len(), &set.class_names[..]),
            (1, &["x".to_string()][..])
        );
        let line = open(list.as_bytes(), Split::Test, &options()).unwrap_err();
        assert!(
            line.to_string().contains("has no entries of the test part"),
            "{line}"
        );
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
    fn errors_name_the_line() {
        let cases: [(&[u8], &str); 21] = [
            (b"", "list: found line 1: no column path"),
            (
                b"file,label\na,b\n",
                "line 1: no column path, the columns are: file, label",
            ),
            (
                b"path;label;split\na;b;train\n",
                "the columns are: path;label;split; columns are separated by commas, not semicolons",
            ),
            (b"path\tlabel\na\tb\n", "separated by commas, not tabs"),
            (b"path,label,Label\na,b,c\n", "line 1: two columns label"),
            (
                b"path,file_name,label\na,b,c\n",
                "line 1: two columns path or file_name",
            ),
            (
                b"path,label\r\na.png,x\r\n\r\n,x\r\n",
                "line 4: an empty path or label",
            ),
            (
                b"path,label,SPLIT\r\na.png,x,dev\r\n",
                "line 2: split `dev`",
            ),
            (
                b"{\"path\": \"a.png\", \"label\": 0.0}\n",
                "line 1: label 0.0 is neither text nor a whole number",
            ),
            (b"path,label\n", "line 1: no entries"),
            (b"path,label\na.png,\n", "line 2: an empty path or label"),
            (
                b"path,label,split\na.png,x,dev\n",
                "line 2: split `dev`, expected train, val or test",
            ),
            (
                b"path,label,split\na.png,x,train\n,,,\n",
                "line 3: 4 columns, and the first line has 3",
            ),
            (
                b"path,label,split\nno.png,x,train\n",
                "no.png: cannot be read",
            ),
            (
                b"{\"path\": 3, \"label\": 1}\n",
                "line 1: path 3 is not text",
            ),
            (b"{\"path\": \"a.png\"}\n", "line 1: no label"),
            (
                b"{\"file_name\": \"a.png\", \"label\": 1, \"split\": 2}\n",
                "line 1: split 2 is not text",
            ),
            (
                b"{\"path\": \"a\", \"file_name\": \"a\", \"label\": 1}\n",
                "line 1: path is given twice",
            ),
            (b"{\"path\": }\n", "line 1: not JSON, from column 10 on"),
            (
                b"[\n{\"path\": \"a.png\", \"label\": 1}\n]\n",
                "line 1: a JSON array, and in a .jsonl each line is an object of its own, expected a .csv",
            ),
            (b"[\"a.png\", \"x\"]\n", "line 1: a JSON array"),
        ];
        for (list, expected) in cases {
            let line = refusal(list);
            assert!(line.contains(expected), "{line}");
        }
        let line = refusal(b"path,label\n\xff\xfe.png,x\n");
        assert!(
            line.contains("list: found ") && line.contains("line 2"),
            "{line}"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse(Path::new("list"), &bytes);
            let _ = parse(Path::new("list"), &[b"path,label\n", bytes.as_slice()].concat());
            let _ = parse(Path::new("list"), &[b"{", bytes.as_slice()].concat());
        }
    }
}
