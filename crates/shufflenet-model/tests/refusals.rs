//! Tests of the errors of configurations that cannot work. Each error names the setting, the value found and the values
//! accepted.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]
#![allow(clippy::print_stdout, reason = "--nocapture shows the messages")]

use burn::tensor::Device;
use shufflenet_model::{Layout, ModelConfig, ShuffleNetV2, Stem};

fn edited(edit: impl FnOnce(&mut ModelConfig)) -> ModelConfig {
    let mut config = ModelConfig::default();
    edit(&mut config);
    config
}

/// The error message of a configuration. Checking it and building it give the same message.
fn refusal(edit: impl FnOnce(&mut ModelConfig)) -> String {
    let config = edited(edit);
    let checked = config.validate(224, 224).unwrap_err();
    let built = ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap_err();
    assert_eq!(checked, built);
    println!("{built}");
    built.to_string()
}

#[test]
fn counts_and_fractions_out_of_range_are_refused() {
    assert_eq!(
        refusal(|config| config.classes = Some(0)),
        "classes = 0: 1 to 1000000 is accepted"
    );
    assert_eq!(
        refusal(|config| config.classes = Some(usize::MAX)),
        format!("classes = {}: 1 to 1000000 is accepted", usize::MAX)
    );
    assert_eq!(
        refusal(|config| config.input_channels = Some(0)),
        "input_channels = 0: 1 to 4096 is accepted"
    );
    assert_eq!(
        refusal(|config| config.widths = Some([24, 48, 0, 192, 1024].into())),
        "widths[2] = 0: 1 to 8192 is accepted"
    );
    assert_eq!(
        refusal(|config| config.widths = Some([24, 48, 96, 192, 1_024_000].into())),
        "widths[4] = 1024000: 1 to 8192 is accepted"
    );
    assert_eq!(
        refusal(|config| config.repeats = vec![3, 700, 3]),
        "repeats[1] = 700: 0 to 64 is accepted"
    );
    assert_eq!(
        refusal(|config| config.repeats = vec![3, 7]),
        "repeats = [3, 7]: widths = [24, 116, 232, 464, 1024] has 3 stages between the stem and the last \
         convolution; as many repeats are accepted, and up to 8 stages"
    );
    let few = serde_json::from_str::<ModelConfig>(r#"{"widths": [24, 1024]}"#);
    let few = few.unwrap_err().to_string();
    assert!(
        few.starts_with("widths = [24, 1024]: the stem, 1 or more stages"),
        "{few}"
    );
    for (found, words) in [(0.0, "0"), (1.0, "1"), (-0.5, "-0.5"), (f64::NAN, "NaN")] {
        let config = edited(|config| config.split_ratio = found);
        let answer = config.validate(224, 224).unwrap_err().to_string();
        let expected = format!("split_ratio = {words}: above 0 and below 1 is accepted");
        assert_eq!(answer, expected);
    }
    assert_eq!(
        refusal(|config| config.dropout = 1.0),
        "dropout = 1: 0 to below 1 is accepted"
    );
}

#[test]
fn odd_stage_widths_are_refused() {
    for layout in [Layout::Standard, Layout::Seed] {
        let answer = refusal(|config| {
            config.layout = layout;
            config.widths = Some([24, 48, 97, 192, 1024].into());
        });
        assert_eq!(
            answer,
            "widths = [24, 48, 97, 192, 1024]: the two groups of the shuffle cannot share the 97 \
             channels of a stage; an even width is accepted"
        );
    }
    // The outputs of the stem and the last convolution are not shuffled.
    let config = edited(|config| config.widths = Some([25, 48, 96, 192, 1023].into()));
    assert!(config.validate(224, 224).is_ok());
}

#[test]
fn an_empty_branch_is_refused() {
    assert_eq!(
        refusal(|config| config.split_ratio = 0.004),
        "split_ratio = 0.004: in a stage 2 unit of 116 inputs and 116 outputs, a left branch of 0 \
         channels leaves a branch empty; 1 to 115 is accepted"
    );
    assert_eq!(
        refusal(|config| config.split_ratio = 0.999),
        "split_ratio = 0.999: in a stage 2 unit of 116 inputs and 116 outputs, a left branch of 116 \
         channels leaves a branch empty; 1 to 115 is accepted"
    );
    // The first unit of the seed layout may narrow. Its left channels must leave at least one channel to the right branch.
    assert_eq!(
        refusal(|config| {
            config.layout = Layout::Seed;
            config.widths = Some([48, 40, 80, 160, 200].into());
        }),
        "split_ratio = 0.5: in a stage 2 unit of 96 inputs and 40 outputs, a left branch of 48 channels \
         leaves a branch empty; 1 to 39 is accepted"
    );
}

#[test]
fn a_stage_without_a_unit_that_widens_it_is_refused() {
    assert_eq!(
        refusal(|config| {
            config.layout = Layout::Seed;
            config.repeats = vec![0, 7, 3];
        }),
        "repeats = [0, 7, 3]: the downsampling unit of stage 2 gives 48 channels in the seed layout, \
         and without a stride-1 unit after it nothing widens them to 116; 1 or more is accepted there"
    );
    // A stage whose width is twice its inputs needs no unit to widen it.
    let config = edited(|config| {
        config.layout = Layout::Seed;
        config.repeats = vec![3, 0, 0];
    });
    assert!(ShuffleNetV2::new(&config, 0, &Device::flex()).is_ok());
    let config = edited(|config| config.repeats = vec![0, 0, 0]);
    assert!(ShuffleNetV2::new(&config, 0, &Device::flex()).is_ok());
}

#[test]
fn a_branch_too_narrow_for_squeeze_and_excitation_is_refused() {
    assert_eq!(
        refusal(|config| {
            config.squeeze_excitation = true;
            config.widths = Some([24, 6, 96, 192, 1024].into());
        }),
        "squeeze_excitation = true: a right branch of stage 2 has 3 channels, of which the reduction \
         by 4 leaves none; 4 or more is accepted"
    );
}

#[test]
fn images_that_are_too_small_for_the_stem_are_refused() {
    let answer = |stem, size| {
        let config = edited(|config| config.stem = Some(stem));
        config.validate(size, 64).unwrap_err().to_string()
    };
    assert_eq!(
        answer(Stem::Seed, 4),
        "images of 4x64 are too small for the stem \"seed\", which takes 5x5 and larger"
    );
    assert_eq!(
        answer(Stem::Imagenet, 0),
        "images of 0x64 are too small for the stem \"imagenet\", which takes 1x1 and larger"
    );
}

#[test]
fn a_training_batch_with_one_value_per_channel_is_refused() {
    let seed = edited(|config| config.stem = Some(Stem::Seed));
    assert!(seed.check_training_batch(2, 32, 32).is_ok());
    assert!(seed.check_training_batch(1, 64, 64).is_ok());
    assert!(seed.check_training_batch(0, 64, 64).is_err());
    assert_eq!(
        seed.check_training_batch(1, 32, 32)
            .unwrap_err()
            .to_string(),
        "a training batch of 1 at 32x32 leaves batch norm 1 value per channel (1 x 1x1) and it \
         needs 2 or more: take a larger batch, larger images or the stem \"cifar\", or drop the \
         smaller last batch"
    );
    let squeezing = edited(|config| config.squeeze_excitation = true);
    assert!(squeezing.check_training_batch(2, 64, 64).is_ok());
    assert_eq!(
        squeezing
            .check_training_batch(1, 64, 64)
            .unwrap_err()
            .to_string(),
        "a training batch of 1 leaves the batch norm of squeeze-and-excitation 1 value per channel \
         and it needs 2 or more: take a larger batch, or drop the smaller last batch"
    );
}
