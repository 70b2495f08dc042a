//! Weights as people have them: beside objects of any type, as whole modules, under other names of the
//! classifier, under Megvii's names; and files that are no weights.
//!
//! `scripts/import_fixtures.py` writes the fixtures.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use shufflenet_model::{
    Fit, Layout, ModelConfig, Scale, ShuffleNetV2, StateDict, Stem, groups, infer_config,
    load_safetensors, to_safetensors,
};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import");
    fixtures.join(name)
}

/// The network that `weights` belong to, with `stem`, and what fits.
fn imported(weights: &StateDict, stem: Stem) -> (ShuffleNetV2, Fit) {
    let config = ModelConfig {
        stem: Some(stem),
        ..infer_config(weights).unwrap()
    };
    let network = ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap();
    weights.load(network).unwrap()
}

fn logits(network: &ShuffleNetV2, images: Vec<f32>, size: usize) -> Vec<f32> {
    let shape = [2, 3, size, size];
    let images = Tensor::<4>::from_data(TensorData::new(images, shape), &Device::flex());
    let logits = network.valid().forward(images).into_data();
    logits.iter::<f32>().collect()
}

/// The largest difference as a fraction of the largest expected value.
fn off(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |most, z| most.max(z.abs()));
    let pairs = found.iter().zip(expected);
    let off = pairs.map(|(&a, b)| (f64::from(a) - b).abs());
    off.fold(0.0, f64::max) / largest
}

#[test]
fn whatever_lies_beside_the_network_it_gives_pytorchs_logits() {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    let expected: Vec<f64> = serde_json::from_str(&text).unwrap();
    let images: Vec<f32> = (0..1536).map(|i| (i % 23) as f32 / 11.0 - 1.0).collect();
    for (file, prefix) in [
        ("strange.pth", "state_dict."),
        ("strange-legacy.pth", "state_dict."),
        ("whole.pth", ""),
        ("parameters.pth", ""),
        ("arrays.pkl", "model."),
    ] {
        let weights = StateDict::open(&fixture(file), None).unwrap();
        assert_eq!(weights.prefix, prefix, "{file}");
        let (network, fit) = imported(&weights, Stem::Cifar);
        assert!(fit.is_exact(), "{file}: {fit}");
        let off = off(&logits(&network, images.clone(), 16), &expected);
        println!("{file}: {off:.1e}");
        assert!(off < 1e-5, "{file}: {off:e}");
    }
    let weights = StateDict::open(&fixture("strange.pth"), None).unwrap();
    for name in [
        "sparse",
        "complex",
        "float8",
        "quantized",
        "meta",
        "csr",
        "expanded",
    ] {
        assert!(
            weights.outside.iter().any(|outside| outside == name),
            "{name}"
        );
    }
}

#[test]
fn a_tensor_of_the_network_of_a_type_that_weights_do_not_have_is_named() {
    let weights = StateDict::open(&fixture("types.pth"), None).unwrap();
    for (name, kind) in [
        ("conv5.0.weight", "complex64"),
        ("stage3.1.branch2.0.weight", "sparse"),
        ("stage4.1.branch2.0.weight", "float8_e4m3fn"),
    ] {
        assert_eq!(weights.foreign_type(name).unwrap(), kind);
    }
    let line = infer_config(&weights).unwrap_err().to_string();
    assert!(
        line.contains("of type") && line.contains("expected float32, float16, bfloat16 or float64"),
        "{line}"
    );
    let config = ModelConfig {
        widths: Some([4, 8, 8, 8, 8].into()),
        repeats: vec![1, 1, 1],
        classes: Some(3),
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    };
    let network = ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap();
    let (_, fit) = weights.load(network).unwrap();
    assert_eq!(
        fit.misshapen,
        [
            "stage3.1.branch2.0.weight: of type sparse, expected float32, float16, bfloat16 or float64",
            "stage4.1.branch2.0.weight: of type float8_e4m3fn, expected float32, float16, bfloat16 or float64",
            "conv5.0.weight: of type complex64, expected float32, float16, bfloat16 or float64",
        ]
    );
}

