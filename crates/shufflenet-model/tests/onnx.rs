//! Tests of the content of an exported ONNX file. `onnx-check` (tract) and `scripts/check_onnx.py` (ONNX
//! Runtime) check that the file computes the same as the network.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use std::collections::BTreeMap;

use burn::tensor::Device;
use safetensors::SafeTensors;
use shufflenet_model::{
    Layout, ModelConfig, Scale, ShuffleNetV2, Sizes, Stem, to_onnx, to_safetensors,
};

/// The length-delimited fields of a message, in order: number and content.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        match key & 7 {
            0 => drop(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (content, rest) = bytes.split_at(length);
                found.push((key >> 3, content));
                bytes = rest;
            }
            5 => bytes = &bytes[4..],
            other => panic!("wire type {other}"),
        }
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint without an end")
}

fn all(message: &[u8], number: u64) -> Vec<&[u8]> {
    let chosen = fields(message)
        .into_iter()
        .filter(|field| field.0 == number);
    chosen.map(|field| field.1).collect()
}

fn text(message: &[u8], number: u64) -> String {
    String::from_utf8(all(message, number)[0].to_vec()).unwrap()
}

fn network(config: ModelConfig) -> ShuffleNetV2 {
    ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap()
}

fn config(layout: Layout) -> ModelConfig {
    ModelConfig {
        layout,
        scale: Scale::Half,
        stem: Some(Stem::Seed),
        squeeze_excitation: layout == Layout::Seed,
        ..ModelConfig::default()
    }
}

#[test]
fn tensors_have_the_names_and_bytes_of_the_weight_file() {
    for layout in [Layout::Standard, Layout::Seed] {
        let network = network(config(layout));
        let model = to_onnx(&network, [64, 64], Sizes::Fixed, &[]).unwrap();
        assert!(
            model == to_onnx(&network, [64, 64], Sizes::Fixed, &[]).unwrap(),
            "the same bytes"
        );
        let graph = all(&model, 7)[0];
        let mut stored: BTreeMap<String, Vec<u8>> = all(graph, 5)
            .into_iter()
            .map(|tensor| (text(tensor, 8), all(tensor, 9)[0].to_vec()))
            .collect();
        let file = to_safetensors(&network).unwrap();
        for (name, view) in SafeTensors::deserialize(&file).unwrap().iter() {
            assert!(stored.remove(name).unwrap() == view.data(), "{name}");
        }
        // The remaining tensors are the sizes of splits and shuffles.
        let sizes = ["sizes", "groups", "whole"];
        assert!(
            stored
                .keys()
                .all(|name| sizes.iter().any(|end| name.ends_with(end)))
        );
    }
}

#[test]
fn every_value_is_computed_once_and_before_it_is_used() {
    for layout in [Layout::Standard, Layout::Seed] {
        let network = network(config(layout));
        let model = to_onnx(&network, [64, 64], Sizes::Fixed, &[]).unwrap();
        let graph = all(&model, 7)[0];
        let mut made: Vec<String> = all(graph, 5).iter().map(|tensor| text(tensor, 8)).collect();
        made.push("images".into());
        let mut counts = BTreeMap::new();
        for node in all(graph, 1) {
            *counts.entry(text(node, 4)).or_insert(0) += 1;
            for (number, name) in fields(node) {
                let name = String::from_utf8_lossy(name).into_owned();
                match number {
                    1 => assert!(made.contains(&name), "{name}"),
                    2 => {
                        assert!(!made.contains(&name), "{name}");
                        made.push(name);
                    }
                    _ => {}
                }
            }
        }
        assert!(made.contains(&"logits".to_string()));
        let gates = if layout == Layout::Seed { 16 } else { 0 };
        assert_eq!(counts["Split"], 13);
        assert_eq!(counts["Transpose"], 16);
        assert_eq!(counts["MaxPool"], 1);
        assert_eq!(counts.get("HardSigmoid").copied().unwrap_or(0), gates);
        // The first stride-1 unit of a stage adds only at equal widths. At this scale the downsampling unit
        // always gives the stage's width.
        assert_eq!(
            counts.get("Add").copied().unwrap_or(0),
            if gates > 0 { 13 } else { 0 }
        );
    }
}

#[test]
fn metadata_is_written_and_small_images_are_refused() {
    let network = network(config(Layout::Standard));
    let properties = [("labels", "[\"cat\"]".to_string())];
    let model = to_onnx(&network, [64, 64], Sizes::Fixed, &properties).unwrap();
    let property = all(&model, 14)[0];
    assert_eq!(
        (text(property, 1), text(property, 2)),
        ("labels".into(), "[\"cat\"]".into())
    );
    let line = to_onnx(&network, [4, 4], Sizes::Fixed, &[])
        .unwrap_err()
        .to_string();
    assert!(line.contains("5x5 and larger"), "{line}");
}

/// The dimensions of the input: a number as text, or a name.
fn dimensions(graph: &[u8]) -> Vec<String> {
    let tensor = all(all(all(graph, 11)[0], 2)[0], 1)[0];
    let shape = all(tensor, 2)[0];
    let dimension = |dimension: &&[u8]| match all(dimension, 2)[..] {
        [name] => String::from_utf8(name.to_vec()).unwrap(),
        _ => varint(&mut &dimension[1..]).to_string(),
    };
    all(shape, 1).iter().map(dimension).collect()
}

#[test]
fn a_graph_for_images_of_any_size_has_no_fixed_size() {
    for layout in [Layout::Standard, Layout::Seed] {
        let network = network(config(layout));
        let model = to_onnx(&network, [64, 64], Sizes::Fixed, &[]).unwrap();
        assert_eq!(dimensions(all(&model, 7)[0]), ["batch", "3", "64", "64"]);

        let model = to_onnx(&network, [64, 64], Sizes::Dynamic, &[]).unwrap();
        let graph = all(&model, 7)[0];
        assert_eq!(dimensions(graph), ["batch", "3", "height", "width"]);
        let other = to_onnx(&network, [96, 224], Sizes::Dynamic, &[]).unwrap();
        assert!(model == other, "the bytes depend on the given size");
        let operators: Vec<String> = all(graph, 1).iter().map(|node| text(node, 4)).collect();
        let count = |operator: &str| operators.iter().filter(|&found| found == operator).count();
        assert_eq!(
            (count("Gather"), count("Reshape"), count("Transpose")),
            (16, 0, 0)
        );
        // Of four channels the shuffle takes 0, 2, 1, 3: the first of each half, then the second.
        let order = all(graph, 5)
            .into_iter()
            .find(|tensor| text(tensor, 8) == "stages.0.downsample.order");
        let bytes = all(order.unwrap(), 9)[0];
        let order: Vec<i64> = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&b| i64::from_le_bytes(b))
            .collect();
        assert_eq!((order.len(), &order[..5]), (48, &[0, 24, 1, 25, 2][..]));
    }
}
