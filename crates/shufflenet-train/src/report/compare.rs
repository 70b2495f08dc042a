//! The page that compares several runs.

use std::collections::BTreeMap;

use toml::Table;

use super::history::{History, HistoryLine};
use super::{Part, page as whole, percent, table};
use crate::display::html::escape;
use crate::display::svg::{Chart, Series};
use crate::display::words::thousands;
use crate::experiment::compare::flatten_table;

pub(super) fn page(parts: &[Part]) -> String {
    let names: Vec<&str> = parts
        .iter()
        .map(|part| part.history.name.as_str())
        .collect();
    let title = names.join(", ");
    let mut body = format!("<h1>{}</h1>\n", escape(&title));
    for part in parts {
        if let Err(error) = &part.evaluated {
            body += &format!(
                "<p class=\"note\">{} was not evaluated: {}</p>\n",
                escape(&part.history.name),
                escape(&error.to_string())
            );
        }
    }
    body += "<h2>Results</h2>\n";
    body += &results(parts);
    body += "<h2>Training</h2>\n<div class=\"figures\">\n";
    body += &curves(parts, "Loss, evaluated", false, |line| line.loss);
    body += &curves(parts, "Top-1, evaluated", true, |line| line.top1);
    let rates = parts.iter().enumerate().map(|(colour, part)| Series {
        name: part.history.name.clone(),
        colour,
        dashed: false,
        points: part.history.rates(),
        band: Vec::new(),
    });
    body += &Chart {
        title: "Schedule",
        x: "step",
        percent: false,
        series: rates.collect(),
    }
    .figure();
    body += "</div>\n<h2>What differs in the configuration</h2>\n";
    let histories: Vec<&History> = parts.iter().map(|part| &part.history).collect();
    body += &differences(&histories);
    whole(&title, &body)
}

/// One row per run. Runs whose intervals overlap may not differ.
fn results(parts: &[Part]) -> String {
    let head = [
        "run",
        "top-1",
        "95 % interval",
        "loss",
        "macro F1",
        "calibration error",
        "records",
        "parameters",
        "images/s",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    for part in parts {
        let mut row = vec![part.history.name.clone()];
        match &part.evaluated {
            Ok(evaluated) => {
                let report = &evaluated.report;
                let (metrics, measures) = (&report.metrics, &report.measures);
                let [low, high] = measures.top1_interval.map(|share| percent(share, 2));
                row.extend([
                    percent(metrics.top1, 2),
                    format!("{low} to {high}"),
                    format!("{:.4}", metrics.loss),
                    percent(measures.macro_f1, 2),
                    percent(measures.calibration_error, 2),
                    format!("{} {}", thousands(metrics.count as usize), report.split),
                    thousands(report.parameters),
                ]);
            }
            Err(_) => row.extend(std::iter::repeat_n("-".to_string(), head.len() - 2)),
        }
        let speed = part.history.speed();
        row.push(speed.map_or("-".into(), |speed| format!("{speed:.0}")));
        rows.push(row);
    }
    table(&rows)
}

fn curves(
    parts: &[Part],
    title: &str,
    percent: bool,
    value: fn(&HistoryLine) -> Option<f64>,
) -> String {
    let series = parts.iter().enumerate().map(|(colour, part)| Series {
        name: format!("{}, {}", part.history.name, part.history.evaluated()),
        colour,
        dashed: false,
        points: part.history.curve(false, value),
        band: Vec::new(),
    });
    Chart {
        title,
        x: "epoch",
        percent,
        series: series.collect(),
    }
    .figure()
}

/// The keys whose values differ between the runs.
pub(super) fn differences(histories: &[&History]) -> String {
    let configs: Vec<BTreeMap<String, String>> = histories
        .iter()
        .map(|history| {
            let table: Table = history.config.parse().unwrap_or_default();
            let keys = flatten_table(&table).into_iter();
            keys.map(|(key, value)| (key, value.trim_matches('"').into()))
                .collect()
        })
        .collect();
    let mut keys: Vec<&String> = configs.iter().flat_map(BTreeMap::keys).collect();
    keys.sort();
    keys.dedup();
    let runs = histories.iter().map(|history| history.name.clone());
    let mut rows: Vec<Vec<String>> = vec![std::iter::once("key".into()).chain(runs).collect()];
    for key in keys {
        let values: Vec<String> = configs
            .iter()
            .map(|config| config.get(key).cloned().unwrap_or("-".into()))
            .collect();
        if values.windows(2).any(|pair| pair.first() != pair.last()) {
            rows.push([vec![key.clone()], values].concat());
        }
    }
    match rows.len() {
        1 => "<p>Nothing.</p>\n".into(),
        _ => table(&rows),
    }
}
