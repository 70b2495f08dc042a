//! `shufflenet predict`: prints predictions.

use std::io::{Write, stderr};
use std::process::ExitCode;

use shufflenet_train::evaluation::predict::{Prediction, PredictionRequest, Ranked, predict};
use shufflenet_train::files::csv_row;

use crate::arguments::Predict;
use crate::process::{print, print_unless_closed};

pub fn run(arguments: &Predict) -> anyhow::Result<ExitCode> {
    arguments.compute.use_threads();
    let request = PredictionRequest {
        checkpoint: arguments.checkpoint.clone(),
        weights: arguments.weights.chosen(),
        images: arguments.images.clone(),
        top: usize::from(arguments.top),
        batch: usize::from(arguments.batch),
        logits: arguments.logits,
        device: arguments.compute.device.clone(),
        precision: arguments.stored.or_f32(),
    };
    if arguments.csv {
        print(&csv_row(["path", "rank", "class", "name", "probability"]))?;
    }
    let mut printed = Ok(true);
    let bad = predict(&request, &mut |prediction| {
        if let Some(error) = &prediction.error {
            let _ = writeln!(stderr(), "{}: {error}", prediction.path);
        }
        let text = match (arguments.json, arguments.csv) {
            (true, _) => json(prediction),
            (_, true) => csv(prediction),
            _ => line(prediction),
        };
        printed = print_unless_closed(&text);
        matches!(printed, Ok(true))
    })?;
    printed?;
    Ok(ExitCode::from(u8::from(bad > 0)))
}

fn json(prediction: &Prediction) -> String {
    // A prediction consists of text and numbers, so it can always be written as JSON.
    serde_json::to_string(prediction).unwrap_or_default() + "\n"
}

fn csv(prediction: &Prediction) -> String {
    let row = |(rank, ranked): (usize, &Ranked)| {
        csv_row([
            prediction.path.clone(),
            (rank + 1).to_string(),
            ranked.class.to_string(),
            ranked.name.clone(),
            format!("{:.6}", ranked.probability),
        ])
    };
    prediction.top.iter().enumerate().map(row).collect()
}

/// A line of text, or nothing for a bad image, which is reported on standard error.
fn line(prediction: &Prediction) -> String {
    if prediction.error.is_some() {
        return String::new();
    }
    let class = |ranked: &Ranked| format!("{} {:.1} %", ranked.name, ranked.probability * 100.0);
    let classes: Vec<String> = prediction.top.iter().map(class).collect();
    format!("{}: {}\n", prediction.path, classes.join(", "))
}