/// Shapes and values by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn config() -> ModelConfig {
    ModelConfig {
        widths: Some([4, 8, 8, 8, 8].into()),
        repeats: vec![1, 1, 1],
        classes: Some(3),
        input_channels: Some(3),
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    }
}

fn tensors_of(network: &ShuffleNetV2) -> Tensors {
    let bytes = to_safetensors(network).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &TensorView| {
        let chunks = view.data().as_chunks::<4>().0.iter();
        chunks.map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    file.iter()
        .map(|(name, view)| (name.to_string(), (view.shape().to_vec(), values(&view))))
        .collect()
}

fn packed(tensors: &Tensors) -> Vec<u8> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        (name, view.unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn open(tensors: &Tensors) -> Result<StateDict, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, packed(tensors)).unwrap();
    StateDict::open(&path, None).map_err(|error| error.to_string())
}

/// The tensors with other names, as `rename` gives them.
fn renamed(tensors: &Tensors, rename: impl Fn(&str) -> String) -> Tensors {
    let tensors = tensors.iter();
    tensors
        .map(|(name, tensor)| (rename(name), tensor.clone()))
        .collect()
}

#[test]
fn a_classifier_is_found_under_any_name_by_its_shape() {
    let network = ShuffleNetV2::new(&config(), 5, &Device::flex()).unwrap();
    let own = tensors_of(&network);
    let expected = to_safetensors(&network).unwrap();
    for head in [
        "fc.0",
        "fc.1",
        "fc.fc",
        "classifier",
        "classifier.1",
        "head",
        "last_layer.linear",
    ] {
        let weights = open(&renamed(&own, |name| {
            name.replacen("fc.", &format!("{head}."), 1)
        }));
        let weights = weights.unwrap();
        let said = format!("`{head}.weight` [3, 8] is the classifier");
        assert_eq!(weights.head.as_deref(), Some(&said[..]));
        let (found, fit) = imported(&weights, Stem::Cifar);
        assert!(fit.is_exact(), "{head}: {fit}");
        assert!(to_safetensors(&found).unwrap() == expected, "{head}");
    }
    // Beside a backbone with a prefix of its own.
    let weights = open(&renamed(&own, |name| match name.strip_prefix("fc.") {
        Some(leaf) => format!("net.head.{leaf}"),
        None => format!("net.backbone.{name}"),
    }));
    let weights = weights.unwrap();
    assert_eq!(weights.prefix, "net.backbone.");
    assert_eq!(
        weights.head.as_deref(),
        Some("`net.head.weight` [3, 8] is the classifier")
    );
    let (found, fit) = imported(&weights, Stem::Cifar);
    assert!(fit.is_exact() && to_safetensors(&found).unwrap() == expected);
    // Without a bias.
    let mut bare = own.clone();
    bare.remove("fc.bias");
    let weights = open(&renamed(&bare, |name| name.replacen("fc.", "head.", 1))).unwrap();
    assert!(weights.head.as_deref().unwrap().ends_with("its bias is 0"));
    let (found, fit) = imported(&weights, Stem::Cifar);
    assert!(fit.is_exact(), "{fit}");
    assert_eq!(tensors_of(&found)["fc.bias"].1, [0.0; 3]);
}

#[test]
fn a_classifier_that_is_not_plain_is_not_guessed() {
    let network = ShuffleNetV2::new(&config(), 5, &Device::flex()).unwrap();
    let own = tensors_of(&network);
    let with = |more: &[(&str, [usize; 2])]| {
        let mut tensors = own.clone();
        tensors.retain(|name, _| !name.starts_with("fc."));
        for (name, shape) in more {
            let values = vec![0.5; shape.iter().product()];
            tensors.insert(name.to_string(), (shape.to_vec(), values));
        }
        open(&tensors).unwrap()
    };
    let two = with(&[("head_a.weight", [3, 8]), ("head_b.weight", [5, 8])]);
    assert_eq!(
        two.unclear_head.as_deref().unwrap(),
        "several tensors have the shape of a classifier: head_a.weight [3, 8], head_b.weight [5, 8]"
    );
    let layers = with(&[("fc.0.weight", [6, 8]), ("fc.3.weight", [3, 6])]);
    assert_eq!(
        layers.unclear_head.as_deref().unwrap(),
        "the classifier has several layers (fc.0.weight [6, 8], then fc.3.weight [3, 6]), the network's has one"
    );
    for weights in [two, layers] {
        assert_eq!(weights.head, None);
        assert_eq!(infer_config(&weights).unwrap().classes, None);
    }
    let none = with(&[("other.weight", [3, 7])]);
    assert_eq!((none.head, none.unclear_head), (None, None));
}

