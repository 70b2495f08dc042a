//! One curve over a logarithmic axis, as text for a terminal and as SVG.

use std::fmt::Write;

use crate::display::svg::{Chart, Series};

/// Points of a curve, x ascending and positive.
pub struct Curve<'a> {
    /// Label of the x axis.
    pub x_label: &'a str,
    /// Label of the y axis.
    pub y_label: &'a str,
    /// Values of x.
    pub x: &'a [f64],
    /// Values of y.
    pub y: &'a [f64],
    /// A value of x to mark.
    pub mark: Option<f64>,
}

/// Lines and columns of a plot in a terminal.
const LINES: usize = 16;
const COLUMNS: usize = 72;

impl Curve<'_> {
    /// Smallest and largest x (in powers of ten) and y. A range with fewer than two values is widened.
    fn ranges(&self) -> [[f64; 2]; 2] {
        let range = |values: &mut dyn Iterator<Item = f64>| {
            let start = [f64::INFINITY, f64::NEG_INFINITY];
            let [low, high] = values.fold(start, |[low, high], v| [low.min(v), high.max(v)]);
            match (low < high, low.is_finite()) {
                (true, _) => [low, high],
                (false, true) => [low - 0.5, low + 0.5],
                (false, false) => [0.0, 1.0],
            }
        };
        [
            range(&mut self.x.iter().map(|x| x.log10())),
            range(&mut self.y.iter().copied()),
        ]
    }

    /// Points as shares of the ranges, 0 to 1 each.
    fn places(&self) -> Vec<[f64; 2]> {
        let [x_range, y_range] = self.ranges();
        let share =
            |value: f64, [low, high]: [f64; 2]| ((value - low) / (high - low)).clamp(0.0, 1.0);
        let points = self.x.iter().zip(self.y);
        points
            .map(|(x, y)| [share(x.log10(), x_range), share(*y, y_range)])
            .collect()
    }

    fn mark_place(&self) -> Option<f64> {
        let [[low, high], _] = self.ranges();
        self.mark
            .map(|x| ((x.log10() - low) / (high - low)).clamp(0.0, 1.0))
    }

    /// The curve in characters, with `|` at the mark.
    pub fn to_text(&self) -> String {
        let mut cells = [[' '; COLUMNS]; LINES];
        let column = |share: f64| (share * (COLUMNS - 1) as f64).round() as usize;
        if let Some(mark) = self.mark_place() {
            cells.iter_mut().for_each(|line| line[column(mark)] = '|');
        }
        for [x, y] in self.places() {
            cells[((1.0 - y) * (LINES - 1) as f64).round() as usize][column(x)] = '*';
        }
        let [[left, right], [low, high]] = self.ranges();
        let mut text = format!("{}\n", self.y_label);
        for (number, line) in cells.iter().enumerate() {
            let label = match number {
                0 => format!("{high:.3}"),
                _ if number == LINES - 1 => format!("{low:.3}"),
                _ => String::new(),
            };
            let line: String = line.iter().collect();
            let _ = writeln!(text, "{label:>8} {}", line.trim_end());
        }
        let (left, right) = (
            format!("{:.1e}", 10f64.powf(left)),
            format!("{:.1e}", 10f64.powf(right)),
        );
        let gap = COLUMNS.saturating_sub(left.len() + right.len());
        let _ = writeln!(text, "{:>8} {left}{:^gap$}{right}", "", self.x_label);
        text
    }

    /// The curve as an SVG file.
    pub fn to_svg(&self) -> String {
        let line = |name: &str, colour, points| Series {
            name: name.into(),
            colour,
            dashed: colour > 0,
            points,
            band: Vec::new(),
        };
        let powers = self.x.iter().map(|x| x.log10());
        let mut series = vec![line(
            self.y_label,
            0,
            powers.zip(self.y.iter().copied()).collect(),
        )];
        if let Some(mark) = self.mark {
            let [_, [low, high]] = self.ranges();
            let power = mark.log10();
            series.push(line("mark", 1, vec![(power, low), (power, high)]));
        }
        let chart = Chart {
            title: self.y_label,
            x: &format!("{}, power of ten", self.x_label),
            percent: false,
            series,
        };
        chart.picture()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_curve_and_the_mark_in_the_right_places() {
        let curve = Curve {
            x_label: "rate",
            y_label: "loss",
            x: &[1e-3, 1e-2, 1e-1],
            y: &[3.0, 2.0, 1.0],
            mark: Some(1e-2),
        };
        let text = curve.to_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), LINES + 2);
        assert!(lines[1].starts_with("   3.000 *"), "{text}");
        assert!(lines[LINES].starts_with("   1.000"), "{text}");
        assert!(
            lines[LINES].ends_with('*') && lines[3].contains('|'),
            "{text}"
        );
        let svg = curve.to_svg();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        // Neither no point nor a single point is an error.
        for x in [&[][..], &[0.1]] {
            let bare = Curve {
                x,
                y: x,
                mark: None,
                ..curve
            };
            assert!(!bare.to_text().is_empty() && !bare.to_svg().contains("NaN"));
        }
    }
}
