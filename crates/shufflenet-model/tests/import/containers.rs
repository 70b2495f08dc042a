//! Tests of finding the network's tensors in PyTorch's files beside other objects.

use burn::tensor::Device;
use shufflenet_model::{ShuffleNetV2, StateDict, Stem, infer_config};

use crate::{config, fixture, imported, logits, off};

#[test]
fn a_network_beside_other_objects_gives_pytorchs_logits() {
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
fn a_tensor_of_an_unsupported_type_is_refused_by_name() {
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
    let network = ShuffleNetV2::new(&config(), 0, &Device::flex()).unwrap();
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

/// A file as PyTorch 0.1 wrote it. It has a storage of eight numbers. The tensor with the key 7 is a view of the last six,
/// column by column.
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
