//! Compares decoding and resizing with Pillow, on the images and results of `scripts/image_fixtures.py`.

// Helpers of tests, outside a `#[test]` function.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use shufflenet_data::decode::{decode, dimensions};
use shufflenet_data::{Format, Options, Split, open};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images")
}

/// Names of the images, sorted.
fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| !name.ends_with(".rgb") && !name.ends_with(".eval"))
        .collect();
    names.sort();
    names
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// Mean and largest absolute difference.
fn differences(ours: &[u8], theirs: &[u8]) -> (f64, u8) {
    assert_eq!(ours.len(), theirs.len());
    let each = || ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = each().map(u64::from).sum();
    (sum as f64 / ours.len() as f64, each().max().unwrap())
}

#[test]
fn images_are_what_pillow_sees() {
    assert_eq!(names().len(), 36);
    for name in names() {
        let bytes = read(&name);
        let picture = decode(&bytes).unwrap();
        let expected = read(&format!("{name}.rgb"));
        let word = |at: usize| u32::from_le_bytes(expected[at..at + 4].try_into().unwrap());
        assert_eq!(picture.dimensions(), (word(0), word(4)), "{name}");
        assert_eq!(dimensions(&bytes).unwrap(), picture.dimensions(), "{name}");
        let (mean, most) = differences(picture.as_raw(), &expected[8..]);
        let (mean_bound, most_bound) = match name.as_str() {
            name if name.ends_with(".jpg") || name == "lossy.webp" => (1.0, 8),
            _ => (0.0, 0),
        };
        println!("{name:<24} mean {mean:.3}, most {most}");
        assert!(
            mean <= mean_bound && most <= most_bound,
            "{name}: mean {mean}, most {most}"
        );
    }
}

#[test]
fn evaluation_sees_what_pillow_resizes_and_crops() {
    // One folder with one class, as a user would have it.
    let set = tempfile::tempdir().unwrap();
    for part in ["train", "test"] {
        fs::create_dir_all(set.path().join(part).join("scenes")).unwrap();
    }
    let names = names();
    let lossless = names
        .iter()
        .filter(|name| !name.ends_with(".jpg") && *name != "lossy.webp");
    for name in lossless.clone() {
        let place = set.path().join("test/scenes").join(name);
        fs::copy(folder().join(name), place).unwrap();
    }
    fs::copy(
        folder().join("one.png"),
        set.path().join("train/scenes/one.png"),
    )
    .unwrap();
    let options = Options {
        size: 24,
        resize: Some(28),
        ..Options::default()
    };
    let set = open(
        Format::named("folder").unwrap(),
        set.path(),
        Split::Test,
        &options,
    )
    .unwrap();
    for (index, name) in lossless.enumerate() {
        assert!(set.record_name(index).ends_with(name.as_str()));
        let expected = read(&format!("{name}.eval"));
        // Our values are in planes, Pillow's are pixel by pixel.
        let planes: Vec<u8> = (0..3)
            .flat_map(|channel| expected.iter().skip(channel).step_by(3).copied())
            .collect();
        let (mean, most) = differences(&set.image(index).unwrap(), &planes);
        println!("{name:<24} mean {mean:.3}, most {most}");
        assert!(most <= 1, "{name}: mean {mean}, most {most}");
    }
}

#[test]
fn no_byte_of_an_image_can_hurt() {
    for name in names() {
        let whole = read(&name);
        assert!(decode(&[]).is_err());
        for cut in (0..whole.len()).step_by(97) {
            let result = decode(&whole[..cut]);
            assert!(
                result.is_err() || cut + 97 > whole.len(),
                "{name} cut to {cut} bytes"
            );
        }
        for at in (0..whole.len()).step_by(41) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            // Either an image or an error is fine.
            let _ = decode(&damaged);
        }
    }
}

#[test]
fn headers_that_lie_are_refused_before_anything_is_allocated() {
    let mut bomb = read("rgb.png");
    bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    assert!(decode(&bomb).is_err());
    let mut bomb = read("rgb.bmp");
    bomb[18..26].copy_from_slice(&[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
    assert!(
        decode(&bomb)
            .unwrap_err()
            .contains("an image of 65535x65535 pixels")
    );
    let mut bomb = read("444.jpg");
    let frame = bomb
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    assert!(
        decode(&bomb)
            .unwrap_err()
            .contains("an image of 65535x65535 pixels")
    );
}
