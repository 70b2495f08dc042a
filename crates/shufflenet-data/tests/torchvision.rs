//! Tests of the augmentations against torchvision's, with a fixture from `scripts/augmentation_fixtures.py`. With
//! `--nocapture` they print the error of each operation.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of tests may panic like the tests"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use shufflenet_data::ImageShape;
use shufflenet_data::augmentation::mixing::{cutmix, cutmix_box, mixup};
use shufflenet_data::augmentation::operation::Operation;
use shufflenet_data::augmentation::{ColorChange, RandAugment, TrivialAugment};

#[derive(Deserialize)]
struct Fixture {
    shape: [usize; 3],
    cases: Vec<Case>,
    boxes: Vec<Box>,
    mixup: Mixed,
    cutmix: Mixed,
    #[serde(skip)]
    pixels: Vec<u8>,
}

#[derive(Deserialize)]
struct Case {
    operation: String,
    bin: u32,
    sign: f64,
    wide: f64,
    rand: f64,
}

#[derive(Deserialize)]
struct Box {
    share: f64,
    middle: [u32; 2],
    r#box: [usize; 4],
    adjusted: f64,
}

#[derive(Deserialize)]
struct Mixed {
    pixels: Vec<f32>,
}

impl Fixture {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torchvision.bin.gz");
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).unwrap();
        GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
        Self {
            pixels: bytes[end + 1..].to_vec(),
            ..serde_json::from_slice(&bytes[..end]).unwrap()
        }
    }

    fn shape(&self) -> ImageShape {
        let [channels, height, width] = self.shape;
        ImageShape {
            channels,
            height,
            width,
        }
    }

    /// The image that the script uses.
    fn image(&self) -> Vec<u8> {
        let pixel = |i: usize| {
            let noise = (i as u32).wrapping_mul(2_654_435_761) >> 24;
            ((noise / 2 + i as u32 * 37 % 128) % 256) as u8
        };
        (0..self.shape().values()).map(pixel).collect()
    }
}

/// All pixels are equal to the bit.
#[test]
fn every_operation_at_every_magnitude_equals_torchvisions() {
    let fixture = Fixture::read();
    let (shape, image) = (fixture.shape(), fixture.image());
    let results = fixture.pixels.chunks_exact(shape.values());
    assert_eq!(results.len(), fixture.cases.len());
    let mut worst: BTreeMap<&str, (usize, usize, u8)> = BTreeMap::new();
    for (case, expected) in fixture.cases.iter().zip(results) {
        let mut found = image.clone();
        match Operation::ALL
            .iter()
            .find(|op| format!("{op:?}") == case.operation)
        {
            Some(operation) => {
                let wide = TrivialAugment::magnitude(*operation, case.bin);
                let rand = RandAugment::magnitude(*operation, case.bin, shape);
                // torchvision's tables of magnitudes are float32.
                assert!(
                    (wide - case.wide).abs() < 1e-5,
                    "{}: {wide}",
                    case.operation
                );
                assert!(
                    (rand - case.rand).abs() < 1e-5,
                    "{}: {rand}",
                    case.operation
                );
                operation.apply(&mut found, shape, case.sign * case.wide);
            }
            None => jitter(&case.operation, case.wide).apply(&mut found, shape),
        }
        let differences = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b));
        let wrong = differences
            .clone()
            .filter(|&difference| difference > 0)
            .count();
        let largest = differences.max().unwrap();
        let entry = worst.entry(&case.operation).or_default();
        *entry = (entry.0 + 1, entry.1 + wrong, entry.2.max(largest));
    }
    for (operation, (cases, wrong, largest)) in &worst {
        println!("{operation:18} {cases:3} cases, {wrong:5} values differ, by {largest} at most");
    }
    for (operation, (_, wrong, largest)) in worst {
        assert_eq!(wrong, 0, "{operation}: values differ, by {largest} at most");
    }
}

/// The colour change that the fixture calls `name`.
fn jitter(name: &str, factor: f64) -> ColorChange {
    match name {
        "jitter_brightness" => ColorChange::Brightness(factor),
        "jitter_contrast" => ColorChange::Contrast(factor),
        "jitter_saturation" => ColorChange::Saturation(factor),
        "jitter_hue" => ColorChange::Hue(factor),
        other => panic!("{other}: no operation"),
    }
}

#[test]
fn boxes_of_cutmix_equal_torchvisions() {
    let fixture = Fixture::read();
    let shape = fixture.shape();
    for case in &fixture.boxes {
        let (columns, rows) = cutmix_box(case.share, case.middle, shape);
        let found = [columns.start, rows.start, columns.end, rows.end];
        assert_eq!(
            found, case.r#box,
            "share {}, middle {:?}",
            case.share, case.middle
        );
        let area = columns.len() * rows.len();
        let adjusted = 1.0 - area as f64 / shape.plane() as f64;
        assert!((adjusted - case.adjusted).abs() < 1e-12);
    }
}

#[test]
fn mixed_batches_equal_torchvisions() {
    let fixture = Fixture::read();
    let shape = fixture.shape();
    let batch: Vec<f32> = (0..3 * shape.values()).map(|i| i as f32 / 64.0).collect();
    let error = |found: &[f32], expected: &[f32]| {
        assert_eq!(found.len(), expected.len());
        let pairs = found.iter().zip(expected);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let mut mixed = batch.clone();
    mixup(&mut mixed, shape, 0.3);
    let off = error(&mixed, &fixture.mixup.pixels);
    println!("mixup: {off:e} off at most");
    assert!(off < 1e-5, "{off}");
    let mut cut = batch;
    cutmix(&mut cut, shape, &(2..9), &(3..8));
    assert_eq!(error(&cut, &fixture.cutmix.pixels), 0.0);
}
