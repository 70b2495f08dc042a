//! Tests of the exact numbers of parameters and multiply-adds of networks.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use shufflenet_model::{
    Layout, ModelConfig, Scale, ShuffleNetV2, Stem, Summary, num_parameters, to_safetensors,
};

fn network(config: &ModelConfig) -> ShuffleNetV2 {
    ShuffleNetV2::new(config, 0, &Device::flex()).unwrap()
}

/// Layout, stem, image size and classes, then parameters and millions of multiply-adds for each width. They were counted in
/// PyTorch, for torchvision's networks and the seed network's.
type Row = (Layout, Stem, usize, usize, [(usize, &'static str); 4]);

const PUBLISHED: [Row; 5] = [
    (
        Layout::Standard,
        Stem::Cifar,
        32,
        10,
        [
            (352_042, "10.90"),
            (1_263_854, "45.00"),
            (2_488_874, "94.26"),
            (5_365_486, "187.81"),
        ],
    ),
    (
        Layout::Seed,
        Stem::Cifar,
        32,
        10,
        [
            (352_042, "10.90"),
            (1_263_310, "44.25"),
            (2_489_770, "93.34"),
            (5_370_190, "187.26"),
        ],
    ),
    (
        Layout::Seed,
        Stem::Seed,
        224,
        10,
        [
            (352_042, "39.40"),
            (1_263_310, "141.54"),
            (2_489_770, "291.87"),
            (5_370_190, "579.47"),
        ],
    ),
    (
        Layout::Standard,
        Stem::Imagenet,
        224,
        1000,
        [
            (1_366_792, "40.48"),
            (2_278_604, "144.91"),
            (3_503_624, "295.76"),
            (7_393_996, "583.25"),
        ],
    ),
    (
        Layout::Seed,
        Stem::Seed,
        224,
        1000,
        [
            (1_366_792, "40.41"),
            (2_278_060, "142.55"),
            (3_504_520, "292.89"),
            (7_398_700, "581.50"),
        ],
    ),
];

#[test]
fn totals_of_the_published_networks_equal_pytorchs() {
    for (layout, stem, size, classes, expected) in PUBLISHED {
        for (scale, (parameters, multiply_adds)) in Scale::ALL.into_iter().zip(expected) {
            let network = network(&ModelConfig {
                layout,
                scale,
                classes: Some(classes),
                stem: Some(stem),
                ..ModelConfig::default()
            });
            let summary = Summary::of(&network, size, size).unwrap();
            let millions = format!("{:.2}", summary.multiply_adds as f64 / 1e6);
            println!(
                "{:<62} {size:>3}  {:>9}  {millions:>6} M",
                summary.network, summary.parameters
            );
            assert_eq!(summary.parameters, parameters, "{}", summary.network);
            assert_eq!(millions, multiply_adds, "{}", summary.network);
            assert_eq!(num_parameters(&network), parameters);
        }
    }
}

#[test]
fn rows_have_the_shapes_of_table_5() {
    let summary = Summary::of(&network(&ModelConfig::default()), 224, 224).unwrap();
    let output = |name: &str| {
        let layer = summary.layers.iter().find(|layer| layer.name == name);
        layer.unwrap().output.clone()
    };
    // Rows of the paper's table 5: Conv1, MaxPool, Stage2 to Stage4, Conv5, GlobalPool, FC.
    assert_eq!(output("stem"), [24, 112, 112]);
    assert_eq!(output("pool"), [24, 56, 56]);
    assert_eq!(output("stages.0.units.2"), [116, 28, 28]);
    assert_eq!(output("stages.1.units.6"), [232, 14, 14]);
    assert_eq!(output("stages.2.units.2"), [464, 7, 7]);
    assert_eq!(output("last"), [1024, 7, 7]);
    assert_eq!(output("features"), [1024]);
    assert_eq!(output("classifier"), [10]);
}

/// The network itself is run on zeros here.
#[test]
fn maps_of_any_size_are_those_of_the_network() {
    for (stem, layout) in [
        (Stem::Cifar, Layout::Standard),
        (Stem::Imagenet, Layout::Standard),
        (Stem::Seed, Layout::Seed),
    ] {
        let network = network(&ModelConfig {
            layout,
            stem: Some(stem),
            widths: Some([8, 16, 24, 32, 48].into()),
            ..ModelConfig::default()
        });
        for [height, width] in [[32, 32], [37, 50], [5, 7]] {
            let summary = Summary::of(&network, height, width).unwrap();
            let image = Tensor::zeros([1, 3, height, width], &Device::flex());
            let stem = network.stem.forward(image);
            let mut x = match &network.pool {
                Some(pool) => pool.forward(stem),
                None => stem,
            };
            for (number, stage) in network.stages.iter().enumerate() {
                x = stage.forward(x);
                let name = format!("stages.{number}.units.{}", stage.units.len() - 1);
                let layer = summary.layers.iter().find(|layer| layer.name == name);
                assert_eq!(layer.unwrap().output, x.dims()[1..], "{name}");
            }
        }
    }
}

#[test]
fn the_table_is_printed_in_aligned_columns() {
    let config = ModelConfig {
        widths: Some([4, 8, 16, 16, 32].into()),
        repeats: vec![0, 0, 1],
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    };
    let text = Summary::of(&network(&config), 16, 12).unwrap().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, TABLE);
}

const TABLE: [&str; 29] = [
    "standard network of widths [4, 8, 16, 16, 32] with 10 classes, cifar stem, images of 3x16x12",
    "layer                                 kind                    output   parameters  multiply-adds",
    "stem                                  3x3 conv, norm, relu    4x16x12         116          20736",
    "stages.0.downsample.left_depthwise    3x3 depthwise /2, norm  4x8x6            44           1728",
    "stages.0.downsample.left_pointwise    1x1 conv, norm, relu    4x8x6            24            768",
    "stages.0.downsample.right.pointwise1  1x1 conv, norm, relu    4x16x12          24           3072",
    "stages.0.downsample.right.depthwise   3x3 depthwise /2, norm  4x8x6            44           1728",
    "stages.0.downsample.right.pointwise2  1x1 conv, norm, relu    4x8x6            24            768",
    "stages.0.downsample                   concat, shuffle         8x8x6             0              0",
    "stages.1.downsample.left_depthwise    3x3 depthwise /2, norm  8x4x3            88            864",
    "stages.1.downsample.left_pointwise    1x1 conv, norm, relu    8x4x3            80            768",
    "stages.1.downsample.right.pointwise1  1x1 conv, norm, relu    8x8x6            80           3072",
    "stages.1.downsample.right.depthwise   3x3 depthwise /2, norm  8x4x3            88            864",
    "stages.1.downsample.right.pointwise2  1x1 conv, norm, relu    8x4x3            80            768",
    "stages.1.downsample                   concat, shuffle         16x4x3            0              0",
    "stages.2.downsample.left_depthwise    3x3 depthwise /2, norm  16x2x2          176            576",
    "stages.2.downsample.left_pointwise    1x1 conv, norm, relu    8x2x2           144            512",
    "stages.2.downsample.right.pointwise1  1x1 conv, norm, relu    8x4x3           144           1536",
    "stages.2.downsample.right.depthwise   3x3 depthwise /2, norm  8x2x2            88            288",
    "stages.2.downsample.right.pointwise2  1x1 conv, norm, relu    8x2x2            80            256",
    "stages.2.downsample                   concat, shuffle         16x2x2            0              0",
    "stages.2.units.0.right.pointwise1     1x1 conv, norm, relu    8x2x2            80            256",
    "stages.2.units.0.right.depthwise      3x3 depthwise, norm     8x2x2            88            288",
    "stages.2.units.0.right.pointwise2     1x1 conv, norm, relu    8x2x2            80            256",
    "stages.2.units.0                      concat, shuffle         16x2x2            0              0",
    "last                                  1x1 conv, norm, relu    32x2x2          576           2048",
    "features                              global average          32                0              0",
    "classifier                            linear                  10              330            320",
    "total  2478 parameters, 0.04 M multiply-adds",
];

#[test]
fn a_summary_does_not_change_the_network() {
    let config = ModelConfig {
        squeeze_excitation: true,
        ..ModelConfig::default()
    };
    let training = ShuffleNetV2::new(&config, 0, &Device::flex().autodiff()).unwrap();
    let before = to_safetensors(&training).unwrap();
    let summary = Summary::of(&training, 32, 32).unwrap();
    assert!(to_safetensors(&training).unwrap() == before);
    assert_eq!(summary, Summary::of(&training.valid(), 32, 32).unwrap());
}
