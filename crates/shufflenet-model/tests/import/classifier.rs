//! Tests of classifiers with other names than the network's own.

use burn::tensor::Device;
use shufflenet_model::{ShuffleNetV2, Stem, infer_config, to_safetensors};

use crate::{config, imported, open, renamed, tensors_of};

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
    // The backbone has another prefix than the classifier.
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
    // A classifier without a bias.
    let mut bare = own.clone();
    bare.remove("fc.bias");
    let weights = open(&renamed(&bare, |name| name.replacen("fc.", "head.", 1))).unwrap();
    assert!(weights.head.as_deref().unwrap().ends_with("its bias is 0"));
    let (found, fit) = imported(&weights, Stem::Cifar);
    assert!(fit.is_exact(), "{fit}");
    assert_eq!(tensors_of(&found)["fc.bias"].1, [0.0; 3]);
}

#[test]
fn an_ambiguous_classifier_is_refused() {
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
