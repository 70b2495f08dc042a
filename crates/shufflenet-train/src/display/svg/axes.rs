//! A pair of axes: the position of a value in a figure, and round numbers along the edges.

use std::fmt::Write;

use crate::display::html::escape;

/// Size of a figure with axes.
pub(super) const WIDTH: f64 = 420.0;
pub(super) const HEIGHT: f64 = 270.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// Both ends of the horizontal axis, lowest value first.
pub(super) const ACROSS: [f64; 2] = [LEFT, WIDTH - RIGHT];
/// Both ends of the vertical axis, lowest value first.
pub(super) const UP: [f64; 2] = [HEIGHT - BOTTOM, TOP];

/// Maps values to positions in a figure. The ends have round values.
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis between these positions that covers the values of `range`.
    pub fn new(range: (f64, f64), places: [f64; 2]) -> Self {
        Self::with_steps_of(0.0, range, places)
    }

    /// An axis for whole numbers.
    pub fn of_counts(range: (f64, f64), places: [f64; 2]) -> Self {
        Self::with_steps_of(1.0, range, places)
    }

    /// An axis with steps of at least `least`.
    fn with_steps_of(least: f64, (low, high): (f64, f64), [from, to]: [f64; 2]) -> Self {
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

    /// The position of `value`.
    pub fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count).map(|i| self.low + i as f64 * self.step)
    }
}

/// A horizontal and a vertical axis.
pub(super) struct Axes {
    pub x: Axis,
    pub y: Axis,
}

impl Axes {
    /// A point of an SVG outline.
    pub fn point(&self, x: f64, y: f64) -> String {
        format!("{:.1},{:.1}", self.x.place(x), self.y.place(y))
    }

    /// Draws lines and numbers at the ticks. `label` names the horizontal axis. `percent`: the vertical axis is in percent.
    pub fn draw(&self, svg: &mut String, label: &str, percent: bool) {
        let Self { x, y } = self;
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
}

/// The smallest 1, 2 or 5 times a power of ten that is not less than the argument.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let enough = steps.into_iter().find(|&step| step >= least * (1.0 - 1e-9));
    enough.unwrap_or(10.0 * power)
}

/// The number at a tick, with the decimals that the step needs.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_every_value() {
        for (low, high) in [
            (0.0, 1.0),
            (0.31, 2.29),
            (3.0, 3.0),
            (0.0, 1e-5),
            (-7.0, 12_345.0),
        ] {
            let axis = Axis::new((low, high), [0.0, 100.0]);
            let ticks: Vec<f64> = axis.ticks().collect();
            assert!(axis.low <= low && high <= axis.high, "{low} {high}");
            assert!((2..=9).contains(&ticks.len()), "{ticks:?}");
            assert!((0.0..=100.0).contains(&axis.place(low)));
        }
        assert_eq!(number(0.25, 0.05, true), "25 %");
        assert_eq!(number(0.005, 0.001, false), "0.005");
    }
}
