//! Charts as SVG text: lines over axes, a calibration plot, a confusion matrix.
//!
//! A figure of a page takes colours and fonts from the page's style sheet (`report/style.css`), which has them light,
//! dark and printed. A picture in a file of its own carries a small style sheet.

use std::fmt::Write;

use crate::display::words::counted;
use crate::evaluation::measures::Bin;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// Style sheet of a picture in a file of its own.
const STYLE: &str = "text{font:12px sans-serif}.paper{fill:#fff}.grid{stroke:#ddd}.end{text-anchor:end}\
    .middle{text-anchor:middle}.line{fill:none;stroke-width:2;stroke:#1f6fb4}.line.c1{stroke:#b2382b}\
    .dashed{stroke-dasharray:5 4}.dot{fill:#1f6fb4}.dot.c1{fill:none}";

/// A named line. Lines of one run have one colour, and its second line is dashed.
pub(crate) struct Series {
    pub name: String,
    pub colour: usize,
    pub dashed: bool,
    pub points: Vec<(f64, f64)>,
    /// For a line of means, the least and the greatest of the values at each place. Empty: no band.
    pub band: Vec<(f64, [f64; 2])>,
}

/// Lines over a pair of axes, the legend below.
pub(crate) struct Chart<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub percent: bool,
    pub series: Vec<Series>,
}

/// Colours that the style sheet has; more lines begin anew.
const COLOURS: usize = 6;
/// Points that are marked and answer to the mouse; longer lines are lines alone.
const MOST_MARKED: usize = 60;

impl Chart<'_> {
    /// A figure of a page. Without points, an empty text.
    pub(crate) fn figure(&self) -> String {
        let Some(drawing) = self.drawing() else {
            return String::new();
        };
        let svg = open(WIDTH, HEIGHT, self.title) + &drawing;
        let legend: String = self.series.iter().map(legend).collect();
        format!(
            "<figure><h3>{}</h3>{svg}</svg><figcaption>{legend}</figcaption></figure>\n",
            escape(self.title)
        )
    }

    /// An SVG file.
    pub(crate) fn picture(&self) -> String {
        let drawing = self.drawing().unwrap_or_default();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{}\">\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
             {drawing}</svg>\n",
            escape(self.title)
        )
    }

    /// Axes and lines. `None`: there is no point.
    fn drawing(&self) -> Option<String> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let bands = || self.series.iter().flat_map(|series| &series.band);
        let edges = || bands().flat_map(|(x, [low, high])| [(*x, *low), (*x, *high)]);
        let all = || points().copied().chain(edges());
        let finite = || all().filter(|(x, y)| x.is_finite() && y.is_finite());
        finite().next()?;
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        // Epochs and steps are counted.
        let x = Axis::of_counts(range(&mut finite().map(|p| p.0)), LEFT, WIDTH - RIGHT);
        let y = Axis::new(range(&mut finite().map(|p| p.1)), HEIGHT - BOTTOM, TOP);
        let mut svg = String::new();
        axes(&mut svg, &x, &y, self.x, self.percent);
        for series in &self.series {
            band(&mut svg, series, &x, &y);
        }
        for series in &self.series {
            line(&mut svg, series, &x, &y, self.percent);
        }
        Some(svg)
    }
}

/// Text as HTML has it, in elements and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn legend(series: &Series) -> String {
    let dashed = if series.dashed { " dashed" } else { "" };
    format!(
        "<span class=\"key c{}{dashed}\">{}</span> ",
        series.colour % COLOURS,
        escape(&series.name)
    )
}

/// The band as an area: along its upper edge, and back along the lower one.
fn band(svg: &mut String, series: &Series, x: &Axis, y: &Axis) {
    let is_finite = |&&(a, [low, high]): &&(f64, [f64; 2])| {
        a.is_finite() && low.is_finite() && high.is_finite()
    };
    let edges = series.band.iter().filter(is_finite);
    let place = |a: f64, b: f64| format!("{:.1},{:.1}", x.place(a), y.place(b));
    let upper = edges.clone().map(|&(a, [_, high])| place(a, high));
    let lower = edges.rev().map(|&(a, [low, _])| place(a, low));
    let outline: Vec<String> = upper.chain(lower).collect();
    if !outline.is_empty() {
        let (colour, outline) = (series.colour % COLOURS, outline.join(" "));
        let _ = write!(
            svg,
            "<polygon class=\"band c{colour}\" points=\"{outline}\"/>"
        );
    }
}

