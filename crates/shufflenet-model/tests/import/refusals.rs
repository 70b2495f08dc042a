//! Tests of refused and reported imports: NaN and infinity, tensors that the network does not have, files that are not
//! weights.

use std::io::Write;

use burn::tensor::Device;
use shufflenet_model::{ShuffleNetV2, StateDict, Stem, groups, load_safetensors};

use crate::{config, fixture, imported, open, packed, tensors_of};

#[test]
fn nan_infinity_and_negative_variances_are_refused_by_name() {
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
        // Both the import and the reader of checkpoints refuse the value.
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

/// The error message for a file with this name and these bytes.
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
fn files_that_are_not_weights_are_recognised_and_refused() {
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

/// `torch.save({})`, or the state of an optimizer before its first step.
#[test]
fn a_file_of_torch_save_without_tensors_is_told_for_one() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let options = options.compression_method(zip::CompressionMethod::Stored);
    archive.start_file("empty/data.pkl", options).unwrap();
    archive.write_all(b"\x80\x02}q\x00.").unwrap();
    let line = refusal("empty.pth", &archive.finish().unwrap().into_inner());
    let words = "is a file of torch.save, and there are no tensors in it; save a network's weights, in Python: ";
    assert!(line.contains(words) && !line.contains("neither"), "{line}");
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
