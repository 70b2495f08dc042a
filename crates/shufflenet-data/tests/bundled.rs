//! Tests of the content of the bundled data sets. No test image is also a training image.

// Helpers of tests, outside a `#[test]` function.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use shufflenet_data::{Dataset, Format, Options, Split, open};

fn fashion(split: Split) -> Dataset {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist-small");
    read("idx", &root, split)
}

fn read(format: &str, root: &Path, split: Split) -> Dataset {
    let format = Format::named(format).unwrap();
    open(format, root, split, &Options::default()).unwrap()
}

fn cifar_format() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cifar10-format")
}

#[test]
fn bundled_images_are_balanced_and_named() {
    for (split, per_class) in [(Split::Train, 1200), (Split::Test, 250)] {
        let data = fashion(split);
        assert_eq!(data.shape.to_string(), "1x28x28");
        assert_eq!(data.class_names[9], "Ankle boot");
        for class in 0..10 {
            let count = data
                .labels()
                .iter()
                .filter(|&&label| label == class)
                .count();
            assert_eq!(count, per_class, "class {class}");
        }
    }
}

#[test]
fn no_bundled_test_image_is_a_training_image() {
    let (train, test) = (fashion(Split::Train), fashion(Split::Test));
    let seen: HashSet<_> = (0..train.len()).map(|i| train.image(i).unwrap()).collect();
    assert!((0..test.len()).all(|i| !seen.contains(&test.image(i).unwrap())));
}

#[test]
fn the_cifar_format_fixture_can_be_read() {
    let train = read("cifar10", &cifar_format(), Split::Train);
    let test = read("cifar10", &cifar_format(), Split::Test);
    assert_eq!((train.len(), test.len()), (100, 30));
    assert_eq!(train.shape.to_string(), "3x32x32");
    assert_eq!(train.class_names[0], "T-shirt/top");
}
