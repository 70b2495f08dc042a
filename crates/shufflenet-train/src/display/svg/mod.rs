//! Figures as SVG text: lines over axes, a calibration plot, a confusion matrix.
//!
//! A figure in a page takes colours and fonts from the page's style sheet (`report/style.css`), for light and dark
//! screens and for print. A picture in its own file has a small style sheet.

mod axes;
mod calibration;
mod chart;
mod confusion;

pub(crate) use calibration::calibration;
pub(crate) use chart::{Chart, Series};
pub(crate) use confusion::confusion;

use crate::display::html::escape;

/// The tag that opens a figure of this size.
fn open(width: f64, height: f64, label: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">",
        escape(label)
    )
}
