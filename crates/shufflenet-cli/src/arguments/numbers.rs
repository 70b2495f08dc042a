//! Reads numbers on the command line. A refusal says what is accepted, and [`crate::usage`] adds the flag and the value.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// Reads a whole number in `range`.
pub fn whole(range: RangeInclusive<u16>) -> impl Fn(&str) -> Result<u16, String> + Clone {
    move |text| {
        let number = text.parse().ok();
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                format!("accepted: a whole number from {least} to {most}")
            })
    }
}

/// Reads a number of steps, of any size.
pub fn steps(text: &str) -> Result<usize, String> {
    read(text, "a whole number")
}

/// Reads a rate.
pub fn rate(text: &str) -> Result<f64, String> {
    read(text, "a number")
}

/// Reads the value of one channel. Commas separate the channels.
pub fn of_channel(text: &str) -> Result<f32, String> {
    read(text, "numbers, as in 0.5 or 0.485,0.456,0.406")
}

fn read<T: FromStr>(text: &str, accepted: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("accepted: {accepted}"))
}
