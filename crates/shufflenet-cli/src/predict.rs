//! `shufflenet predict`: how its answers are put.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use shufflenet_train::outcomes_file::quoted;
use shufflenet_train::predict::{Prediction, Ranked, Request, predict};

use crate::arguments::Predict;
use crate::{print, use_threads};

pub fn run(arguments: &Predict) -> anyhow::Result<ExitCode> {
    use_threads(arguments.threads);
    let request = Request {
        checkpoint: arguments.checkpoint.clone(),
        weights: arguments.weights.map(Into::into),
        images: arguments.images.clone(),
        top: usize::from(arguments.top),
        batch: usize::from(arguments.batch),
        logits: arguments.logits,
        device: arguments.device.clone(),
    };
    if arguments.csv {
        print("path,rank,class,name,probability\n")?;
    }
    let bad = predict(&request, &mut |prediction| {
        if let Some(error) = &prediction.error {
            let _ = writeln!(stderr(), "{}: {error}", prediction.path);
        }
        let text = match (arguments.json, arguments.csv) {
            (true, _) => json(prediction),
            (_, true) => csv(prediction),
            _ => line(prediction),
        };
        // Nobody is left to read the rest where this fails.
        stdout().write_all(text.as_bytes()).is_ok()
    })?;
    Ok(ExitCode::from(u8::from(bad > 0)))
}

fn json(prediction: &Prediction) -> String {
    // A prediction is made of text and numbers: it is JSON.
    serde_json::to_string(prediction).unwrap_or_default() + "\n"
}

fn csv(prediction: &Prediction) -> String {
    let row = |(rank, ranked): (usize, &Ranked)| {
        let Ranked {
            class,
            name,
            probability,
        } = ranked;
        let (path, name) = (quoted(&prediction.path), quoted(name));
        format!("{path},{},{class},{name},{probability:.6}\n", rank + 1)
    };
    prediction.top.iter().enumerate().map(row).collect()
}

/// A line a person reads; of a bad image nothing, which was said on standard error.
fn line(prediction: &Prediction) -> String {
    if prediction.error.is_some() {
        return String::new();
    }
    let class = |ranked: &Ranked| format!("{} {:.1} %", ranked.name, ranked.probability * 100.0);
    let classes: Vec<String> = prediction.top.iter().map(class).collect();
    format!("{}: {}\n", prediction.path, classes.join(", "))
}