fn line(svg: &mut String, series: &Series, x: &Axis, y: &Axis, percent: bool) {
    let place = |&(a, b): &(f64, f64)| format!("{:.1},{:.1}", x.place(a), y.place(b));
    let finite = series
        .points
        .iter()
        .filter(|(a, b)| a.is_finite() && b.is_finite());
    let path: Vec<String> = finite.clone().map(place).collect();
    let colour = series.colour % COLOURS;
    let dashed = if series.dashed { " dashed" } else { "" };
    let path = path.join(" ");
    let _ = write!(
        svg,
        "<polyline class=\"line c{colour}{dashed}\" points=\"{path}\"/>"
    );
    if series.points.len() > MOST_MARKED {
        return;
    }
    for &(a, b) in finite {
        let value = match percent {
            true => format!("{:.2} %", b * 100.0),
            false if b >= 100.0 => format!("{b:.0}"),
            false => format!("{b:.4}"),
        };
        let _ = write!(
            svg,
            "<circle class=\"dot c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"><title>{}, {a}: {value}</title>\
             </circle>",
            x.place(a),
            y.place(b),
            escape(&series.name)
        );
    }
}

/// From values to places, the ends at round numbers.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(range: (f64, f64), from: f64, to: f64) -> Self {
        Self::with_steps_of(0.0, range, from, to)
    }

    fn of_counts(range: (f64, f64), from: f64, to: f64) -> Self {
        Self::with_steps_of(1.0, range, from, to)
    }

    /// With steps of at least `least`.
    fn with_steps_of(least: f64, (low, high): (f64, f64), from: f64, to: f64) -> Self {
        let high = if high > low {
            high
        } else {
            low + low.abs().max(1.0) * 0.1
        };
        let step = round_step(((high - low) / 5.0).max(least));
        Self {
            low: (low / step).floor() * step,
            high: (high / step).ceil() * step,
            step,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count).map(|i| self.low + i as f64 * self.step)
    }
}

/// 1, 2 or 5 times a power of ten, the first that is not less.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let enough = steps.into_iter().find(|&step| step >= least * (1.0 - 1e-9));
    enough.unwrap_or(10.0 * power)
}

fn open(width: f64, height: f64, label: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">",
        escape(label)
    )
}

fn axes(svg: &mut String, x: &Axis, y: &Axis, label: &str, percent: bool) {
    for tick in y.ticks() {
        let (place, text) = (y.place(tick), number(tick, y.step, percent));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{place:.1}\" y2=\"{place:.1}\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            place + 4.0
        );
    }
    for tick in x.ticks() {
        let _ = write!(
            svg,
            "<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x.place(tick),
            HEIGHT - BOTTOM + 17.0,
            number(tick, x.step, false)
        );
    }
    let _ = write!(
        svg,
        "<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 5.0,
        escape(label)
    );
}

/// A tick's number, as many decimals as its step has.
fn number(value: f64, step: f64, percent: bool) -> String {
    let (value, step, unit) = match percent {
        true => (value * 100.0, step * 100.0, " %"),
        false => (value, step, ""),
    };
    if value != 0.0 && value.abs() < 1e-4 {
        return format!("{value:.0e}{unit}");
    }
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    match value.abs() >= 10_000.0 && !percent {
        true => format!("{}k", value / 1000.0),
        false => format!("{value:.decimals$}{unit}"),
    }
}

/// Accuracy over probability: what lies under the diagonal is overconfident. Dots are as large as their bins.
pub(crate) fn calibration(bins: &[Bin]) -> String {
    let x = Axis::new((0.0, 1.0), LEFT, WIDTH - RIGHT);
    let y = Axis::new((0.0, 1.0), HEIGHT - BOTTOM, TOP);
    let title = "Calibration";
    let mut svg = open(WIDTH, HEIGHT, title);
    axes(&mut svg, &x, &y, "probability of the predicted class", true);
    let _ = write!(
        svg,
        "<line class=\"diagonal\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        x.place(0.0),
        y.place(0.0),
        x.place(1.0),
        y.place(1.0)
    );
    let all: u64 = bins.iter().map(|bin| bin.count).sum();
    for bin in bins.iter().filter(|bin| bin.count > 0) {
        let radius = 2.0 + 14.0 * (bin.count as f64 / all.max(1) as f64).sqrt();
        let _ = write!(
            svg,
            "<circle class=\"dot c0\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>{}, probability \
             {:.1} %, right {:.1} %</title></circle>",
            x.place(bin.confidence),
            y.place(bin.accuracy),
            counted(bin.count as usize, "record"),
            bin.confidence * 100.0,
            bin.accuracy * 100.0
        );
    }
    format!(
        "<figure><h3>{title}</h3>{svg}</svg><figcaption>Share that is right over the probability that was given; \
         dots grow with their records. Below the diagonal: overconfident.</figcaption></figure>\n"
    )
}

/// Classes of which the cells are numbered.
const MOST_NUMBERED: usize = 12;

