//! Tests of decoding and resizing against Pillow, on the images and results of `scripts/image_fixtures.py`.

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

/// The position of the entry of `tag` in a little-endian TIFF.
fn entry(tiff: &[u8], tag: u16) -> usize {
    let page = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let mut entries = (0..20).map(|entry| page + 2 + 12 * entry);
    entries
        .find(|&at| tiff[at..at + 2] == tag.to_le_bytes())
        .unwrap()
}

/// Mean and largest absolute difference.
fn differences(ours: &[u8], theirs: &[u8]) -> (f64, u8) {
    assert_eq!(ours.len(), theirs.len());
    let each = || ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = each().map(u64::from).sum();
    (sum as f64 / ours.len() as f64, each().max().unwrap())
}

#[test]
fn images_have_pillows_pixels() {
    assert_eq!(names().len(), 94);
    for name in names() {
        let bytes = read(&name);
        let picture = decode(&bytes).unwrap();
        let expected = read(&format!("{name}.rgb"));
        let word = |at: usize| u32::from_le_bytes(expected[at..at + 4].try_into().unwrap());
        assert_eq!(picture.dimensions(), (word(0), word(4)), "{name}");
        assert_eq!(dimensions(&bytes).unwrap(), picture.dimensions(), "{name}");
        let (mean, most) = differences(picture.as_raw(), &expected[8..]);
        let (mean_bound, most_bound) = match name.as_str() {
            name if name.ends_with(".jpg") => (1.0, 8),
            "lossy.webp" | "jpeg.tif" | "grey_jpeg.tif" => (1.0, 8),
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
fn evaluation_gets_pillows_resized_and_cropped_pixels() {
    // The images are in a folder of one class, as a user would have them.
    let set = tempfile::tempdir().unwrap();
    for part in ["train", "test"] {
        fs::create_dir_all(set.path().join(part).join("scenes")).unwrap();
    }
    let names = names();
    let lossless = names.iter().filter(|name| {
        let has_expected = folder().join(format!("{name}.eval")).exists();
        has_expected && !name.ends_with(".jpg") && *name != "lossy.webp"
    });
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
        // Our values are in planes, and Pillow's are pixel by pixel.
        let planes: Vec<u8> = (0..3)
            .flat_map(|channel| expected.iter().skip(channel).step_by(3).copied())
            .collect();
        let (mean, most) = differences(&set.image(index).unwrap(), &planes);
        println!("{name:<24} mean {mean:.3}, most {most}");
        assert!(most <= 1, "{name}: mean {mean}, most {most}");
    }
}

#[test]
fn cut_or_damaged_images_never_panic() {
    for name in names() {
        let whole = read(&name);
        assert!(decode(&[]).is_err());
        for cut in (0..whole.len()).step_by(97) {
            let result = decode(&whole[..cut]);
            // The decoder reads nothing after the first page or frame.
            let has_more = name.starts_with("two_");
            assert!(
                result.is_err() || cut + 97 > whole.len() || has_more,
                "{name} cut to {cut} bytes"
            );
        }
        for at in (0..whole.len()).step_by(41) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            // The result may be an image or an error.
            let _ = decode(&damaged);
        }
    }
}

#[test]
fn headers_with_huge_sizes_are_refused_before_allocation() {
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

#[test]
fn headers_with_huge_sizes_are_refused_in_tiff_gif_and_pnm() {
    let refused = |bytes: &[u8]| {
        let line = decode(bytes).unwrap_err();
        assert_eq!(dimensions(bytes).unwrap_err(), line);
        assert!(line.starts_with("an image of "), "{line}");
    };
    let mut bomb = read("white_is_zero.tif");
    // The tags of width, height and rows per strip.
    for tag in [256, 257, 278] {
        let value = entry(&bomb, tag) + 8;
        bomb[value..value + 2].fill(0xff);
    }
    refused(&bomb);
    let mut bomb = read("palette.gif");
    bomb[6..10].fill(0xff);
    refused(&bomb);
    refused(b"P6 20000 20000 255\n");
    refused(b"P1 4294967295 4294967295\n");
    refused(b"P5 0 7 255\n");
}

#[test]
fn a_tiff_with_nan_or_infinity_is_refused() {
    for (bytes, found) in [
        (f32::NAN.to_le_bytes(), "NaN"),
        (f32::INFINITY.to_le_bytes(), "inf"),
        (f32::NEG_INFINITY.to_le_bytes(), "-inf"),
    ] {
        let mut image = read("float.tif");
        image[28..32].copy_from_slice(&bytes);
        let line = decode(&image).unwrap_err();
        assert_eq!(line, format!("a TIFF with a pixel that is {found}"));
    }
}

#[test]
fn the_error_describes_what_is_wrong_with_a_file() {
    for (bytes, line) in [
        (&b""[..], "an empty file"),
        (b"some text", "bytes of another kind of file"),
        (b"P5 2 2 255\nabc", "a truncated PGM (3 of 4 values)"),
        (
            b"P6 2 2 0\nabc",
            "a PPM with 0 as its largest value; 1 to 65535 are read",
        ),
        (
            b"P6 2 2 65536\n",
            "a PPM with 65536 as its largest value; 1 to 65535 are read",
        ),
        (b"P2 2 1 9\n8 10\n", "a damaged PGM (a value of 10 above 9)"),
        (
            b"P2 2 1 9\n8 x\n",
            "a damaged PGM (its value is not a number)",
        ),
        (b"P2 2 1 9\n8\n", "a truncated PGM"),
        (
            b"P1 2 1\n12",
            "a damaged PBM (a bit that is neither 0 nor 1)",
        ),
        (b"P4 9 2\nabc", "a truncated PBM (3 of 4 bytes)"),
    ] {
        assert_eq!(decode(bytes).unwrap_err(), line);
    }
    let mut image = read("rgb.tif");
    let compression = entry(&image, 259) + 8;
    image[compression] = 5;
    assert!(decode(&image).is_err());
    image[compression] = 99;
    let line = decode(&image).unwrap_err();
    assert_eq!(line, "a TIFF with compression number 99, which is not read");
    let line = decode(&read("rgb.tif")[..60]).unwrap_err();
    assert_eq!(line, "a truncated TIFF");
}