#[test]
fn a_value_that_is_no_number_is_refused_by_name() {
    let network = ShuffleNetV2::new(&config(), 5, &Device::flex()).unwrap();
    let own = tensors_of(&network);
    for (name, value, answer) in [
        ("stage2.0.branch1.2.weight", f32::NAN, "holds NaN"),
        ("fc.bias", f32::INFINITY, "holds inf"),
        ("conv5.1.running_mean", f32::NEG_INFINITY, "holds -inf"),
        ("conv1.1.running_var", -0.5, "holds -0.5"),
    ] {
        let mut tensors = own.clone();
        *tensors.get_mut(name).unwrap().1.last_mut().unwrap() = value;
        let weights = open(&tensors).unwrap();
        let fresh = ShuffleNetV2::new(&config(), 0, &Device::flex()).unwrap();
        // By an import, which reads any file, and by our own reader of checkpoints.
        let lines = [
            weights.load(fresh.clone()).err().unwrap().to_string(),
            load_safetensors(fresh, &packed(&tensors))
                .unwrap_err()
                .to_string(),
        ];
        for line in lines {
            let named = line.contains(&format!("tensor `{name}` {answer}"));
            assert!(named && line.contains("are accepted"), "{line}");
        }
    }
}

#[test]
fn long_lists_are_counted_by_group() {
    let network = ShuffleNetV2::new(&config(), 5, &Device::flex()).unwrap();
    let mut tensors = tensors_of(&network);
    for place in 0..30 {
        tensors.insert(format!("neck.{place}.weight"), (vec![1], vec![0.0]));
    }
    let (_, fit) = imported(&open(&tensors).unwrap(), Stem::Cifar);
    let shown = fit.to_string();
    assert!(
        shown.contains("0 missing, 30 unused, 0 misshapen"),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), 12, "{shown}");
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    assert_eq!(
        groups(&names(&["ema.a", "optimizer.b", "optimizer.c"])),
        "optimizer 2, ema 1"
    );
    assert_eq!(
        groups(&names(&["model.head.a", "model.neck.b", "model.neck.c"])),
        "model.neck 2, model.head 1"
    );
}

/// The reason why a file with these bytes is refused.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let line = StateDict::open(&path, None).err().unwrap().to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains(name), "{line}");
    line
}

