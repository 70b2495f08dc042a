//! The page of several runs that differ only in their seed: the figures of each, their mean and standard deviation, and
//! curves of the mean with a band from the lowest to the highest.

use super::compare::differences;
use super::history::{History, HistoryLine};
use super::{Part, page as whole, table, tiles};
use crate::display::html::escape;
use crate::display::svg::{Chart, Series};
use crate::display::words::{counted, thousands};
use crate::evaluation::EvaluationReport;
use crate::run::seeds::{Measured, Spread, other_lengths};

/// The finished run of a seed.
pub(super) struct Member {
    pub seed: u64,
    pub part: Part,
    /// The run's own measurement at its end.
    pub measured: Option<Measured>,
}

impl Member {
    /// The evaluation of its best checkpoint.
    fn report(&self) -> Option<&EvaluationReport> {
        let evaluated = self.part.evaluated.as_ref().ok()?;
        Some(&evaluated.report)
    }
}

/// Name of the figure that does not measure the network.
const SPEED: &str = "images/s";

/// A figure of each run.
struct Figure {
    name: &'static str,
    /// Factor, decimals and unit for printing the values.
    words: (f64, usize, &'static str),
    values: Vec<Option<f64>>,
}

impl Figure {
    fn of(
        members: &[Member],
        name: &'static str,
        words: (f64, usize, &'static str),
        value: impl Fn(&Member) -> Option<f64>,
    ) -> Self {
        let values = members.iter().map(value).collect();
        Self {
            name,
            words,
            values,
        }
    }

    fn in_words(&self, value: Option<f64>) -> String {
        let (factor, decimals, unit) = self.words;
        value.map_or("-".into(), |value| {
            format!("{:.decimals$}{unit}", value * factor)
        })
    }

    /// Mean and deviation, if every run has the figure.
    fn spread(&self) -> String {
        let (factor, decimals, unit) = self.words;
        let values: Option<Vec<f64>> = self.values.iter().copied().collect();
        let spread = values.as_deref().and_then(Spread::of);
        spread.map_or("-".into(), |spread| {
            format!("{}{unit}", spread.in_words(factor, decimals))
        })
    }
}

/// The page called `title`. `unfinished` are the seeds that are left out.
pub(super) fn page(title: &str, members: &[Member], unfinished: &[u64]) -> String {
    let count = counted(members.len(), "seed");
    let mut body = format!("<h1>{}, {count}</h1>\n", escape(title));
    let figures = figures(members);
    let is_evaluated = members.iter().all(|member| member.report().is_some());
    body += &format!(
        "<p>Mean ± standard deviation (n - 1) of the best checkpoints of {count}{}.</p>\n",
        match (is_evaluated, split(members)) {
            (true, split) => format!(", evaluated on {}", escape(&split)),
            (false, split) => format!(", as the runs measured them on {}", escape(&split)),
        }
    );
    body += &notes(members, unfinished);
    body += &headline(members, &figures);
    body += "<h2>Seeds</h2>\n";
    body += &rows(members, &figures);
    body += &training(members);
    let histories: Vec<&History> = members.iter().map(|member| &member.part.history).collect();
    body += "<h2>What differs in the configuration</h2>\n";
    body += &differences(&histories);
    if let Some(first) = histories.first() {
        body += &format!(
            "<h2>Configuration of {}</h2>\n<pre>{}</pre>\n",
            escape(&first.name),
            escape(first.config.trim())
        );
    }
    whole(title, &body)
}

/// The figures of the evaluations if every run was evaluated, else those that the runs measured.
fn figures(members: &[Member]) -> Vec<Figure> {
    let is_evaluated = members.iter().all(|member| member.report().is_some());
    let (share, plain) = ((100.0, 2, " %"), (1.0, 4, ""));
    let mut figures = vec![
        Figure::of(members, "top-1", share, |member| match is_evaluated {
            true => member.report().map(|report| report.metrics.top1),
            false => member.measured.as_ref().map(|run| run.top1),
        }),
        Figure::of(members, "loss", plain, |member| match is_evaluated {
            true => member.report().map(|report| report.metrics.loss),
            false => member.measured.as_ref().map(|run| run.loss),
        }),
    ];
    if is_evaluated {
        figures.push(Figure::of(members, "macro F1", share, |member| {
            member.report().map(|report| report.measures.macro_f1)
        }));
        figures.push(Figure::of(members, "calibration error", share, |member| {
            member
                .report()
                .map(|report| report.measures.calibration_error)
        }));
    }
    figures.push(Figure::of(members, "minutes", (1.0, 1, ""), |member| {
        member.measured.as_ref().map(|run| run.minutes)
    }));
    figures.push(Figure::of(members, SPEED, (1.0, 0, ""), |member| {
        member.part.history.speed()
    }));
    figures
}

/// The part of the data that the figures are of.
fn split(members: &[Member]) -> String {
    let report = members.first().and_then(Member::report);
    let measured = members.first().and_then(|member| member.measured.as_ref());
    match (report, measured) {
        (Some(report), _) => {
            let part = format!("{} record", report.split);
            counted(report.metrics.count as usize, &part)
        }
        (None, Some(measured)) => format!("the {} part", measured.split),
        (None, None) => "the data".into(),
    }
}

fn notes(members: &[Member], unfinished: &[u64]) -> String {
    let mut notes: Vec<String> = unfinished
        .iter()
        .map(|seed| format!("Seed {seed} is left out: its run is not finished."))
        .collect();
    let measured: Vec<&Measured> = members
        .iter()
        .filter_map(|member| member.measured.as_ref())
        .collect();
    if let Some(lengths) = other_lengths(&measured) {
        notes.push(format!(
            "The runs have {lengths}: their mean is not meaningful."
        ));
    }
    let mut reports = members.iter().filter_map(Member::report);
    if reports.any(|report| report.chosen_by_this_split) {
        notes.push(
            "The best epochs were chosen on this same set, which makes the figures optimistic."
                .into(),
        );
    }
    for member in members {
        if let Err(error) = &member.part.evaluated {
            notes.push(format!("Seed {} was not evaluated: {error}", member.seed));
        }
        if let Some(slowdown) = member.part.history.slowdown() {
            notes.push(format!(
                "The run of seed {} slowed down: {slowdown}.",
                member.seed
            ));
        }
    }
    let note = |note: &String| format!("<p class=\"note\">{}</p>\n", escape(note));
    notes.iter().map(note).collect()
}

/// The most important figures.
fn headline(members: &[Member], figures: &[Figure]) -> String {
    let of_network = figures.iter().filter(|figure| figure.name != SPEED);
    let mut shown: Vec<(String, String)> = of_network
        .map(|figure| (figure.spread(), figure.name.into()))
        .collect();
    if let Some(report) = members.first().and_then(Member::report) {
        let parameters = thousands(report.parameters);
        shown.push((parameters, "parameters".into()));
    }
    tiles(&shown)
}

/// A row for each seed, and one for all.
fn rows(members: &[Member], figures: &[Figure]) -> String {
    let row = |name: String, cell: &dyn Fn(&Figure) -> String| {
        let cells = figures.iter().map(cell);
        std::iter::once(name).chain(cells).collect::<Vec<String>>()
    };
    let mut rows = vec![row("seed".into(), &|figure| figure.name.into())];
    for (place, member) in members.iter().enumerate() {
        let value = |figure: &Figure| figure.values.get(place).copied().flatten();
        rows.push(row(member.seed.to_string(), &|figure| {
            figure.in_words(value(figure))
        }));
    }
    rows.push(row("mean ± deviation".into(), &Figure::spread));
    table(&rows)
}

fn training(members: &[Member]) -> String {
    let histories: Vec<&History> = members.iter().map(|member| &member.part.history).collect();
    let evaluated = histories.first().map_or("", |history| history.evaluated());
    let curves = |title, value: fn(&HistoryLine) -> Option<f64>, percent| {
        let train = |history: &History| history.curve(true, value);
        let of_split = |history: &History| history.curve(false, value);
        let series = vec![
            Series {
                dashed: true,
                ..mean("train", 1, &histories, train)
            },
            mean(evaluated, 0, &histories, of_split),
        ];
        figure(title, "epoch", percent, series)
    };
    let schedule = mean("learning rate", 2, &histories, History::rates);
    let pace = mean("training", 3, &histories, History::pace);
    format!(
        "<h2>Training</h2>\n<p class=\"soft\">Lines are means over the seeds, bands reach from the lowest to the highest. \
         A line ends where the shortest run ends.</p>\n<div class=\"figures\">\n{}{}{}{}</div>\n",
        curves("Loss", |line| line.loss, false),
        curves("Top-1", |line| line.top1, true),
        figure("Schedule", "step", false, vec![schedule]),
        figure("Images per second", "epoch", false, vec![pace]),
    )
}

fn figure(title: &str, x: &str, percent: bool, series: Vec<Series>) -> String {
    Chart {
        title,
        x,
        percent,
        series,
    }
    .figure()
}

/// The mean of the runs' curves and their band, at the places where every run has a point.
fn mean(
    name: &str,
    colour: usize,
    histories: &[&History],
    curve: impl Fn(&History) -> Vec<(f64, f64)>,
) -> Series {
    let curves: Vec<Vec<(f64, f64)>> = histories.iter().map(|history| curve(history)).collect();
    let mut series = Series {
        name: name.into(),
        colour,
        dashed: false,
        points: Vec::new(),
        band: Vec::new(),
    };
    for &(x, _) in curves.first().into_iter().flatten() {
        let at = |curve: &Vec<(f64, f64)>| curve.iter().find(|point| point.0 == x).map(|p| p.1);
        let values: Option<Vec<f64>> = curves.iter().map(at).collect();
        let Some(values) = values else { continue };
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = values.iter().sum();
        series.points.push((x, sum / values.len() as f64));
        series.band.push((x, [least, greatest]));
    }
    series
}
