//! One curve over a logarithmic axis, as text for a terminal and as SVG.

use std::fmt::Write;

/// Points of a curve, x ascending and positive.
pub struct Curve<'a> {
    /// What x is.
    pub x_label: &'a str,
    /// What y is.
    pub y_label: &'a str,
    /// Places on the x axis.
    pub x: &'a [f64],
    /// Values there.
    pub y: &'a [f64],
    /// A place on the x axis to mark.
    pub mark: Option<f64>,
}

/// Lines and columns of a plot in a terminal.
const LINES: usize = 16;
const COLUMNS: usize = 72;

impl Curve<'_> {
    /// Smallest and largest x (in powers of ten) and y. A range without values or with a single one is made up.
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

    /// The curve in characters, `|` where the mark is.
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

    /// The curve as an SVG picture of its own.
    pub fn to_svg(&self) -> String {
        let (width, height, margin) = (720.0, 420.0, 60.0);
        let at = |[x, y]: [f64; 2]| {
            let x = margin + x * (width - 2.0 * margin);
            let y = height - margin - y * (height - 2.0 * margin);
            (x, y)
        };
        let points: Vec<String> = self
            .places()
            .into_iter()
            .map(|place| {
                let (x, y) = at(place);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let [[left, right], [low, high]] = self.ranges();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let (x0, y0) = at([0.0, 0.0]);
        let (x1, y1) = at([1.0, 1.0]);
        let mut line = |x0: f64, y0: f64, x1: f64, y1: f64, colour: &str| {
            let _ = writeln!(
                svg,
                "<line x1=\"{x0:.1}\" y1=\"{y0:.1}\" x2=\"{x1:.1}\" y2=\"{y1:.1}\" stroke=\"{colour}\"/>"
            );
        };
        line(x0, y0, x1, y0, "black");
        line(x0, y0, x0, y1, "black");
        let decades: Vec<i32> = (left.ceil() as i32..=right.floor() as i32).collect();
        for &decade in &decades {
            let (x, _) = at([(f64::from(decade) - left) / (right - left), 0.0]);
            line(x, y0, x, y0 + 6.0, "black");
        }
        if let Some(mark) = self.mark_place() {
            let (x, _) = at([mark, 0.0]);
            line(x, y0, x, y1, "firebrick");
        }
        let mut words = |x: f64, y: f64, anchor: &str, words: &str| {
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
            );
        };
        for decade in decades {
            let (x, _) = at([(f64::from(decade) - left) / (right - left), 0.0]);
            words(x, y0 + 22.0, "middle", &format!("1e{decade}"));
        }
        words((x0 + x1) / 2.0, height - 12.0, "middle", self.x_label);
        words(x0, y1 - 14.0, "start", self.y_label);
        words(x0 - 6.0, y1 + 5.0, "end", &format!("{high:.3}"));
        words(x0 - 6.0, y0 + 5.0, "end", &format!("{low:.3}"));
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"steelblue\" stroke-width=\"2\" points=\"{}\"/>\n</svg>",
            points.join(" ")
        );
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_curve_and_the_mark_where_they_belong() {
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
        // No point and a single one are no reason to fail.
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
