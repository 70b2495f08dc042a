//! Figures as a person reads them.

use std::time::Duration;

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

/// `42 s`, `7 min 05 s`, `11 h 20 min`
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// `1 epoch`, `5 epochs`
pub fn counted(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{} {thing}s", thousands(number)),
    }
}

/// `50,000`
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_a_person_says_them() {
        let text = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(text(42), "42 s");
        assert_eq!(text(425), "7 min 05 s");
        assert_eq!(text(40_800), "11 h 20 min");
    }

    #[test]
    fn one_is_not_plural() {
        assert_eq!(counted(1, "epoch"), "1 epoch");
        assert_eq!(counted(2_000, "step"), "2,000 steps");
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [
            (7, "7"),
            (999, "999"),
            (1000, "1,000"),
            (1_263_854, "1,263,854"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
