use super::*;

const TRAIN: &[&str] = TEN.train;
const NAMES: &str = TEN.names;
const FOLDER: &str = TEN.folder;
const ARCHIVE: &str = TEN.archive;
const CLASSES: usize = 10;
const RECORD: usize = 1 + PIXELS;
const OFFICIAL: u64 = 10_000 * RECORD as u64;

fn open(root: &Path, split: Split) -> Result<Dataset, DataError> {
    TEN.open(root, split)
}

/// Writes a set with `records` records per file, whose labels count up.
fn write(folder: &Path, records: usize) {
    for (file, name) in TRAIN.iter().chain(TEN.test).enumerate() {
        let mut bytes = Vec::new();
        for record in 0..records {
            bytes.push((record % 10) as u8);
            bytes.extend((0..RECORD - 1).map(|i| (i + record + file) as u8));
        }
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let names: Vec<String> = (0..CLASSES).map(|class| format!("class {class}")).collect();
    std::fs::write(folder.join(NAMES), names.join("\n")).unwrap();
}

fn refusal(folder: &Path) -> String {
    open(folder, Split::Train).unwrap_err().to_string()
}

#[test]
fn records_keep_their_order_and_planes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 3);
    let train = open(folder.path(), Split::Train).unwrap();
    assert_eq!((train.len(), train.shape), (15, SHAPE));
    assert_eq!(train.labels()[..4], [0, 1, 2, 0]);
    assert_eq!(train.image(4).unwrap()[..3], [2, 3, 4]);
    assert_eq!(train.class_names[9], "class 9");
    assert_eq!(open(folder.path(), Split::Test).unwrap().len(), 3);
}

#[test]
fn an_archive_gives_the_records_of_its_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join(FOLDER);
    std::fs::create_dir(&folder).unwrap();
    write(&folder, 2);
    let archive = outer.path().join(ARCHIVE);
    let gz =
        flate2::write::GzEncoder::new(File::create(&archive).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    tar.append_dir_all(FOLDER, &folder).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
    for split in [Split::Train, Split::Test] {
        let from_folder = open(outer.path(), split).unwrap();
        let from_archive = open(&archive, split).unwrap();
        assert_eq!(from_folder.labels(), from_archive.labels());
        assert_eq!(
            from_folder.image(1).unwrap(),
            from_archive.image(1).unwrap()
        );
    }
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    let line = open(&archive, Split::Test).unwrap_err().to_string();
    assert!(line.contains(ARCHIVE) && line.contains("damaged"), "{line}");
}

#[test]
fn truncated_and_foreign_files_are_named_with_both_sizes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 3);
    let file = folder.path().join(TRAIN[2]);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..RECORD * 3 - 5]).unwrap();
    let line = refusal(folder.path());
    assert!(
        line.contains(TRAIN[2]) && line.contains("9214 bytes"),
        "{line}"
    );
    assert!(line.contains("30730000"), "{line}");
    std::fs::write(&file, &whole[..RECORD * 2]).unwrap();
    let line = refusal(folder.path());
    assert!(
        line.contains("2 records") && line.contains("expected 3"),
        "{line}"
    );
}

#[test]
fn a_label_without_a_class_is_named_with_its_record() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 2);
    let file = folder.path().join(TRAIN[4]);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[RECORD] = 17;
    std::fs::write(&file, bytes).unwrap();
    let line = refusal(folder.path());
    assert!(
        line.contains("label 17 in record 1, expected 0 to 9"),
        "{line}"
    );
}

