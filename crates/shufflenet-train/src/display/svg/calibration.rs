//! The calibration of a network as a reliability diagram: accuracy over probability, in the bins of the calibration error
//! (`evaluation/measures.rs`).

use std::fmt::Write;

use super::axes::{ACROSS, Axes, Axis, HEIGHT, UP, WIDTH};
use super::open;
use crate::display::words::counted;
use crate::evaluation::measures::Bin;

/// Accuracy over probability. Points below the diagonal are overconfident. The size of a dot shows the size of its bin.
pub(crate) fn calibration(bins: &[Bin]) -> String {
    let [x, y] = [ACROSS, UP].map(|places| Axis::new((0.0, 1.0), places));
    let axes = Axes { x, y };
    let title = "Calibration";
    let mut svg = open(WIDTH, HEIGHT, title);
    axes.draw(&mut svg, "probability of the predicted class", true);
    let Axes { x, y } = axes;
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
