//! Infers the configuration of the network that a file's tensors belong to, from their names and shapes.
//!
//! The names show the layout and the number of units; the shapes of a few convolutions show the widths, the
//! split, the input channels and the classes. Neither shows the stem (its stride and pooling have no
//! weights), the residual sum and dropout. Those keep the layout's defaults, and the caller can set them.
//!
//! A detector's backbone ends with its last stage. Its last convolution gets the width of the scale that the
//! stages have, and its classes stay unset.

use std::collections::HashMap;

use super::{StateDict, StateDictError};
use crate::config::{Layout, ModelConfig, Scale, Widths};
use crate::names::names;
use crate::plan::{MOST_REPEATS, MOST_STAGES, split_channels};
use crate::words::counted;

/// The configuration of the network that `weights` belongs to, with the stem unset. The classes are unset if
/// the file has no classifier.
///
/// # Errors
/// [`StateDictError::Network`]: names of neither layout, a convolution that is missing or has an unexpected
/// shape, a network that cannot be built, or a network that is much larger than the file.
pub fn infer_config(weights: &StateDict) -> Result<ModelConfig, StateDictError> {
    infer(weights).map_err(|why| StateDictError::Network {
        path: weights.path.clone(),
        why,
    })
}

fn infer(weights: &StateDict) -> Result<ModelConfig, String> {
    let everything = ModelConfig {
        layout: layout(weights)?,
        repeats: vec![MOST_REPEATS; MOST_STAGES],
        squeeze_excitation: true,
        ..ModelConfig::default()
    };
    let table = Table {
        files: names(&everything)
            .into_iter()
            .map(|name| (name.path, name.file))
            .collect(),
        weights,
    };
    let [stem, input_channels] = table.sizes("stem.conv.weight")?;
    let classes = match weights.shape("fc.weight") {
        Some(_) => Some(table.sizes("classifier.weight")?[0]),
        None => None,
    };
    let widths = table.widths(everything.layout, stem)?;
    let mut config = ModelConfig {
        repeats: (0..table.stages())
            .map(|stage| table.units(stage))
            .collect(),
        input_channels: Some(input_channels),
        classes,
        squeeze_excitation: table
            .find("stages.0.downsample.right.squeeze_excitation.excite.weight")
            .is_ok(),
        ..everything
    };
    match Scale::ALL
        .into_iter()
        .find(|scale| scale.widths() == widths)
    {
        Some(scale) => config.scale = scale,
        None => config.widths = Some(widths),
    }
    config.split_ratio = table.split_ratio(&config)?;
    check_size(&config, weights.bytes)?;
    Ok(config)
}

/// The layout that the names belong to.
fn layout(weights: &StateDict) -> Result<Layout, String> {
    let has = |name: &str| weights.shape(name).is_some();
    match (has("conv1.0.weight"), has("conv1.weight")) {
        (true, _) => Ok(Layout::Standard),
        (false, true) if has("conv_last.weight") => Ok(Layout::Seed),
        _ => {
            let first: Vec<&str> = weights.names().take(3).collect();
            Err(format!(
                "found {} ({}...), expected torchvision's names (conv1.0.weight, stage2..., fc), \
                 the seed layout's (conv1.weight, shuffles..., conv_last, fc) or Megvii's (first_conv, \
                 features..., conv_last)",
                counted(weights.len(), "tensor", "tensors"),
                first.join(", ")
            ))
        }
    }
}

/// Refuses a network that cannot be built, or that is much larger than its file of `bytes` bytes. A few large tensors of a
/// hostile file can imply many others, and that network must not be allocated.
fn check_size(config: &ModelConfig, bytes: usize) -> Result<(), String> {
    let plans = config.plan().map_err(|error| error.to_string())?;
    let unit = |channels: usize| channels.saturating_mul(channels).saturating_mul(2);
    let stages = plans.iter().map(|stage| {
        let units = stage.units.iter();
        let units = units.map(|plan| unit(plan.outputs - plan.left));
        units.fold(unit(stage.branch), usize::saturating_add)
    });
    let Widths {
        stem,
        last,
        stages: outputs,
    } = config.widths();
    let widest = outputs.last().copied().unwrap_or(stem);
    let others = [
        last.saturating_mul(config.classes()),
        last.saturating_mul(widest),
        stem.saturating_mul(9 * config.input_channels()),
    ];
    let implied = stages.chain(others).fold(0, usize::saturating_add);
    if implied / 2 > bytes + SLACK {
        return Err(format!(
            "a {config} has more than {implied} weights, and the file {bytes} bytes"
        ));
    }
    Ok(())
}

/// Networks up to this size are built whatever the file holds.
const SLACK: usize = 10_000_000;

/// The shapes of a file's tensors, by our paths.
struct Table<'a> {
    files: HashMap<String, String>,
    weights: &'a StateDict,
}

