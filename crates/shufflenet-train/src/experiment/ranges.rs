//! Finds the range of a key for the error about a value of the wrong type.
//!
//! A range is written only once, in the check that refuses values out of range. So this module calls the check with
//! values of the right type and takes the range from its error. Then `train.epochs = "ten"` and `train.epochs = 0` give
//! the same range.

use serde::de::DeserializeOwned;
use shufflenet_data::DataError;
use shufflenet_model::ModelError;
use toml::{Table, Value};

use crate::error::TrainError;
use crate::refusals::{self, Accepted, Fault, Refusal};

/// Whole numbers at the limits of what keys can store. One of them is out of the range of each key.
const WHOLE: [i64; 4] = [0, 65_535, 4_294_967_295, i64::MAX];

/// The values that `check` accepts for the key of `refusal` in `table`. `None`: the key is not a number, or the range
/// is unknown because something else in `table` is refused, too.
pub(super) fn of<T: DeserializeOwned>(
    table: &Table,
    refusal: &Refusal,
    check: impl Fn(T) -> Result<(), TrainError>,
) -> Option<String> {
    let Fault::Value { found, accepted } = &refusal.fault else {
        return None;
    };
    let ask = |value| {
        let read = refusals::with::<T>(table, refusal, value).ok()?;
        Some(check(read).map_err(|error| key_and_range(&error)))
    };
    if matches!(accepted, Accepted::Number) {
        // Every key of a number refuses NaN by the key's name.
        return match ask(Value::Float(f64::NAN))? {
            Err(Some((key, range))) if key == refusal.key => Some(range),
            _ => None,
        };
    }
    if !matches!(accepted, Accepted::Whole) {
        return None;
    }
    // TOML has no larger numbers, which nobody needs to be told who gave another value.
    let end = match is_beyond(found) {
        true => format!(" to {}", i64::MAX),
        false => String::new(),
    };
    let mut largest = None;
    for value in WHOLE {
        match ask(Value::Integer(value)) {
            // More than the key can store.
            None => {}
            Some(Ok(())) => largest = Some(value),
            Some(Err(Some((key, range)))) if key == refusal.key => {
                let is_open = range.starts_with("a whole number from ") && !range.contains(" to ");
                return Some(if is_open { range + &end } else { range });
            }
            Some(Err(_)) => return None,
        }
    }
    largest.map(|largest| match largest {
        i64::MAX => format!("a whole number from 0{end}"),
        largest => format!("a whole number from 0 to {largest}"),
    })
}

/// Whether `found`, as a message shows it, is a whole number that TOML does not have and `--set` takes for text.
fn is_beyond(found: &str) -> bool {
    let digits = found.trim_matches('"');
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number && digits.parse::<i64>().is_err()
}

/// The key of an error, and the values that it accepts.
pub(super) fn key_and_range(error: &TrainError) -> Option<(String, String)> {
    match error {
        TrainError::Value { key, accepted, .. } => Some((key.clone(), accepted.clone())),
        TrainError::Data(DataError::Value(error)) => {
            Some((error.what.clone(), error.expected.clone()))
        }
        TrainError::Model(ModelError::Count {
            key, least, most, ..
        }) => Some((
            format!("model.{key}"),
            format!("a whole number from {least} to {most}"),
        )),
        TrainError::Model(ModelError::Number { key, accepted, .. }) => {
            Some((format!("model.{key}"), (*accepted).into()))
        }
        _ => None,
    }
}