/// Rows are classes, columns predictions; the shade is the share of the row.
pub(crate) fn confusion(rows: &[Vec<u64>], names: &[&str]) -> String {
    let classes = rows.len();
    let (side, margin) = (420.0, 90.0);
    let cell = (side - margin) / classes.max(1) as f64;
    // The last column's slanted name leans over the edge.
    let mut svg = open(side + 40.0, side, "Confusion matrix");
    let at = |index: usize| margin + index as f64 * cell;
    for (i, row) in rows.iter().enumerate() {
        let whole = row.iter().sum::<u64>().max(1) as f64;
        for (j, &count) in row.iter().enumerate().filter(|&(_, &count)| count > 0) {
            let share = count as f64 / whole;
            let kind = if i == j { "hit" } else { "miss" };
            let (name, predicted) = (names.get(i), names.get(j));
            let _ = write!(
                svg,
                "<rect class=\"{kind}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{cell:.2}\" height=\"{cell:.2}\" \
                 fill-opacity=\"{:.3}\"><title>{} as {}: {count}</title></rect>",
                at(j),
                at(i),
                share.sqrt(),
                escape(name.unwrap_or(&"?")),
                escape(predicted.unwrap_or(&"?"))
            );
            if classes <= MOST_NUMBERED {
                let strong = if share > 0.35 { " strong" } else { "" };
                let (x, y) = (at(j) + cell / 2.0, at(i) + cell / 2.0 + 4.0);
                let _ = write!(
                    svg,
                    "<text class=\"middle cell{strong}\" x=\"{x:.1}\" y=\"{y:.1}\">{count}</text>"
                );
            }
        }
        if classes <= 2 * MOST_NUMBERED {
            let name = escape(names.get(i).unwrap_or(&"?"));
            let (x, y) = (margin - 6.0, at(i) + cell / 2.0 + 4.0);
            let _ = write!(
                svg,
                "<text class=\"end\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>\
                 <text transform=\"translate({:.1} {x:.1}) rotate(-60)\">{name}</text>",
                y
            );
        }
    }
    let _ = write!(
        svg,
        "<rect class=\"frame\" x=\"{margin}\" y=\"{margin}\" width=\"{0:.1}\" height=\"{0:.1}\"/></svg>",
        side - margin
    );
    format!(
        "<figure class=\"matrix\"><h3>Confusion matrix</h3>{svg}<figcaption>Rows: what an image is; columns: what it \
         was taken for.</figcaption></figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_every_value() {
        for (low, high) in [
            (0.0, 1.0),
            (0.31, 2.29),
            (3.0, 3.0),
            (0.0, 1e-5),
            (-7.0, 12_345.0),
        ] {
            let axis = Axis::new((low, high), 0.0, 100.0);
            let ticks: Vec<f64> = axis.ticks().collect();
            assert!(axis.low <= low && high <= axis.high, "{low} {high}");
            assert!((2..=9).contains(&ticks.len()), "{ticks:?}");
            assert!((0.0..=100.0).contains(&axis.place(low)));
        }
        assert_eq!(number(0.25, 0.05, true), "25 %");
        assert_eq!(number(0.005, 0.001, false), "0.005");
    }

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let chart = |points| Chart {
            title: "a < b",
            x: "epoch",
            percent: false,
            series: vec![Series {
                name: "x".into(),
                colour: 0,
                dashed: false,
                points,
                band: Vec::new(),
            }],
        };
        assert_eq!(chart(vec![(1.0, f64::NAN)]).figure(), "");
        let svg = chart(vec![(1.0, f64::NAN), (2.0, 1.0)]).figure();
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(svg.contains("a &lt; b") && !svg.contains("NaN"));
    }

    #[test]
    fn a_band_goes_along_the_greatest_and_back_along_the_least() {
        let mut series = Series {
            name: "x".into(),
            colour: 1,
            dashed: false,
            points: vec![(0.0, 1.0), (1.0, 2.0)],
            band: vec![(0.0, [0.0, 2.0]), (1.0, [1.0, 4.0]), (2.0, [f64::NAN, 1.0])],
        };
        let (x, y) = (
            Axis::new((0.0, 1.0), 0.0, 10.0),
            Axis::new((0.0, 4.0), 40.0, 0.0),
        );
        let mut svg = String::new();
        band(&mut svg, &series, &x, &y);
        let outline = "points=\"0.0,20.0 10.0,0.0 10.0,30.0 0.0,40.0\"";
        assert!(svg.contains(outline) && svg.contains("band c1"), "{svg}");
        series.band.clear();
        let drawn = svg.len();
        band(&mut svg, &series, &x, &y);
        assert_eq!(svg.len(), drawn);
    }
}
