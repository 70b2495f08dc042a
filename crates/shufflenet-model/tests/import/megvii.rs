//! Tests of Megvii's network with its names and its order of channels, and of detectors that are built on it.

use std::collections::BTreeMap;

use serde::Deserialize;
use shufflenet_model::{Layout, Scale, Stem, infer_config};

use crate::{Tensors, fixture, imported, logits, off, open, renamed, tensors_of};

/// PyTorch's results for the network of Megvii's repository.
#[derive(Deserialize)]
struct Megvii {
    size: usize,
    salt: u32,
    shapes: BTreeMap<String, Vec<usize>>,
    logits: Vec<f64>,
}

impl Megvii {
    fn read() -> Self {
        let text = std::fs::read_to_string(fixture("megvii.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn tensors(&self) -> Tensors {
        let shapes = self.shapes.iter();
        shapes
            .map(|(name, shape)| {
                (
                    name.clone(),
                    (shape.clone(), filled(name, shape, self.salt)),
                )
            })
            .collect()
    }

    fn images(&self) -> Vec<f32> {
        let count = 2 * 3 * self.size * self.size;
        let values = signed("images", self.salt).take(count);
        values.map(|s| (2.0 * s) as f32).collect()
    }
}

/// The formula of `scripts/parity_fixtures.py`: pseudo-random numbers from -1 to 1.
fn signed(name: &str, salt: u32) -> impl Iterator<Item = f64> {
    let mut key = 0x811C_9DC5u32;
    for byte in name.bytes() {
        key = (key ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    (0u32..).map(move |i| {
        let mut h = i.wrapping_mul(0x9E37_79B9).wrapping_add(key ^ salt);
        h ^= h >> 16;
        h = h.wrapping_mul(0x85EB_CA6B);
        h ^= h >> 13;
        h = h.wrapping_mul(0xC2B2_AE35);
        h ^= h >> 16;
        f64::from(h >> 8) / 8_388_608.0 - 1.0
    })
}

fn filled(name: &str, shape: &[usize], salt: u32) -> Vec<f32> {
    let fan_in: usize = shape[1..].iter().product();
    let scale = (3.0 / fan_in as f64).sqrt();
    let value = |s: f64| {
        if shape.len() > 1 {
            s * scale
        } else if name.ends_with("running_var") || name.ends_with("weight") {
            1.0 + s / 4.0
        } else if name.ends_with("running_mean") {
            s / 10.0
        } else {
            1.5 + s / 2.0
        }
    };
    let values = signed(name, salt).take(shape.iter().product());
    values.map(|s| value(s) as f32).collect()
}

#[test]
fn megviis_network_gives_its_logits_in_torchvisions_order_of_channels() {
    let megvii = Megvii::read();
    let weights = open(&megvii.tensors()).unwrap();
    assert!(weights.megvii);
    assert_eq!(
        weights.head.as_deref().unwrap(),
        "`classifier.0.weight` [10, 1024] is the classifier, without a bias: its bias is 0"
    );
    let (network, fit) = imported(&weights, Stem::Imagenet);
    assert!(fit.is_exact(), "{fit}");
    let config = network.config();
    assert_eq!(
        (config.layout, config.scale),
        (Layout::Standard, Scale::Half)
    );
    let off = off(
        &logits(&network, megvii.images(), megvii.size),
        &megvii.logits,
    );
    println!("Megvii's network: {off:.1e} of the largest logit");
    assert!(off < 1e-5, "{off:e}");
}

#[test]
fn weights_for_blue_first_are_reordered_for_red_first() {
    let megvii = Megvii::read();
    let mut weights = open(&megvii.tensors()).unwrap();
    assert!(weights.swap_colours());
    let (network, _) = imported(&weights, Stem::Imagenet);
    // The same images with the colours in the other order.
    let plane = megvii.size * megvii.size;
    let images = megvii.images();
    let swapped = images.chunks(3 * plane).flat_map(|image| {
        let planes: Vec<&[f32]> = image.chunks(plane).collect();
        [planes[2], planes[1], planes[0]].concat()
    });
    let off = off(
        &logits(&network, swapped.collect(), megvii.size),
        &megvii.logits,
    );
    assert!(off < 1e-5, "{off:e}");
}

/// A detector's file has a prefix, stages instead of one list, and a head, but no last convolution and no classifier.
#[test]
fn the_backbone_of_a_detector_is_imported_without_the_end_of_the_network() {
    let megvii = Megvii::read();
    let own = megvii.tensors();
    let (whole, _) = imported(&open(&own).unwrap(), Stem::Imagenet);
    let whole = tensors_of(&whole);
    for in_stages in [false, true] {
        let mut backbone = renamed(&own, |name| {
            let Some(rest) = name.strip_prefix("features.").filter(|_| in_stages) else {
                return format!("model.backbone.{name}");
            };
            let (unit, rest) = rest.split_once('.').unwrap();
            let unit: usize = unit.parse().unwrap();
            let (stage, unit) = match unit {
                0..4 => (2, unit),
                4..12 => (3, unit - 4),
                _ => (4, unit - 12),
            };
            format!("model.backbone.stage{stage}.{unit}.{rest}")
        });
        backbone.retain(|name, _| !name.contains("conv_last") && !name.contains("classifier"));
        backbone.insert(
            "model.head.cls.weight".into(),
            (vec![2, 96, 1, 1], vec![0.5; 192]),
        );
        let weights = open(&backbone).unwrap();
        assert_eq!(weights.prefix, "model.backbone.");
        assert_eq!(weights.outside, ["model.head.cls.weight"]);
        let config = infer_config(&weights).unwrap();
        assert_eq!((config.scale, config.classes), (Scale::Half, None));
        assert_eq!(
            (config.widths.clone(), config.repeats.clone()),
            (None, vec![3, 7, 3])
        );
        let (network, fit) = imported(&weights, Stem::Imagenet);
        assert_eq!((fit.loaded, fit.missing.len()), (whole.len() - 7, 7));
        assert!(fit.unused.is_empty() && fit.misshapen.is_empty());
        let found = tensors_of(&network);
        for (name, tensor) in &whole {
            if !fit.missing.contains(name) {
                assert!(&found[name] == tensor, "{name}");
            }
        }
    }
}

#[test]
fn megviis_other_widths_and_networks_are_refused_with_the_reason() {
    let megvii = Megvii::read();
    let mut wide = megvii.tensors();
    // At x1.0, 24 of 116 channels come from the projection.
    let unit = |name: &str| format!("features.0.{name}.weight");
    wide.insert(
        unit("branch_main.5"),
        (vec![92, 58, 1, 1], vec![0.0; 92 * 58]),
    );
    let line = open(&wide).err().unwrap();
    assert!(
        line.contains("stage 2 joins 24 and 92 channels") && line.contains("only x0.5"),
        "{line}"
    );
    let mut relative = megvii.tensors();
    let gate = (vec![6, 24, 1, 1], vec![0.0; 144]);
    relative.insert(unit("branch_main.8.SE_opr.1"), gate);
    let line = open(&relative).err().unwrap();
    assert!(line.contains("ShuffleNetV2+"), "{line}");
}
