//! Checks that a device computes correctly, by a few training steps on the device and on the CPU.
//!
//! A driver can run every kernel, report no error and still compute wrong values (`docs/gpu.md` has an example). A run
//! would train for hours on them. So a run on a GPU first trains a small network there and on the CPU, from the same
//! weights on the same images, and compares the changes of the weights. The check finds only large errors, because two
//! devices round float32 differently and tensor cores round more. In the tests of the GPU path the tolerance is 1e-4.

use std::fmt;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use safetensors::SafeTensors;
use shufflenet_data::{Batch, ImageShape};
use shufflenet_model::{ModelConfig, Stem, to_safetensors};

use crate::error::{DEVICE_TOLERANCE, TrainError};
use crate::recipe::optimizer::OptimizerConfig;
use crate::step::learner::Learner;

const STEPS: usize = 2;
const IMAGES: usize = 8;
const SIZE: usize = 16;

/// Result of a device that passed.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// Larger of the relative differences of weights and of running statistics.
    pub error: f64,
    /// Duration of the check.
    pub time: Duration,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (error, seconds) = (self.error, self.time.as_secs_f64());
        write!(
            f,
            "{STEPS} steps of a small network moved its weights as on the CPU, to {error:.0e} ({seconds:.1} s)"
        )
    }
}

/// Takes the steps on `device`, which messages call `name`, and on the CPU.
///
/// # Errors
/// [`TrainError::WrongDevice`] if they differ; [`TrainError::Device`].
pub fn check(device: &Device, name: &str) -> Result<Passed, TrainError> {
    let start = Instant::now();
    let expected = movement(&Device::flex())?;
    let found = movement(device)?;
    let mut error = 0.0;
    for (found, expected) in found.iter().zip(&expected) {
        let difference = distance(found, expected);
        if difference.is_nan() || difference > DEVICE_TOLERANCE {
            return Err(TrainError::WrongDevice {
                device: name.into(),
                error: difference,
            });
        }
        error = difference.max(error);
    }
    Ok(Passed {
        error,
        time: start.elapsed(),
    })
}

/// The change of the weights and of the running statistics by the steps.
fn movement(device: &Device) -> Result<[Vec<f32>; 2], TrainError> {
    let model = ModelConfig {
        stem: Some(Stem::Cifar),
        widths: Some([8, 16, 24, 32, 48].into()),
        repeats: vec![1, 1, 1],
        ..ModelConfig::default()
    };
    let mut learner = Learner::fresh(&model, OptimizerConfig::default(), 1, device)?;
    let before = tensors(&learner)?;
    let mut steps = || {
        for step in 0..STEPS {
            learner.step([Ok(images(step, model.classes()).into())], 0.05)?;
        }
        learner.settle()
    };
    match steps() {
        Err(TrainError::Diverged(_)) => return Ok([vec![f32::NAN], vec![f32::NAN]]),
        steps => steps?,
    };
    let after = tensors(&learner)?;
    let moved = |(before, after): (&Vec<f32>, &Vec<f32>)| -> Vec<f32> {
        after.iter().zip(before).map(|(a, b)| a - b).collect()
    };
    let [weights, statistics] = [0, 1].map(|part| moved((&before[part], &after[part])));
    Ok([weights, statistics])
}

/// Weights, and running statistics, each as one vector.
fn tensors(learner: &Learner) -> Result<[Vec<f32>; 2], TrainError> {
    let encode = |message: String| TrainError::Encode {
        what: "the self-check's weights",
        message,
    };
    let file = to_safetensors(&learner.classifier.network).map_err(|e| encode(e.to_string()))?;
    let file = SafeTensors::deserialize(&file).map_err(|e| encode(e.to_string()))?;
    let mut parts = [Vec::new(), Vec::new()];
    let [weights, statistics] = &mut parts;
    // The index of a file is a hash map, so its order differs between two readings.
    let mut views: Vec<_> = file.iter().collect();
    views.sort_unstable_by_key(|(name, _)| *name);
    for (name, view) in views {
        let (values, _) = view.data().as_chunks::<4>();
        let part = match name.contains("running_") {
            true => &mut *statistics,
            false => &mut *weights,
        };
        part.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
    Ok(parts)
}

/// Noise with labels, different for each step.
fn images(step: usize, classes: usize) -> Batch {
    let shape = ImageShape {
        channels: 3,
        height: SIZE,
        width: SIZE,
    };
    Batch::noise((step << 20) as u32, IMAGES, shape, classes)
}

/// `|a - b| / |b|`
fn distance(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::NAN;
    }
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    difference / norm(&mut b.iter().map(|b| f64::from(*b)))
}
