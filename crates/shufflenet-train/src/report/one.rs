//! The page of one run.

use super::history::{History, HistoryLine};
use super::{Part, mistakes, page as whole, percent, table, tiles};
use crate::display::html::escape;
use crate::display::svg::{self, Chart, Series};
use crate::display::words::{counted, thousands};
use crate::evaluation::Evaluated;
use crate::evaluation::measures::Class;

/// Number of pairs of classes that are listed.
const MOST_CONFUSIONS: usize = 10;
/// Largest number of classes for which there is a matrix.
const MOST_IN_MATRIX: usize = 100;

pub(super) fn page(part: &Part) -> String {
    let history = &part.history;
    let mut body = format!("<h1>{}</h1>\n", escape(&history.name));
    if let Some(distill) = history.distill() {
        let paths = distill.from.0.iter().map(|path| path.display().to_string());
        let teachers = paths.collect::<Vec<_>>().join(", ");
        body += &format!("<p>Taught by {}: {distill}.</p>\n", escape(&teachers));
    }
    match &part.evaluated {
        Ok(evaluated) => body += &headline(evaluated),
        Err(error) => {
            body += &format!(
                "<p class=\"note\">The best checkpoint was not evaluated: {}</p>\n",
                escape(&error.to_string())
            );
        }
    }
    body += &training(history);
    if let Ok(evaluated) = &part.evaluated {
        body += &quality(evaluated);
        body += &mistakes::section(evaluated);
    }
    body += &format!(
        "<h2>Configuration</h2>\n<pre>{}</pre>\n",
        escape(history.config.trim())
    );
    body += "<h2>Environment</h2>\n";
    let rows = history
        .environment
        .iter()
        .map(|(key, value)| vec![key.clone(), value.clone()]);
    let head = std::iter::once(vec!["at the last start".to_string(), String::new()]);
    body +=
        &table(&head.chain(rows).collect::<Vec<_>>()).replace("<table>", "<table class=\"text\">");
    whole(&history.name, &body)
}

/// The most important figures.
fn headline(evaluated: &Evaluated) -> String {
    let report = &evaluated.report;
    let (metrics, measures) = (&report.metrics, &report.measures);
    let [low, high] = measures.top1_interval.map(|share| percent(share, 1));
    let shown = [
        (
            percent(metrics.top1, 2),
            format!("top-1, {low} to {high} (95 %)"),
        ),
        (percent(metrics.top5, 2), "top-5".into()),
        (format!("{:.4}", metrics.loss), "loss".into()),
        (percent(measures.macro_f1, 2), "macro F1".into()),
        (
            percent(measures.calibration_error, 2),
            "calibration error".into(),
        ),
        (thousands(report.parameters), "parameters".into()),
    ];
    let caveat = if report.chosen_by_this_split {
        "<p class=\"note\">The best epoch was chosen on this same set, which makes the figures optimistic.</p>\n"
    } else {
        ""
    };
    let note = |note: &String| format!("<p class=\"note\">{}</p>\n", escape(note));
    let notes: String = report.notes.iter().map(note).collect();
    let part = match report.split.as_str() {
        "all" => String::new(),
        split => format!("{} ", escape(split)),
    };
    format!(
        "<p>{} of {} after {}, on {}.</p>\n{caveat}{notes}{}",
        escape(report.weights),
        escape(&report.checkpoint.display().to_string()),
        counted(report.step, "step"),
        counted(metrics.count as usize, &format!("{part}record")),
        tiles(&shown)
    )
}

fn training(history: &History) -> String {
    let evaluated = history.evaluated();
    let curves = |title, value: fn(&HistoryLine) -> Option<f64>, percent| {
        let series = |(name, training, colour): (&str, bool, usize)| Series {
            name: name.into(),
            colour,
            dashed: training,
            points: history.curve(training, value),
            band: Vec::new(),
        };
        let series = [("train", true, 1), (evaluated, false, 0)].map(series);
        let (x, series) = ("epoch", series.into());
        Chart {
            title,
            x,
            percent,
            series,
        }
        .figure()
    };
    let rate = Series {
        name: "learning rate".into(),
        colour: 2,
        dashed: false,
        points: history.rates(),
        band: Vec::new(),
    };
    let schedule = Chart {
        title: "Schedule",
        x: "step",
        percent: false,
        series: vec![rate],
    };
    let pace = Series {
        name: "training".into(),
        colour: 3,
        dashed: false,
        points: history.pace(),
        band: Vec::new(),
    };
    let pace = Chart {
        title: "Images per second",
        x: "epoch",
        percent: false,
        series: vec![pace],
    };
    let mut speed = history.speed().map_or(String::new(), |speed| {
        format!("<p class=\"soft\">{speed:.0} images/s in the median epoch.</p>\n")
    });
    if let Some(slowdown) = history.slowdown() {
        speed += &format!("<p class=\"note\">The run slowed down: {slowdown}.</p>\n");
    }
    format!(
        "<h2>Training</h2>\n{speed}<div class=\"figures\">\n{}{}{}{}</div>\n",
        curves("Loss", |line| line.loss, false),
        curves("Top-1", |line| line.top1, true),
        schedule.figure(),
        pace.figure()
    )
}

fn quality(evaluated: &Evaluated) -> String {
    let measures = &evaluated.report.measures;
    let names: Vec<&str> = measures
        .classes
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    let mut figures = svg::calibration(&measures.calibration);
    if names.len() <= MOST_IN_MATRIX {
        figures = svg::confusion(&measures.confusion, &names) + &figures;
    }
    let misses = measures
        .pairs
        .iter()
        .filter(|((label, other), _)| label != other);
    let mut pairs: Vec<(u64, usize, usize)> = misses
        .map(|(&(label, other), &count)| (count, label, other))
        .collect();
    pairs.sort_by_key(|&(count, ..)| std::cmp::Reverse(count));
    pairs.truncate(MOST_CONFUSIONS);
    let name = |class: usize| names.get(class).map_or("?", |name| name).to_string();
    let mut confusions = vec![vec![
        "taken for another".to_string(),
        "taken for".into(),
        "records".into(),
    ]];
    confusions.extend(
        pairs
            .iter()
            .map(|&(count, label, other)| vec![name(label), name(other), count.to_string()]),
    );
    format!(
        "<h2>Classes</h2>\n<div class=\"figures\">\n{figures}</div>\n{}<h2>Most frequent confusions</h2>\n{}",
        classes(&measures.classes),
        table(&confusions)
    )
}

/// One row per class.
fn classes(classes: &[Class]) -> String {
    let share = |share: Option<f64>| share.map_or("-".into(), |share| percent(share, 1));
    let row = |class: &Class| {
        vec![
            class.name.clone(),
            share(class.precision),
            share(class.recall),
            share(class.f1),
            class.count.to_string(),
        ]
    };
    let head = ["class", "precision", "recall", "F1", "records"]
        .map(String::from)
        .to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(classes.iter().map(row))
        .collect();
    table(&rows)
}
