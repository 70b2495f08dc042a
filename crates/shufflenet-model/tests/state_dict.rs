//! Tests of reading weights that PyTorch saved: selecting one of several networks, inferring the network, listing the
//! tensors that do not fit, refusing files that are not weights.
//!
//! `scripts/exchange_fixtures.py` writes the fixtures.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use serde::Deserialize;
use shufflenet_model::{
    Fit, Inference, Layout, ModelConfig, ShuffleNetV2, StateDict, Stem, infer_config,
    load_safetensors, to_safetensors, to_state_dict,
};

#[derive(Deserialize)]
struct Expected {
    model: ModelConfig,
    logits: Vec<f32>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/exchange")
        .join(name)
}

fn expected(name: &str) -> Expected {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    let mut all: BTreeMap<String, Expected> = serde_json::from_str(&text).unwrap();
    all.remove(name).unwrap()
}

/// The network inferred from names and shapes. The stem cannot be inferred and is given.
fn imported(weights: &StateDict) -> (ShuffleNetV2, Fit) {
    let config = ModelConfig {
        stem: Some(Stem::Cifar),
        ..infer_config(weights).unwrap()
    };
    let network = ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap();
    weights.load(network).unwrap()
}

/// The logits of the input that PyTorch had: two images whose values repeat with period 23.
fn logits(network: &ShuffleNetV2) -> Vec<f32> {
    let shape = [2, 3, 16, 16];
    let values: Vec<f32> = (0..1536).map(|i| (i % 23) as f32 / 11.0 - 1.0).collect();
    let images = Tensor::<4>::from_data(TensorData::new(values, shape), &Device::flex());
    network
        .valid()
        .forward(images)
        .into_data()
        .iter::<f32>()
        .collect()
}

fn off(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |most, z| most.max(z.abs()));
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    off.fold(0.0f32, f32::max) / largest
}

#[test]
fn every_file_format_gives_pytorchs_logits() {
    for (file, case, tolerance) in [
        ("standard.pth", "standard", 1e-5),
        ("standard-legacy.pth", "standard", 1e-5),
        ("standard.safetensors", "standard", 1e-5),
        ("half.safetensors", "standard", 1e-2),
        ("seed.pth", "seed", 1e-5),
        ("split.safetensors", "split", 1e-5),
    ] {
        let expected = expected(case);
        let weights = StateDict::open(&fixture(file), None).unwrap();
        let (network, fit) = imported(&weights);
        assert!(fit.is_exact(), "{file}: {fit}");
        assert_eq!(fit.loaded, weights.len());
        let found = ModelConfig {
            scale: expected.model.scale,
            residual: expected.model.residual,
            ..network.config().clone()
        };
        let channels = Some(expected.model.input_channels());
        let whole = ModelConfig {
            input_channels: channels,
            ..expected.model.clone()
        };
        assert_eq!(found, whole, "{file}");
        let off = off(&logits(&network), &expected.logits);
        assert!(off <= tolerance, "{file}: {off:e}");
    }
}

#[test]
fn networks_of_any_number_of_stages_are_exported_and_inferred() {
    let device = Device::flex();
    for widths in [
        vec![8, 16, 32],
        vec![8, 16, 24, 32, 40, 48],
        vec![8, 16, 24, 32, 40, 48, 56],
    ] {
        for layout in [Layout::Standard, Layout::Seed] {
            let stages = widths.len() - 2;
            let config = ModelConfig {
                layout,
                stem: Some(Stem::Cifar),
                widths: Some(widths.clone().try_into().unwrap()),
                repeats: (0..stages).map(|stage| 1 + stage % 2).collect(),
                classes: Some(7),
                input_channels: Some(3),
                ..ModelConfig::default()
            };
            let network = ShuffleNetV2::new(&config, 1, &device).unwrap();
            let expected = logits(&network);
            assert_eq!(expected.len(), 2 * 7);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("weights.safetensors");
            std::fs::write(&path, to_state_dict(&network).unwrap()).unwrap();
            let weights = StateDict::open(&path, None).unwrap();
            // A network with fewer than the published three stages is not inferred.
            let config = match stages < 3 {
                true => config,
                false => ModelConfig {
                    stem: config.stem,
                    ..infer_config(&weights).unwrap()
                },
            };
            let (again, fit) = weights
                .load(ShuffleNetV2::new(&config, 2, &device).unwrap())
                .unwrap();
            assert!(fit.is_exact(), "{widths:?}: {fit}");
            assert_eq!(logits(&again), expected, "{widths:?}");
            let folded = Inference::new(&again);
            let images = Tensor::<4>::ones([2, 3, 16, 16], &device);
            let (plain, folded) = (again.forward(images.clone()), folded.forward(images));
            let off = (plain - folded).abs().max().into_scalar::<f32>();
            assert!(off < 1e-4, "{widths:?}: {off}");
        }
    }
}

#[test]
fn an_exported_network_is_imported_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["standard.pth", "seed.pth", "split.safetensors"] {
        let weights = StateDict::open(&fixture(file), None).unwrap();
        let (network, _) = imported(&weights);
        let exported = to_state_dict(&network).unwrap();
        let path = folder.path().join("exported");
        std::fs::write(&path, &exported).unwrap();
        let again = StateDict::open(&path, None).unwrap();
        let (back, fit) = imported(&again);
        assert!(fit.is_exact());
        assert!(to_safetensors(&back).unwrap() == to_safetensors(&network).unwrap());
        // The file has batch norm's counters, which PyTorch requires, and our loader accepts them.
        let tensors = safetensors::SafeTensors::deserialize(&exported).unwrap();
        let counters = tensors
            .names()
            .into_iter()
            .filter(|name| name.ends_with("tracked"));
        let norms = tensors
            .names()
            .into_iter()
            .filter(|name| name.ends_with("running_var"));
        assert_eq!(counters.count(), norms.count());
        load_safetensors(back, &exported).unwrap();
    }
}