#[test]
fn foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 2);
    let file = folder.path().join(TRAIN[0]);
    let large = File::create(&file).unwrap();
    large.set_len(OFFICIAL + RECORD as u64).unwrap();
    let line = refusal(folder.path());
    assert!(
        line.contains("data_batch_1.bin: found 30733073 bytes, expected 30730000"),
        "{line}"
    );
    std::fs::write(&file, []).unwrap();
    assert!(refusal(folder.path()).contains("found 0 bytes"));
    std::fs::remove_file(&file).unwrap();
    let line = refusal(folder.path());
    assert!(
        line.contains("data_batch_1.bin: does not exist; `python3 scripts/"),
        "{line}"
    );

    std::fs::write(folder.path().join(NAMES), "cat\ndog\n").unwrap();
    let line = open(folder.path(), Split::Test).unwrap_err().to_string();
    assert!(
        line.ends_with("batches.meta.txt: found 2 class names, expected 10, one per line"),
        "{line}"
    );

    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no archive").unwrap();
    let line = open(&text, Split::Test).unwrap_err().to_string();
    assert!(
        line.contains("notes.txt: found a damaged or truncated archive"),
        "{line}"
    );
    assert!(
        line.contains("expected the official cifar-10-binary.tar.gz"),
        "{line}"
    );
}

#[test]
fn a_missing_set_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let line = refusal(folder.path());
    assert!(line.contains("python3 scripts/fetch_cifar10.py"), "{line}");
}

#[test]
fn cifar_100_has_two_labels_for_each_image() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let record = |coarse: u8, fine: u8, value: u8| {
        let mut bytes = vec![coarse, fine];
        bytes.extend([value; PIXELS]);
        bytes
    };
    let names = |count: usize| {
        (0..count)
            .map(|i| format!("name {i}\n"))
            .collect::<String>()
    };
    std::fs::write(
        root.join("train.bin"),
        [record(4, 99, 1), record(19, 0, 2)].concat(),
    )
    .unwrap();
    std::fs::write(root.join("test.bin"), record(20, 5, 3)).unwrap();
    std::fs::write(root.join("fine_label_names.txt"), names(100)).unwrap();
    std::fs::write(root.join("coarse_label_names.txt"), names(20)).unwrap();
    let read = |labels, split| {
        let options = Options {
            labels,
            ..Options::default()
        };
        Cifar100.open(root, split, &options)
    };
    let fine = read(Labels::Fine, Split::Train).unwrap();
    assert_eq!((fine.labels(), fine.classes()), (&[99, 0][..], 100));
    assert_eq!(*fine.image(1).unwrap(), [2; PIXELS]);
    let coarse = read(Labels::Coarse, Split::Train).unwrap();
    assert_eq!((coarse.labels(), coarse.classes()), (&[4, 19][..], 20));
    let line = read(Labels::Coarse, Split::Test).unwrap_err().to_string();
    assert!(
        line.contains("test.bin: found label 20 in record 0, expected 0 to 19"),
        "{line}"
    );
}

#[test]
fn links_in_an_archive_are_not_followed() {
    let outer = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, TEN.test[0], "/etc/passwd")
        .unwrap();
    let archive = outer.path().join(ARCHIVE);
    let mut gz =
        flate2::write::GzEncoder::new(File::create(&archive).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &tar.into_inner().unwrap()).unwrap();
    gz.finish().unwrap();
    let line = open(&archive, Split::Test).unwrap_err().to_string();
    assert!(line.contains("test_batch.bin: found 0 bytes"), "{line}");
}

/// A fixture of `scripts/pickle_fixtures.py`.
fn python(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cifar-python");
    fixtures.join(name)
}

/// Records, each with a label and pixels that count up from the sum of the record's and the file's numbers.
fn records(file: usize, labels: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (record, label) in labels.iter().enumerate() {
        bytes.extend_from_slice(label);
        bytes.extend((0..PIXELS).map(|i| (i + record + file) as u8));
    }
    bytes
}

