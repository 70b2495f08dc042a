//! Tests of notes and errors about data that its user may not have expected: copies in two parts, parts without
//! classes, classes that differ only in capitals, another folder than the run's, grey images for weights of colour
//! images. Also, what a benchmark of a configuration prints.

use std::fs;

use crate::unconfigured::TINY;
use crate::{paint, printed, refusal};

#[test]
fn a_run_resumed_on_another_folder_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("photos"), &[("blue", 2), ("red", 0)], 20);
    paint(&at.join("more"), &[("blue", 2), ("red", 0)], 21);
    paint(&at.join("others"), &[("green", 1), ("red", 0)], 20);
    printed(at, &format!("train --data photos {TINY}"));
    let resume =
        |data: &str| format!("train --data {data} --resume --out runs/photos --set train.epochs=3");
    let line = refusal(at, &resume("more"));
    let answer = "not what this run was trained on: it was photos, now it is more; 2 images are new (train: blue/20.ppm";
    assert!(line.contains(answer), "{line}");
    let line = refusal(at, &resume("others"));
    let answer = "started with the classes = blue, red in photos, now it is green, red in others;";
    assert!(line.contains(answer), "{line}");
}

#[test]
fn evaluation_images_that_are_also_training_images_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("photos/train"), &[("blue", 2), ("red", 0)], 20);
    paint(&at.join("photos/val"), &[("blue", 2)], 2);
    let path = |name: &str| at.join("photos").join(name);
    // The test images have another size, except for one copy of a training image.
    for (name, value) in [
        ("val/red/1.ppm", 1),
        ("test/blue/1.ppm", 2),
        ("test/red/1.ppm", 3),
    ] {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        let bytes = [b"P6 15 15 255\n", [value; 15 * 15 * 3].as_slice()].concat();
        fs::write(path(name), bytes).unwrap();
    }
    fs::copy(path("val/blue/0.ppm"), path("test/blue/0.ppm")).unwrap();
    let text = printed(at, &format!("train --data photos {TINY} --dry-run"));
    for line in [
        "note       2 of the 3 validation images are training images, too (photos/val/blue/0.ppm is \
         photos/train/blue/0.ppm): the network was trained on images that it is measured on, so the figures are optimistic",
        "note       1 of the 3 test images is a training image, too (photos/test/blue/0.ppm is photos/train/blue/0.ppm)",
        "note       1 of the 3 test images chose the best epoch, too (photos/test/blue/0.ppm is photos/val/blue/0.ppm \
         of the validation part)",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    paint(&at.join("own"), &[("blue", 2), ("red", 0)], 20);
    let train = format!("train --data own {TINY} --dry-run");
    assert!(!printed(at, &train).contains("training image"));
    fs::create_dir_all(at.join("both")).unwrap();
    paint(&at.join("both"), &[("blue", 2), ("red", 0)], 20);
    for image in 0..10 {
        let image = format!("{image}.ppm");
        let red = at.join("both/red").join(&image);
        fs::copy(at.join("both/blue").join(&image), red).unwrap();
    }
    let text = printed(at, &format!("train --data both {TINY} --dry-run"));
    let line = " are in two classes (";
    assert!(
        text.contains(line) && text.contains("under both labels"),
        "{text}"
    );
    // Copies within a folder without parts may fall into one part or into both.
    for image in 0..20 {
        let copy = format!("own/blue/copy-{image}.ppm");
        fs::copy(at.join(format!("own/blue/{image}.ppm")), at.join(copy)).unwrap();
    }
    let text = printed(at, &train);
    assert!(
        text.contains("of the 12 validation images are training images, too (own/blue/"),
        "{text}"
    );
}

#[test]
fn a_part_with_images_but_no_class_folders_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let classes = [("blue", 2), ("red", 0)];
    paint(&at.join("flat/train"), &[("", 1)], 3);
    paint(&at.join("unlabelled/train"), &classes, 8);
    paint(&at.join("unlabelled/test"), &[("", 1)], 1);
    paint(&at.join("vehicles"), &[("bus", 2), ("train", 0)], 8);
    fs::create_dir_all(at.join("empty/train")).unwrap();
    for (data, answer) in [
        (
            "flat",
            "flat/train: has 3 images directly in it (0.ppm, ...) and no folders: it is the train part, and needs one for \
             each class; a set is train/CLASS/IMAGE",
        ),
        (
            "unlabelled",
            "unlabelled/test: has 1 image directly in it (0.ppm) and no folders: it is the test part, and needs the class \
             folders of the training part; images without classes are for `shufflenet predict`, and belong outside of \
             unlabelled;",
        ),
        (
            "vehicles",
            "vehicles/train: has 8 images directly in it (0.ppm, ...) and no folders: it is taken as the train part; if \
             train is a class, as bus may be, give it another name;",
        ),
        ("empty", "empty/train: is an empty folder"),
    ] {
        let line = refusal(at, &format!("train --data {data}"));
        assert!(line.contains(answer), "{data}: {line}");
    }
}