#[test]
fn a_prefix_selects_one_of_several_networks() {
    let file = fixture("checkpoint.pth");
    let line = StateDict::open(&file, None).err().unwrap().to_string();
    assert!(
        line.contains("\"model.module.\"") && line.contains("\"model_ema.module.\""),
        "{line}"
    );
    let weights = StateDict::open(&file, Some("model.module.")).unwrap();
    assert!(
        weights
            .outside
            .iter()
            .all(|name| !name.starts_with("model."))
    );
    let (network, fit) = imported(&weights);
    assert!(fit.is_exact(), "{fit}");
    assert!(off(&logits(&network), &expected("standard").logits) <= 1e-5);
    let line = StateDict::open(&file, Some("net."))
        .err()
        .unwrap()
        .to_string();
    assert!(
        line.contains("no network's names begin with \"net.\""),
        "{line}"
    );
}

#[test]
fn tensors_that_do_not_fit_are_listed_and_not_loaded() {
    let weights = StateDict::open(&fixture("standard.pth"), None).unwrap();
    let config = ModelConfig {
        classes: Some(7),
        repeats: vec![1, 1, 2],
        stem: Some(Stem::Cifar),
        ..infer_config(&weights).unwrap()
    };
    let initial = ShuffleNetV2::new(&config, 3, &Device::flex()).unwrap();
    let (network, fit) = weights.load(initial.clone().unshare()).unwrap();
    assert_eq!(
        fit.misshapen,
        [
            "fc.weight: [5, 16], expected [7, 16]",
            "fc.bias: [5], expected [7]"
        ]
    );
    assert!(fit.unused.iter().all(|name| name.starts_with("stage3.2.")));
    assert!(fit.missing.iter().all(|name| name.starts_with("stage4.2.")));
    assert_eq!((fit.unused.len(), fit.missing.len()), (15, 15));
    let bias = |network: &ShuffleNetV2| network.classifier.bias.as_ref().unwrap().val().into_data();
    assert_eq!(bias(&network), bias(&initial));
    let shown = fit.to_string();
    assert!(
        shown.contains("15 missing, 15 unused, 2 misshapen"),
        "{shown}"
    );
}

/// The error message for a file with these bytes.
fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    std::fs::write(&path, bytes).unwrap();
    let line = match StateDict::open(&path, None) {
        Err(error) => error.to_string(),
        Ok(weights) => infer_config(&weights).unwrap_err().to_string(),
    };
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
fn files_that_are_not_weights_are_refused() {
    assert!(refusal(b"").ends_with("weights.pth: cannot be read as weights: it is empty"));
    assert!(refusal(b"hello, world").contains("neither a safetensors file"));
    for name in [
        "standard.pth",
        "standard-legacy.pth",
        "standard.safetensors",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for length in [8, 100, bytes.len() / 2, bytes.len() - 1] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("half");
            std::fs::write(&path, &bytes[..length]).unwrap();
            let whole = StateDict::open(&path, None).is_ok_and(|weights| {
                let network = infer_config(&weights).and_then(|config| {
                    let network = ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap();
                    weights.load(network)
                });
                network.is_ok()
            });
            assert!(!whole, "{name} cut to {length} bytes");
        }
    }
    let line = StateDict::open(Path::new("/"), None)
        .err()
        .unwrap()
        .to_string();
    assert!(line.contains("cannot be read"), "{line}");
}

/// A pickle is a program. These two would create a file, one by a direct call and one by a call inside a
/// dictionary.
#[test]
fn code_in_a_pickle_is_not_executed() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let command = format!("touch {}", made.display());
    let argument = [
        &b"X"[..],
        &(command.len() as u32).to_le_bytes(),
        command.as_bytes(),
    ]
    .concat();
    let call = [&b"cposix\nsystem\n"[..], &argument, b"\x85R"].concat();
    refusal(&[&b"\x80\x02"[..], &call, b"."].concat());
    refusal(&[&b"\x80\x02}X\x01\0\0\0a"[..], &call, b"s."].concat());
    assert!(!made.exists());
}

#[test]
fn pickles_with_wrong_sizes_allocate_little() {
    // Nested lists, a hundred thousand levels deep.
    refusal(&[&[b']'; 100_000][..], &[b'a'; 99_999], b"."].concat());
    // A list of ten lists of ten lists..., each memoised and repeated.
    let mut bomb = b"\x80\x02]q\x00".to_vec();
    for depth in 0u8..30 {
        bomb.extend([b']', b'q', depth + 1, b'(']);
        (0..10).for_each(|_| bomb.extend([b'h', depth]));
        bomb.push(b'e');
    }
    bomb.push(b'.');
    refusal(&bomb);
    // A string that claims 4 GB but has no content.
    refusal(b"\x80\x02X\xff\xff\xff\xff.");
    // A safetensors header that claims an exabyte.
    refusal(b"\x00\x00\x00\x00\x00\x00\x00\x10{");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damaged_files_never_panic(
        file in prop::sample::select(vec!["standard.pth", "standard-legacy.pth", "standard.safetensors"]),
        places in prop::collection::vec((0usize..60_000, any::<u8>()), 1..4),
        cut in 0usize..70_000,
    ) {
        let mut bytes = std::fs::read(fixture(file)).unwrap();
        for (place, byte) in places {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        if cut < bytes.len() / 2 {
            bytes.truncate(2 * cut);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(weights) = StateDict::open(&path, None)
            && let Ok(config) = infer_config(&weights)
            && let Ok(network) = ShuffleNetV2::new(&config, 0, &Device::flex())
        {
            let _ = weights.load(network);
        }
    }
}
