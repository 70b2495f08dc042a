//! Figures in words, for messages.

use std::time::Duration;

pub use shufflenet_data::words::{counted, plural, thousands};

use crate::evaluation::tally::Metrics;

/// `loss 0.3812, top-1 86.42 %, top-5 99.70 %`
pub fn describe(metrics: &Metrics) -> String {
    format!(
        "loss {:.4}, top-1 {:.2} %, top-5 {:.2} %",
        metrics.loss,
        metrics.top1 * 100.0,
        metrics.top5 * 100.0
    )
}

/// A learning rate: `0.0500`, or `3.2e-5` below 0.001.
pub fn rate(rate: f64) -> String {
    match rate.abs() < 1e-3 && rate != 0.0 {
        true => format!("{rate:.1e}"),
        false => format!("{rate:.4}"),
    }
}

/// The first `most` names of classes, and the number of all if there are more: `cat, dog, ... (10 classes)`
pub fn first_classes<N: AsRef<str>>(names: &[N], most: usize) -> String {
    let shown = names.get(..most).unwrap_or(names);
    let shown: Vec<&str> = shown.iter().map(AsRef::as_ref).collect();
    match names.len() > most {
        true => format!("{}, ... ({} classes)", shown.join(", "), names.len()),
        false => shown.join(", "),
    }
}

/// `42 s`, `7 min 05 s`, `11 h 20 min`
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => "less than 1 s".into(),
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_classes_are_counted() {
        let names = ["a", "b", "c"];
        assert_eq!(first_classes(&names, 3), "a, b, c");
        assert_eq!(first_classes(&names, 2), "a, b, ... (3 classes)");
    }

    #[test]
    fn durations_are_in_seconds_minutes_or_hours() {
        let text = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(text(0), "less than 1 s");
        assert_eq!(text(42), "42 s");
        assert_eq!(text(425), "7 min 05 s");
        assert_eq!(text(40_800), "11 h 20 min");
    }
}
