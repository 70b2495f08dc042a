//! Runs every `NAME.onnx` of a folder in tract and compares its logits with those in `NAME.safetensors`, which
//! the example `onnx_cases` of `shufflenet-model` computed with the network itself.
//!
//! `onnx-check DIR`: a line per network, exit code 1 where one is off by more than the tolerance.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use safetensors::SafeTensors;
use tract_onnx::prelude::*;

/// Of the largest logit.
const TOLERANCE: f32 = 1e-5;

fn main() -> anyhow::Result<ExitCode> {
    let folder = std::env::args_os().nth(1).context("usage: onnx-check DIR")?;
    let mut models: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    models.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    models.sort();
    ensure!(!models.is_empty(), "no .onnx in {}", Path::new(&folder).display());
    let mut worst = 0.0f32;
    for path in models {
        let error = check(&path).with_context(|| path.display().to_string())?;
        println!("{:<40} {error:.1e}", path.file_stem().unwrap_or_default().display());
        worst = worst.max(error);
    }
    println!("worst {worst:.1e} of the largest logit, {TOLERANCE:.0e} is accepted");
    Ok(ExitCode::from(u8::from(!(worst <= TOLERANCE))))
}

/// The largest difference of a logit, as a fraction of the largest logit; of the whole batch at once and of
/// its first image alone, so that the batch is seen to be dynamic.
fn check(path: &Path) -> anyhow::Result<f32> {
    let model = tract_onnx::onnx().model_for_path(path)?;
    let bytes = std::fs::read(path.with_extension("safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let (shape, images) = tensor(&file, "images")?;
    let (_, logits) = tensor(&file, "logits")?;
    let mut worst = 0.0f32;
    for count in [shape[0], 1] {
        let part = [&[count], &shape[1..]].concat();
        let values = &images[..part.iter().product()];
        // A graph for images of any size is made ready for those that come; others for any batch.
        let mut model = model.clone();
        if path.to_string_lossy().ends_with("-dynamic.onnx") {
            model.set_input_fact(0, f32::fact(&part).into())?;
        }
        let model = model.into_typed()?.into_runnable()?;
        let answer = model.run(tvec!(Tensor::from_shape(&part, values)?.into()))?;
        let found = answer[0].view();
        let found = found.as_slice::<f32>()?;
        let expected = &logits[..found.len()];
        ensure!(found.len() * shape[0] == logits.len() * count, "{} logits", found.len());
        ensure!(found.iter().all(|z| z.is_finite()), "a logit is infinite or NaN");
        let largest = expected.iter().fold(0.0f32, |most, z| most.max(z.abs()));
        let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        worst = worst.max(off.fold(0.0f32, f32::max) / largest);
    }
    Ok(worst)
}

fn tensor(file: &SafeTensors, name: &str) -> anyhow::Result<(Vec<usize>, Vec<f32>)> {
    let view = file.tensor(name)?;
    let values = view.data().chunks_exact(4);
    let values = values.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    Ok((view.shape().to_vec(), values.collect()))
}
