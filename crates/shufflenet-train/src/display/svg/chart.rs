//! Lines over a pair of axes, with a legend: in a page, or in its own file.

use std::fmt::Write;

use super::axes::{ACROSS, Axes, Axis, HEIGHT, UP, WIDTH};
use super::open;
use crate::display::html::escape;

/// Style sheet of a picture in its own file.
const STYLE: &str = "text{font:12px sans-serif}.paper{fill:#fff}.grid{stroke:#ddd}.end{text-anchor:end}\
    .middle{text-anchor:middle}.line{fill:none;stroke-width:2;stroke:#1f6fb4}.line.c1{stroke:#b2382b}\
    .dashed{stroke-dasharray:5 4}.dot{fill:#1f6fb4}.dot.c1{fill:none}";

/// A named line.
pub(crate) struct Series {
    pub name: String,
    pub colour: usize,
    pub dashed: bool,
    pub points: Vec<(f64, f64)>,
    /// For a line of means, the lowest and the highest value at each point. Empty: no band.
    pub band: Vec<(f64, [f64; 2])>,
}

/// Lines over a pair of axes, the legend below.
pub(crate) struct Chart<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub percent: bool,
    pub series: Vec<Series>,
}

/// Number of colours in the style sheet. Further lines repeat them.
const COLOURS: usize = 6;
/// Largest number of points of a line with dots, which show their values under the mouse.
const MOST_MARKED: usize = 60;

impl Chart<'_> {
    /// A figure in a page. The text is empty if there are no points.
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
        let axes = Axes {
            // Epochs and steps are counted.
            x: Axis::of_counts(range(&mut finite().map(|p| p.0)), ACROSS),
            y: Axis::new(range(&mut finite().map(|p| p.1)), UP),
        };
        let mut svg = String::new();
        axes.draw(&mut svg, self.x, self.percent);
        for series in &self.series {
            band(&mut svg, series, &axes);
        }
        for series in &self.series {
            line(&mut svg, series, &axes, self.percent);
        }
        Some(svg)
    }
}

/// The name of a line beside its colour.
fn legend(series: &Series) -> String {
    let dashed = if series.dashed { " dashed" } else { "" };
    format!(
        "<span class=\"key c{}{dashed}\">{}</span> ",
        series.colour % COLOURS,
        escape(&series.name)
    )
}

/// The band as an area: along its upper edge, and back along the lower one.
fn band(svg: &mut String, series: &Series, axes: &Axes) {
    let is_finite = |&&(a, [low, high]): &&(f64, [f64; 2])| {
        a.is_finite() && low.is_finite() && high.is_finite()
    };
    let edges = series.band.iter().filter(is_finite);
    let upper = edges.clone().map(|&(a, [_, high])| axes.point(a, high));
    let lower = edges.rev().map(|&(a, [low, _])| axes.point(a, low));
    let outline: Vec<String> = upper.chain(lower).collect();
    if !outline.is_empty() {
        let (colour, outline) = (series.colour % COLOURS, outline.join(" "));
        let _ = write!(
            svg,
            "<polygon class=\"band c{colour}\" points=\"{outline}\"/>"
        );
    }
}

/// The line, and a dot at each of its points if they are few.
fn line(svg: &mut String, series: &Series, axes: &Axes, percent: bool) {
    let finite = series
        .points
        .iter()
        .filter(|(a, b)| a.is_finite() && b.is_finite());
    let path: Vec<String> = finite.clone().map(|&(a, b)| axes.point(a, b)).collect();
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
            axes.x.place(a),
            axes.y.place(b),
            escape(&series.name)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_values_are_left_out() {
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
    fn a_band_follows_the_highest_values_and_returns_along_the_lowest() {
        let mut series = Series {
            name: "x".into(),
            colour: 1,
            dashed: false,
            points: vec![(0.0, 1.0), (1.0, 2.0)],
            band: vec![(0.0, [0.0, 2.0]), (1.0, [1.0, 4.0]), (2.0, [f64::NAN, 1.0])],
        };
        let axes = Axes {
            x: Axis::new((0.0, 1.0), [0.0, 10.0]),
            y: Axis::new((0.0, 4.0), [40.0, 0.0]),
        };
        let mut svg = String::new();
        band(&mut svg, &series, &axes);
        let outline = "points=\"0.0,20.0 10.0,0.0 10.0,30.0 0.0,40.0\"";
        assert!(svg.contains(outline) && svg.contains("band c1"), "{svg}");
        series.band.clear();
        let drawn = svg.len();
        band(&mut svg, &series, &axes);
        assert_eq!(svg.len(), drawn);
    }
}
