//! `shufflenet eval`: prints an evaluation.

use std::process::ExitCode;

use shufflenet_train::Precision;
use shufflenet_train::display::words::{counted, describe};
use shufflenet_train::evaluation::measures::Class;
use shufflenet_train::evaluation::outcomes;
use shufflenet_train::evaluation::{EvaluationReport, EvaluationRequest, evaluate};
use shufflenet_train::files::require_new_file;

use crate::arguments::Eval;
use crate::process::print;

/// Largest number of classes that are all listed. Of more classes only those with the worst figures are listed.
const MOST_LISTED: usize = 20;

pub fn run(arguments: &Eval) -> anyhow::Result<ExitCode> {
    arguments.compute.use_threads();
    if let Some(file) = &arguments.predictions {
        require_new_file(file, "--predictions")?;
    }
    let evaluated = evaluate(&EvaluationRequest {
        checkpoint: arguments.checkpoint.clone(),
        weights: arguments.weights.chosen(),
        data: arguments.data.clone(),
        split: arguments.split.clone(),
        unknown: arguments.classes.unknown(),
        order: arguments.class_order.map(Into::into),
        flip: arguments.tta,
        device: arguments.compute.device.clone(),
        precision: arguments.stored.or_f32(),
    })?;
    let report = &evaluated.report;
    let code = print(&match arguments.json {
        true => format!("{}\n", serde_json::to_string(report)?),
        false => in_words(report),
    })?;
    // The figures are printed even if the disk is full.
    if let Some(file) = &arguments.predictions {
        outcomes::write(file, &evaluated)?;
    }
    Ok(code)
}

fn in_words(report: &EvaluationReport) -> String {
    let measures = &report.measures;
    let [low, high] = measures.top1_interval.map(|share| share * 100.0);
    let caveat = match report.chosen_by_this_split {
        true => "\n(best was chosen by this split)",
        false => "",
    };
    let mirrored = match report.tta {
        true => ", mirror images averaged",
        false => "",
    };
    let stored = match report.precision {
        Precision::Bf16 => ", activations in bf16",
        Precision::F32 => "",
    };
    let notes: String = report
        .notes
        .iter()
        .map(|note| format!("note: {note}\n"))
        .collect();
    let mut text = format!(
        "{}, step {}\n{notes}{}: {} on {}{mirrored}, {:.0} images/s on {}{stored}{caveat}\n\
         top-1 between {low:.2} and {high:.2} % (95 %, Wilson), macro F1 {:.2} %, calibration error {:.2} %\n",
        report.checkpoint.join(report.weights).display(),
        report.step,
        report.split,
        describe(&report.metrics),
        counted(report.metrics.count as usize, "record"),
        report.img_per_s,
        report.device,
        measures.macro_f1 * 100.0,
        measures.calibration_error * 100.0,
    );
    let mut classes: Vec<&Class> = measures.classes.iter().collect();
    if classes.len() > MOST_LISTED {
        classes.retain(|class| class.count > 0);
        let f1 = |class: &Class| class.f1.unwrap_or(0.0);
        classes.sort_by(|a, b| f1(a).total_cmp(&f1(b)));
        classes.truncate(MOST_LISTED);
        text += &format!("the {} classes of lowest F1:\n", classes.len());
    }
    text += "  precision  recall     F1   records  class\n";
    for class in classes {
        let [precision, recall, f1] = [class.precision, class.recall, class.f1].map(percent);
        let (count, name) = (class.count, &class.name);
        text += &format!("  {precision:>9}  {recall:>6}  {f1:>5}  {count:>8}  {name}\n");
    }
    text
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1}", share * 100.0))
}