impl Table<'_> {
    fn find<'a>(&'a self, path: &'a str) -> Result<(&'a str, &'a [usize]), String> {
        let file = self.files.get(path).map_or(path, String::as_str);
        if let Some(kind) = self.weights.foreign_type(file) {
            let expected = "float32, float16, bfloat16 or float64";
            let message = format!("{file} is of type {kind}, expected {expected}");
            return Err(message);
        }
        let shape = self.weights.shape(file);
        let shape = shape.ok_or_else(|| format!("{file} is missing"))?;
        Ok((file, shape))
    }

    /// The first two dimensions of the tensor at `path`.
    fn sizes(&self, path: &str) -> Result<[usize; 2], String> {
        match self.find(path)? {
            (_, &[first, second, ..]) => Ok([first, second]),
            (file, shape) => Err(format!("{file} is {shape:?}, expected two sizes or more")),
        }
    }

    /// Number of stages, at least three. Fewer are not inferred, so that the missing stage of a published network is named.
    fn stages(&self) -> usize {
        let has = |stage: &usize| self.find(&downsample(*stage)).is_ok();
        (0..MOST_STAGES).take_while(has).count().max(3)
    }

    /// Number of stride-1 units of a stage.
    fn units(&self, stage: usize) -> usize {
        let has = |unit: &usize| self.find(&first_convolution(stage, *unit)).is_ok();
        (0..MOST_REPEATS).take_while(has).count()
    }

    /// Widths of stem, stages and last convolution. A stage is as wide as the next stage's input.
    fn widths(&self, layout: Layout, stem: usize) -> Result<Widths, String> {
        let stages = self.stages();
        let is_whole = layout == Layout::Seed || self.weights.shape("conv5.0.weight").is_some();
        let last = match is_whole {
            true => Some(self.sizes("last.conv.weight")?),
            false => None,
        };
        let before_last = match last {
            Some([_, inputs]) => inputs,
            // Both branches of a downsampling unit are equally wide.
            None => {
                let [branch, _] = self.sizes(&last_convolution(stages - 1))?;
                branch.saturating_mul(2)
            }
        };
        let mut outputs = Vec::with_capacity(stages);
        for stage in 1..stages {
            let [channels, _] = self.sizes(&downsample(stage))?;
            outputs.push(channels);
        }
        outputs.push(before_last);
        let published = || {
            let same = |row: &Widths| row.stem == stem && row.stages == outputs;
            let row = Scale::ALL.into_iter().map(Scale::widths).find(same);
            row.unwrap_or_else(|| Scale::One.widths()).last
        };
        Ok(Widths {
            stem,
            last: last.map_or_else(published, |[last, _]| last),
            stages: outputs,
        })
    }

    /// The split ratio of all units: one half, that of the last unit, or else the ratio with the fewest decimals.
    fn split_ratio(&self, config: &ModelConfig) -> Result<f64, String> {
        let Widths { stem, stages, .. } = config.widths();
        let mut inputs_before = stem;
        let mut splits = Vec::new();
        for (stage, outputs) in stages.into_iter().enumerate() {
            for unit in 0..config.repeats[stage] {
                let inputs = match (config.layout, unit) {
                    (Layout::Seed, 0) => 2 * inputs_before,
                    _ => outputs,
                };
                let [_, right] = self.sizes(&first_convolution(stage, unit))?;
                splits.push([inputs.saturating_sub(right), inputs]);
            }
            inputs_before = outputs;
        }
        let of_last = splits
            .last()
            .map(|&[left, inputs]| left as f64 / inputs as f64);
        let simple = [Some(config.split_ratio), of_last].into_iter().flatten();
        let fits = |ratio: &f64| splits_all(*ratio, &splits);
        let ratio = simple
            .into_iter()
            .find(fits)
            .or_else(|| shortest_ratio(&splits));
        ratio.ok_or_else(|| {
            format!(
                "the units split {splits:?} (left, all inputs), which no model.split_ratio does"
            )
        })
    }
}

/// Whether `ratio` of each unit's inputs is its left half, in `splits` as (left, inputs). The rounding is that of the
/// network's plan.
fn splits_all(ratio: f64, splits: &[[usize; 2]]) -> bool {
    let is_split = |&[left, inputs]: &[usize; 2]| split_channels(ratio, inputs) == left;
    splits.iter().all(is_split)
}

/// The ratio with the fewest decimals that gives all `splits`.
fn shortest_ratio(splits: &[[usize; 2]]) -> Option<f64> {
    let bound = |shift: f64| {
        splits
            .iter()
            .map(move |&[left, inputs]| (left as f64 + shift) / inputs.max(1) as f64)
    };
    let low = bound(-0.5).fold(0.0, f64::max);
    let high = bound(0.5).fold(1.0, f64::min);
    (1..=15).find_map(|decimals| {
        let scale = 10f64.powi(decimals);
        let (first, last) = ((low * scale).floor() as u64, (high * scale).ceil() as u64);
        // Where the range is wider than this, fewer decimals give a ratio.
        let mut candidates = (first..=last.min(first + 20)).map(|number| number as f64 / scale);
        candidates.find(|&ratio| splits_all(ratio, splits))
    })
}

fn downsample(stage: usize) -> String {
    format!("stages.{stage}.downsample.left_depthwise.conv.weight")
}

fn last_convolution(stage: usize) -> String {
    format!("stages.{stage}.downsample.right.pointwise2.conv.weight")
}

fn first_convolution(stage: usize, unit: usize) -> String {
    format!("stages.{stage}.units.{unit}.right.pointwise1.conv.weight")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every ratio of two decimals is inferred from the widths of every published network, or one that splits alike.
    #[test]
    fn the_inferred_ratio_splits_all_units_as_the_networks_own_does() {
        for widths in Scale::ALL.map(Scale::widths) {
            for hundredths in 1..100 {
                let own = f64::from(hundredths) / 100.0;
                let split = |&inputs: &usize| [split_channels(own, inputs), inputs];
                let splits: Vec<[usize; 2]> = widths.stages.iter().map(split).collect();
                let found = shortest_ratio(&splits);
                assert!(
                    found.is_some_and(|found| splits_all(found, &splits)),
                    "{own}: {found:?}"
                );
            }
        }
        assert_eq!(
            shortest_ratio(&[[41, 116], [81, 232], [162, 464]]),
            Some(0.35)
        );
        assert_eq!(shortest_ratio(&[[10, 100], [90, 100]]), None);
    }
}