#[test]
fn files_that_are_taken_for_weights_are_told_for_what_they_are() {
    let gz = |bytes: &[u8]| {
        let mut gz = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        gz.extend_from_slice(bytes);
        gz
    };
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    tar.append_data(&mut header, "run/best.pth", &b""[..])
        .unwrap();
    let tar = tar.into_inner().unwrap();
    let script = std::fs::read(fixture("script.pt")).unwrap();
    let index = br#"{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}"#;
    for (name, bytes, what, instead) in [
        (
            "lfs.pth",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n".to_vec(),
            "a Git LFS pointer",
            "git lfs pull",
        ),
        (
            "page.pth",
            b"\n<!DOCTYPE html><html></html>".to_vec(),
            "a web page",
            "download the file itself",
        ),
        (
            "model.safetensors.index.json",
            index.to_vec(),
            "the index of weights",
            "save one file",
        ),
        (
            "config.json",
            b"{\"a\": 1}".to_vec(),
            "a JSON text",
            "give the file",
        ),
        (
            "model.h5",
            b"\x89HDF\r\n\x1a\n\0\0".to_vec(),
            "an HDF5 file, as Keras writes it",
            "torch.save",
        ),
        (
            "model.onnx",
            b"\x08\x07\x12\x07pytorch\x1a".to_vec(),
            "an ONNX file",
            "exported from",
        ),
        (
            "renamed.pth",
            b"\x08\x07\x12\x07pytorch\x1a".to_vec(),
            "an ONNX file",
            "exported from",
        ),
        ("a.tar.gz", gz(b"x"), "a compressed archive", "unpack it"),
        ("a.tar", tar, "a tar archive", "unpack it"),
        (
            "folder.zip",
            zipped(&["run/best.pth", "run/log.txt"]),
            "a zip archive of 2 files (run/best.pth, run/log.txt)",
            "unpack it",
        ),
        (
            "a.keras",
            zipped(&["model.weights.h5"]),
            "a Keras archive",
            "torch.save",
        ),
        (
            "a.npz",
            zipped(&["fc.npy"]),
            "a NumPy archive (.npz)",
            "torch.save",
        ),
        (
            "script.pt",
            script,
            "a TorchScript archive (torch.jit.save)",
            "torch.jit.load(FILE).state_dict()",
        ),
    ] {
        let line = refusal(name, &bytes);
        assert!(line.contains(&format!("is {what}")), "{line}");
        assert!(line.contains(instead), "{line}");
    }
    for file in ["strange.pth", "strange-legacy.pth"] {
        let bytes = std::fs::read(fixture(file)).unwrap();
        let size = bytes.len() - 5000;
        let line = refusal("cut.pth", &bytes[..size]);
        assert!(
            line.contains(&format!("it is cut off or damaged, with {size} bytes")),
            "{line}"
        );
    }
}

/// A zip archive of empty files.
fn zipped(names: &[&str]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in names {
        let options = zip::write::SimpleFileOptions::default();
        let options = options.compression_method(zip::CompressionMethod::Stored);
        archive.start_file(*name, options).unwrap();
        archive.write_all(b"").unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// As PyTorch 0.1 wrote it: a storage of eight numbers, of which the tensor with the key 7 has the last six,
/// column by column, through a view that begins at the third.
#[test]
fn a_tar_archive_of_old_pytorch_is_read() {
    let number = |value: i64| value.to_le_bytes().to_vec();
    let values: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let storages = [
        b"K\x01.(K\x05X\x03\0\0\0cpuctorch\nFloatStorage\nt.".to_vec(),
        number(8),
        values,
        b"](K\x06K\x05K\x02K\x06ta.".to_vec(),
    ];
    let tensors = [
        b"K\x01.(K\x07K\x06ctorch\nFloatTensor\nt.".to_vec(),
        number(2),
        number(3),
        number(2),
        number(1),
        number(3),
        number(0),
    ];
    let pickle = b"}(X\x0f\0\0\0stage1.0.weightP7\nu.";
    let mut archive = tar::Builder::new(Vec::new());
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).unwrap();
    };
    append("storages", &storages.concat());
    append("tensors", &tensors.concat());
    append("pickle", pickle);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.pth");
    std::fs::write(&path, archive.into_inner().unwrap()).unwrap();
    let weights = StateDict::open(&path, None).unwrap();
    assert_eq!(weights.kind, "PyTorch (tar)");
    assert_eq!(weights.shape("stage1.0.weight").unwrap(), [3, 2]);
    let values = weights.values("stage1.0.weight").unwrap();
    assert_eq!(values.unwrap(), [2.0, 5.0, 3.0, 6.0, 4.0, 7.0]);
}

/// What PyTorch computed with the network of Megvii's repository.
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
fn megviis_network_gives_its_own_logits_under_torchvisions_order_of_channels() {
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
fn blue_first_becomes_red_first() {
    let megvii = Megvii::read();
    let mut weights = open(&megvii.tensors()).unwrap();
    assert!(weights.swap_colours());
    let (network, _) = imported(&weights, Stem::Imagenet);
    // The same images with their colours in the other order.
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

/// As in detectors: a prefix, stages instead of one list, no last convolution, no classifier, and a head.
#[test]
fn a_detectors_backbone_is_the_same_network_without_its_end() {
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
fn megviis_other_widths_and_relatives_are_refused_by_their_reason() {
    let megvii = Megvii::read();
    let mut wide = megvii.tensors();
    // As at x1.0, where 24 of 116 channels come from the projection.
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