#[test]
fn the_python_version_gives_the_records_of_the_binary_version() {
    let binary = tempfile::tempdir().unwrap();
    for (file, name) in TRAIN.iter().chain(TEN.test).enumerate() {
        // The fixtures number the files from 0, and the labels depend on this number.
        let labels = [[file as u8], [9 - file as u8]];
        let bytes = records(file, &[&labels[0], &labels[1]]);
        std::fs::write(binary.path().join(name), bytes).unwrap();
    }
    let names: Vec<String> = (0..CLASSES).map(|class| format!("class {class}")).collect();
    std::fs::write(binary.path().join(NAMES), names.join("\n")).unwrap();
    let same = |ours: &Dataset, theirs: &Dataset| {
        assert_eq!(ours.labels(), theirs.labels());
        assert_eq!(ours.class_names, theirs.class_names);
        assert_eq!(ours.shape, theirs.shape);
        for record in 0..ours.len() {
            assert_eq!(ours.image(record).unwrap(), theirs.image(record).unwrap());
        }
    };
    for split in [Split::Train, Split::Test] {
        let expected = open(binary.path(), split).unwrap();
        assert_eq!(expected.len(), if split == Split::Train { 10 } else { 2 });
        for place in ["", "cifar-10-batches-py", "cifar-10-python.tar.gz"] {
            same(&open(&python(place), split).unwrap(), &expected);
        }
    }

    let binary = tempfile::tempdir().unwrap();
    for (file, name) in ["train.bin", "test.bin"].into_iter().enumerate() {
        let bytes = records(file, &[&[4, 99], &[19, 0], &[0, 7]]);
        std::fs::write(binary.path().join(name), bytes).unwrap();
    }
    for (kind, count) in [("fine", 100), ("coarse", 20)] {
        let names: Vec<String> = (0..count).map(|class| format!("{kind} {class}")).collect();
        let path = binary.path().join(format!("{kind}_label_names.txt"));
        std::fs::write(path, names.join("\n")).unwrap();
    }
    for layout in [&HUNDRED_FINE, &HUNDRED_COARSE] {
        for split in [Split::Train, Split::Test] {
            let expected = layout.open(binary.path(), split).unwrap();
            for place in ["", "cifar-100-python"] {
                same(&layout.open(&python(place), split).unwrap(), &expected);
            }
        }
    }
}

#[test]
fn damaged_files_of_the_python_version_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let from = python("cifar-10-batches-py");
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            if path.ends_with(name) {
                edit(&mut bytes);
            }
            std::fs::write(folder.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
        refusal(folder.path())
    };
    let replace = |bytes: &mut Vec<u8>, from: &[u8], to: &[u8]| {
        let place = bytes.windows(from.len()).position(|found| found == from);
        let place = place.unwrap();
        bytes.splice(place..place + from.len(), to.iter().copied());
    };
    let line = copy("data_batch_3", &|bytes| bytes.truncate(5000));
    assert!(
        line.contains("data_batch_3: found the pickle ends at byte 5000"),
        "{line}"
    );
    let line = copy("data_batch_2", &|bytes| {
        replace(bytes, b"labels", b"LABELS")
    });
    assert!(line.contains("data_batch_2: found no `labels`"), "{line}");
    let line = copy("data_batch_2", &|bytes| replace(bytes, b"u1", b"i1"));
    assert!(
        line.contains("found `data` of shape 2x3072 and type `i1`, expected a NumPy array of bytes (uint8, `u1`)"),
        "{line}"
    );
    // The label 8 of the second record becomes 17.
    let line = copy("data_batch_2", &|bytes| {
        replace(bytes, b"K\x01K\x08", b"K\x01K\x11")
    });
    assert!(
        line.contains("label 17 in record 1, expected 0 to 9"),
        "{line}"
    );
    let line = copy("batches.meta", &|bytes| {
        replace(bytes, b"label_names", b"label_game5")
    });
    assert!(
        line.contains("batches.meta: found no `label_names`"),
        "{line}"
    );
}

/// The batch is a pickle that would create a file if it were executed.
#[test]
fn a_batch_that_is_a_program_is_not_executed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["train", "test", "meta"] {
        let from = python("cifar-100-python").join(name);
        std::fs::copy(from, folder.path().join(name)).unwrap();
    }
    let made = folder.path().join("made");
    let command = format!("touch {}", made.display());
    let call = [
        b"\x80\x02cposix\nsystem\nU",
        &[command.len() as u8][..],
        command.as_bytes(),
        b"\x85R.",
    ];
    std::fs::write(folder.path().join("train"), call.concat()).unwrap();
    let line = HUNDRED_FINE
        .open(folder.path(), Split::Train)
        .unwrap_err()
        .to_string();
    assert!(line.contains("train: found no `data`"), "{line}");
    assert!(!made.exists());
}