#[test]
fn classes_that_differ_only_in_capitals_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("photos"), &[("Cat", 2), ("dog", 0)], 20);
    paint(&at.join("photos"), &[("cat", 1)], 20);
    let two_names = fs::read_dir(at.join("photos")).unwrap().count() == 3;
    if two_names {
        let text = printed(at, &format!("train --data photos {TINY} --dry-run"));
        let line = "note       the classes \"Cat\" and \"cat\" differ only in capitals: they are trained as two";
        assert!(text.contains(line), "{text}");
    }
    paint(&at.join("parts/train"), &[("Cat", 2), ("dog", 0)], 8);
    paint(&at.join("parts/test"), &[("cat", 2), ("dog", 0)], 4);
    let line = refusal(at, &format!("train --data parts {TINY}"));
    let answer = "parts: found the class cat (4), expected those of the training part: Cat, dog (\"cat\" and \"Cat\" \
                  differ only in capitals)";
    assert!(line.contains(answer), "{line}");
}

#[test]
fn fine_tuning_converts_colour_to_grey_and_refuses_grey_to_colour() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("colour"), &[("blue", 2), ("red", 0)], 20);
    for (class, slope) in [("dark", 1), ("light", 3)] {
        fs::create_dir_all(at.join("grey").join(class)).unwrap();
        for image in 0..20 {
            let pixels: Vec<u8> = (0..256)
                .map(|i| ((i * slope + image * 5) % 251) as u8)
                .collect();
            let bytes = [b"P5 16 16 255\n", pixels.as_slice()].concat();
            fs::write(
                at.join("grey").join(class).join(format!("{image}.pgm")),
                bytes,
            )
            .unwrap();
        }
    }
    for data in ["colour", "grey"] {
        printed(
            at,
            &format!("train --data {data} {TINY} --set train.epochs=1"),
        );
    }
    let tuned = |data: &str, from: &str| {
        format!(
            "train --data {data} --from runs/{from} --out runs/tuned --set train.epochs=1 --dry-run"
        )
    };
    let text = printed(at, &tuned("colour", "grey"));
    let line = "chosen     runs/grey was trained on grey images: the data has colours, which are removed; weights for \
                colour images keep them";
    assert!(text.contains(line), "{text}");
    let text = printed(at, &tuned("grey", "colour"));
    let line = "chosen     runs/colour was trained on colour images: the data is grey, and is used as red = green = \
                blue";
    assert!(text.contains(line), "{text}");
    for (data, from) in [("colour", "colour"), ("grey", "grey")] {
        let text = printed(at, &tuned(data, from));
        assert!(!text.contains("was trained on"), "{text}");
    }
    let text = printed(
        at,
        &format!("{} --set model.input_channels=1", tuned("grey", "colour")),
    );
    assert!(
        text.contains("the weights are for colour images, these are grey"),
        "{text}"
    );
    let line = refusal(
        at,
        &format!("{} --set model.input_channels=3", tuned("colour", "grey")),
    );
    let answer = "model.input_channels is 3; accepted: 1, because runs/grey was trained on grey images; \
                  model.input_channels = 1 removes the colours of these images";
    assert!(line.contains(answer), "{line}");
}

#[test]
fn a_benchmark_of_a_configuration_takes_its_batch_image_size_and_classes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(
        &at.join("photos"),
        &[("blue", 2), ("green", 1), ("red", 0)],
        8,
    );
    let config = printed(at, &format!("train --data photos {TINY} --print-config"));
    fs::write(at.join("colours.toml"), config).unwrap();
    let bench = |line: &str| {
        let text = printed(at, &format!("bench {line} --config colours.toml --steps 1"));
        text.lines().next().unwrap_or_default().to_string()
    };
    let network = "photos: standard, widths [8, 16, 24, 32, 48], cifar stem";
    for work in ["train", "infer"] {
        let line = bench(work);
        let answer = format!("{network}, 3 classes, noise, batch 8 of 3x16x16");
        assert!(line.starts_with(work) && line.contains(&answer), "{line}");
    }
    let line = bench("train --batch 4 --size 20 --classes 5 --precision bf16");
    let answer = format!("{network}, 5 classes, noise, batch 4 of 3x20x20, activations in bf16");
    assert!(line.contains(&answer), "{line}");
    assert!(bench("data").contains("photos, batch 8 of 3x16x16"));
    let bench = "bench data --config colours.toml --steps 1";
    let line = refusal(at, &format!("{bench} --batch 99"));
    assert!(
        line.contains("--batch is 99; accepted: at most 18, the training records"),
        "{line}"
    );
    let line = refusal(at, &format!("{bench} --set train.batch_size=99"));
    assert!(
        line.contains("train.batch_size is 99; accepted: at most 18"),
        "{line}"
    );
    // If the data is missing, the network is timed without it.
    fs::rename(at.join("photos"), at.join("moved")).unwrap();
    let text = printed(at, "bench train --config colours.toml --steps 1");
    assert!(
        text.contains("10 classes, noise, batch 8 of 3x16x16"),
        "{text}"
    );
}

#[test]
fn counts_of_one_are_printed_in_the_singular() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("photos/train"), &[("blue", 2), ("red", 0)], 4);
    paint(&at.join("photos/val"), &[("blue", 1)], 1);
    let text = printed(
        at,
        &format!("train --data photos {TINY} --set train.max_steps=1 --threads 1"),
    );
    for line in [
        "8 training records, 1 validation record\n",
        "training   1 step of 8 images",
        "flex, 1 thread, ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let text = printed(at, "data verify --data photos");
    assert_eq!(text, "train: 8 images, 0 bad\nvalidation: 1 image, 0 bad\n");
    let text = printed(at, "eval --checkpoint runs/photos");
    assert!(text.contains(" on 1 record, "), "{text}");
}
