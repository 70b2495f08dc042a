//! Tests of weight files: names, round trips, refused files.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Tensor};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;
use shufflenet_model::names::names;
use shufflenet_model::{
    Layout, ModelConfig, Scale, ShuffleNetV2, Stem, load_safetensors, parameters, to_safetensors,
};

const LAYOUTS: [Layout; 2] = [Layout::Standard, Layout::Seed];

fn network(layout: Layout, seed: u64) -> ShuffleNetV2 {
    let config = ModelConfig {
        layout,
        scale: Scale::Half,
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    };
    ShuffleNetV2::new(&config, seed, &Device::flex()).unwrap()
}

/// The tensors of a file, for tests that change them: type, shape and bytes by name.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn unpack(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let unpacked = |view: TensorView| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    file.iter()
        .map(|(name, view)| (name.to_string(), unpacked(view)))
        .collect()
}

fn pack(tensors: &Tensors) -> Vec<u8> {
    let view = |(dtype, shape, bytes): &'_ (Dtype, Vec<usize>, Vec<u8>)| {
        (*dtype, shape.clone(), bytes.clone())
    };
    let owned: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name, view(tensor)))
        .collect();
    let views = owned.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// The error message for a network's weights after `tamper`.
fn refusal(tamper: impl FnOnce(&mut Tensors)) -> String {
    let mut tensors = unpack(&to_safetensors(&network(Layout::Standard, 0)).unwrap());
    tamper(&mut tensors);
    let error = load_safetensors(network(Layout::Standard, 1), &pack(&tensors)).unwrap_err();
    error.to_string()
}

/// A network and PyTorch's names of its tensors, without the counters.
#[derive(Deserialize)]
struct Listing {
    model: ModelConfig,
    names: BTreeSet<String>,
}

/// Both layouts: as published, with other repeats, and with squeeze-and-excitation.
fn listings() -> Vec<Listing> {
    serde_json::from_str(include_str!("fixtures/names.json")).unwrap()
}

#[test]
fn names_equal_pytorchs() {
    let listings = listings();
    assert_eq!(listings.len(), 6);
    for Listing {
        model,
        names: files,
    } in listings
    {
        let names = names(&model);
        let found: BTreeSet<String> = names.iter().map(|name| name.file.clone()).collect();
        assert_eq!(found, files, "{model}");
        let paths: BTreeSet<&String> = names.iter().map(|name| &name.path).collect();
        assert_eq!((found.len(), paths.len()), (names.len(), names.len()));
    }
}

#[test]
fn paths_equal_those_of_the_module_tree() {
    #[derive(Default)]
    struct Paths {
        stack: Vec<String>,
        found: BTreeSet<String>,
    }
    impl ModuleVisitor for Paths {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.stack.push(name.to_string());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.stack.pop();
        }
        fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
            self.found.insert(self.stack.join("."));
        }
    }
    for Listing { model, .. } in listings() {
        let network = ShuffleNetV2::new(&model, 0, &Device::flex()).unwrap();
        let mut paths = Paths::default();
        network.visit(&mut paths);
        let table = names(&model).into_iter().map(|name| name.path);
        assert_eq!(paths.found, table.collect(), "{model}");
    }
}

#[test]
fn a_round_trip_keeps_every_bit_and_leaves_clones_unchanged() {
    let device = Device::flex().autodiff();
    for Listing { model, .. } in listings() {
        let trained = ShuffleNetV2::new(&model, 1, &device).unwrap();
        trained.forward(Tensor::ones([2, 3, 16, 16], &device));
        let bytes = to_safetensors(&trained).unwrap();
        let other = ShuffleNetV2::new(&model, 2, &device).unwrap();
        let kept = other.clone();
        let before = to_safetensors(&kept).unwrap();
        let loaded = load_safetensors(other, &bytes).unwrap();
        assert!(to_safetensors(&loaded).unwrap() == bytes, "{model}");
        assert!(to_safetensors(&kept).unwrap() == before, "{model}");
    }
}

#[test]
fn parameters_lists_the_trainable_tensors_with_their_ids() {
    for layout in LAYOUTS {
        let network = network(layout, 0);
        let parameters = parameters(&network);
        let names: BTreeSet<&String> = parameters.iter().map(|(_, name)| name).collect();
        let stored = unpack(&to_safetensors(&network).unwrap());
        let trainable = stored.keys().filter(|name| !name.contains("running_"));
        assert_eq!(names, trainable.collect());
        let (stem, name) = &parameters[0];
        assert_eq!(*stem, network.stem.conv.weight.id);
        assert!(name.starts_with("conv1."), "{name}");
        let again = shufflenet_model::parameters(&network);
        assert!(again == parameters, "the order changed");
    }
}

