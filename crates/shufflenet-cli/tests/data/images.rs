//! Tests of images that cannot be decoded, that change between two starts, or that are skipped.

use std::fs;

use crate::{paint, printed, refusal, run, small};

fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    for part in ["train", "test"] {
        paint(&at.join("set").join(part), &[("a", 0), ("b", 1)], 8);
    }
    folder
}

#[test]
fn a_damaged_image_is_named_before_the_first_step() {
    let folder = workplace();
    let at = folder.path();
    for image in ["set/test/b/3.ppm", "set/test/b/4.ppm"] {
        fs::write(at.join(image), "P6 16 16 255\nshort").unwrap();
    }
    let line = refusal(at, "train --config small.toml --out run");
    assert!(
        line.contains("set/test/b/3.ppm: found") && line.contains("(and 1 more)"),
        "{line}"
    );
    assert!(line.contains("on_bad_image = \"skip\""), "{line}");
    assert!(!at.join("run").exists(), "the refused run left a folder");
    let text = printed(
        at,
        "train --config small.toml --set data.options.on_bad_image=skip --out run",
    );
    assert!(
        text.contains("note       2 images left out, because reading fails"),
        "{text}"
    );
    assert!(
        text.contains("16 training records, 14 test records"),
        "{text}"
    );
    // A header shows that a file is not an image, but not that an image is cut off. The run begins, and stops at that
    // image.
    let (code, text, errors) = run(
        at,
        "train --config small.toml --set data.check=headers --dry-run",
    );
    assert!(code == 1 && text.contains("16 test records"), "{text}");
    assert!(errors.contains("set/test/b/3.ppm: found"), "{errors}");
}

#[test]
fn a_run_continues_on_changed_images_only_if_that_is_accepted() {
    let folder = workplace();
    let at = folder.path();
    printed(at, "train --config small.toml --out run");
    let resume = "train --config small.toml --set train.epochs=2 --out run --resume";
    fs::remove_file(at.join("set/train/a/7.ppm")).unwrap();
    fs::copy(at.join("set/test/b/0.ppm"), at.join("set/test/b/9.ppm")).unwrap();
    fs::write(
        at.join("set/test/a/0.ppm"),
        [b"P6 1 1 255\n".as_slice(), &[9, 9, 9]].concat(),
    )
    .unwrap();
    let line = refusal(at, resume);
    for words in [
        "1 image is gone (train: train/a/7.ppm)",
        "1 image is new (test: test/b/9.ppm)",
        "1 image is changed (test: test/a/0.ppm)",
        "--accept-changed-data continues with it",
    ] {
        assert!(line.contains(words), "{line}");
    }
    let text = printed(at, &format!("{resume} --accept-changed-data"));
    assert!(
        text.contains("resume     on changed data: 1 image is gone"),
        "{text}"
    );
    // Epoch 1 was the best on the old test images. Only epoch 2 was measured on the new ones.
    assert!(
        text.contains("the best epoch is forgotten: the test images that chose it"),
        "{text}"
    );
    assert!(text.contains("best       epoch 2: test"), "{text}");
    // A misspelt name starts a new run, because job scripts rely on that, and the first line says so.
    let text = printed(at, &resume.replace("--out run", "--out runn"));
    let first = text.lines().next().unwrap();
    assert!(
        first.contains("nothing is saved in runn: starting a new run; run was trained on this data: --resume --out run"),
        "{first}"
    );
    // The run has stored the new list.
    let text = printed(at, &resume.replace("epochs=2", "epochs=3"));
    assert!(
        !text.contains("changed data") && text.contains("epoch 3/3"),
        "{text}"
    );
}

#[test]
fn every_skipped_file_is_reported() {
    let folder = workplace();
    let at = folder.path();
    paint(&at.join("set/train/a"), &[("session2", 0)], 3);
    for (file, text) in [
        ("set/train/a/photo.HEIC", "x"),
        ("set/train/b/notes.txt", "x"),
        ("set/train/loose.jpg", "x"),
        ("set/train/b/._0.ppm", "x"),
        ("set/test/a/.DS_Store", "x"),
        ("set/test/a/Thumbs.db", "x"),
    ] {
        fs::write(at.join(file), text).unwrap();
    }
    let (code, text, _) = run(at, "data verify --config small.toml");
    assert!(
        code == 0 && text.contains("train: 19 images, 0 bad"),
        "{text}"
    );
    assert!(text.contains("train: passed over: "), "{text}");
    for words in [
        "1 .heic (",
        "1 .txt",
        "set/train itself, outside of any class",
    ] {
        assert!(text.contains(words), "{text}");
    }
    assert!(
        !text.contains("test: 1 file") && !text.contains("DS_Store"),
        "{text}"
    );
    let text = printed(at, "train --config small.toml --out run");
    assert!(
        text.contains("note       the train part: passed over"),
        "{text}"
    );
    // `predict` lists the images of a folder as training does.
    let (code, text, errors) = run(at, "predict --checkpoint run --top 1 --csv set/train");
    assert_eq!(
        code, 1,
        "one file is not an image, one is not read: {errors}"
    );
    assert_eq!(text.lines().count(), 20, "a header and 19 images: {text}");
    for (file, code) in [("loose.jpg", 1), ("a/photo.HEIC", 0)] {
        fs::remove_file(at.join("set/train").join(file)).unwrap();
        let predict = "predict --checkpoint run --top 1 --csv set/train";
        assert_eq!(run(at, predict).0, code, "without {file}");
    }
}

#[test]
fn every_bad_image_is_named_and_a_part_without_good_images_is_refused() {
    let folder = workplace();
    let at = folder.path();
    fs::write(at.join("set/test/a/1.ppm"), "").unwrap();
    fs::write(at.join("set/test/a/2.ppm"), "no image").unwrap();
    let (code, text, _) = run(at, "data verify --config small.toml");
    assert!(
        code == 1 && text.contains("test: 16 images, 2 bad"),
        "{text}"
    );
    assert!(
        text.contains("a/1.ppm: found 0 bytes") && text.contains("a/2.ppm: found"),
        "{text}"
    );
    let skip = "--config small.toml --set data.options.on_bad_image=skip";
    let text = printed(at, &format!("data stats {skip}"));
    assert!(text.contains("test: 14 images in 2 classes"), "{text}");
    for class in ["a", "b"] {
        for image in 0..8 {
            fs::write(at.join(format!("set/test/{class}/{image}.ppm")), "no image").unwrap();
        }
    }
    let line = refusal(at, &format!("train {skip} --out run"));
    assert!(
        line.contains("readable images of set is 0 of 16 (the first: set/test/a/0.ppm: found"),
        "{line}"
    );
}

#[test]
fn files_and_folders_beside_the_parts_are_named() {
    let folder = workplace();
    let at = folder.path();
    paint(&at.join("set/holdout"), &[("a", 0)], 2);
    fs::write(at.join("set/loose.jpg"), "x").unwrap();
    let text = printed(at, "data verify --config small.toml");
    assert!(
        text.contains("1 folder `holdout` beside the parts"),
        "{text}"
    );
    assert!(
        text.contains("1 in set itself, outside of any class"),
        "{text}"
    );
    let line = refusal(
        at,
        "train --config small.toml --set data.options.test_fraction=0.2 --out run",
    );
    assert!(
        line.contains("data.options.test_fraction is 0.2; accepted: 0, because set has parts of its own: train, test"),
        "{line}"
    );
}