#[test]
fn a_round_trip_keeps_every_bit_of_a_trained_network() {
    let device = Device::flex().autodiff();
    for layout in LAYOUTS {
        let trained = ShuffleNetV2::new(network(layout, 0).config(), 3, &device).unwrap();
        for _ in 0..2 {
            trained.forward(Tensor::random(
                [2, 3, 16, 16],
                Distribution::Default,
                &device,
            ));
        }
        let bytes = to_safetensors(&trained).unwrap();
        assert!(bytes == to_safetensors(&trained).unwrap());
        let stem = &unpack(&bytes)[&match layout {
            Layout::Standard => "conv1.1.running_mean".to_string(),
            Layout::Seed => "bn1.running_mean".to_string(),
        }];
        let last_update = trained.stem.norm.running_mean.value_sync().into_data();
        let stored = stem
            .2
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b));
        assert!(
            stored.eq(last_update.iter::<f32>()),
            "the last step's statistics"
        );
        // Load into a plain network, and into one with pending running statistics.
        let plain = load_safetensors(network(layout, 4), &bytes).unwrap();
        assert!(to_safetensors(&plain).unwrap() == bytes);
        let other = ShuffleNetV2::new(trained.config(), 5, &device).unwrap();
        other.forward(Tensor::random(
            [2, 3, 16, 16],
            Distribution::Default,
            &device,
        ));
        let kept = other.clone();
        let before = to_safetensors(&kept).unwrap();
        let ids = parameters(&other);
        let loaded = load_safetensors(other, &bytes).unwrap();
        assert!(to_safetensors(&loaded).unwrap() == bytes);
        assert!(parameters(&loaded) == ids);
        assert!(loaded.stem.conv.weight.val().is_require_grad());
        assert!(!loaded.stem.norm.running_mean.value_sync().is_require_grad());
        assert!(
            to_safetensors(&kept).unwrap() == before,
            "the clone changed"
        );
        let x = Tensor::<4>::ones([2, 3, 16, 16], &Device::flex());
        let logits = |network: &ShuffleNetV2| network.valid().forward(x.clone()).into_data();
        assert_eq!(logits(&loaded), logits(&trained));
    }
}

#[test]
fn linear_weights_are_stored_in_pytorchs_layout() {
    let network = network(Layout::Standard, 0);
    let (_, shape, bytes) = unpack(&to_safetensors(&network).unwrap())["fc.weight"].clone();
    assert_eq!(shape, [10, 1024]);
    let rows = network.classifier.weight.val().transpose().into_data();
    let stored = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b));
    assert!(stored.eq(rows.iter::<f32>()));
}

#[test]
fn pytorchs_batch_counters_are_ignored() {
    let mut tensors = unpack(&to_safetensors(&network(Layout::Standard, 0)).unwrap());
    let counter = (Dtype::I64, vec![], vec![0; 8]);
    tensors.insert("conv1.1.num_batches_tracked".into(), counter);
    load_safetensors(network(Layout::Standard, 1), &pack(&tensors)).unwrap();
}

#[test]
fn a_tensor_that_does_not_fit_is_refused_by_name() {
    let missing = refusal(|tensors| drop(tensors.remove("stage3.0.branch1.2.weight")));
    assert_eq!(
        missing,
        "tensor `stage3.0.branch1.2.weight` of this standard network of scale 0.5 with 10 classes \
         is missing from the file, which has 281 tensors"
    );
    let unused = refusal(|tensors| {
        let copy = tensors["fc.bias"].clone();
        tensors.insert("fc2.bias".into(), copy);
    });
    assert_eq!(
        unused,
        "tensor `fc2.bias` in the file has no place in this standard network of scale 0.5 with 10 \
         classes"
    );
    let shape = refusal(|tensors| tensors.get_mut("fc.weight").unwrap().1 = vec![1024, 10]);
    assert_eq!(
        shape,
        "tensor `fc.weight` is [1024, 10] in the file and [10, 1024] in this standard network of \
         scale 0.5 with 10 classes"
    );
    let dtype = refusal(|tensors| tensors.get_mut("fc.bias").unwrap().0 = Dtype::I32);
    assert_eq!(
        dtype,
        "tensor `fc.bias` is of type I32 in the file: float32 (F32) and float16 (F16) are accepted"
    );
}

#[test]
fn a_file_of_the_other_layout_is_refused() {
    let bytes = to_safetensors(&network(Layout::Seed, 0)).unwrap();
    let error = load_safetensors(network(Layout::Standard, 0), &bytes).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("tensor `conv1.0.weight` of this standard network")
    );
}

#[test]
fn truncated_files_are_refused() {
    let bytes = to_safetensors(&network(Layout::Standard, 0)).unwrap();
    for length in [0, 7, 8, 100, bytes.len() - 1] {
        let network = network(Layout::Standard, 1);
        let error = load_safetensors(network, &bytes[..length]).unwrap_err();
        assert!(error.to_string().starts_with("no valid safetensors file: "));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_bytes_never_panic(position in 0usize..30_000, byte: u8, cut in 0usize..40_000) {
        thread_local! {
            static TARGET: (ShuffleNetV2, Vec<u8>) = {
                let network = network(Layout::Standard, 0);
                let bytes = to_safetensors(&network).unwrap();
                (network, bytes)
            };
        }
        TARGET.with(|(network, bytes)| {
            let mut bytes = bytes.clone();
            bytes[position] = byte;
            let _ = load_safetensors(network.clone(), &bytes);
            bytes.truncate(cut);
            let _ = load_safetensors(network.clone(), &bytes);
        });
    }
}
