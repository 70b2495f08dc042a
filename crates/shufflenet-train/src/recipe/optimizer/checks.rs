//! Checks that several settings of optimizers share.

use crate::error::{TrainError, require};

pub(super) fn positive(key: &'static str, value: f64) -> Result<(), TrainError> {
    require(
        value.is_finite() && value > 0.0,
        key,
        value,
        "a positive number",
    )
}

pub(super) fn momentum(key: &'static str, value: f64) -> Result<(), TrainError> {
    let accepted = "a number from 0 to below 1";
    require((0.0..1.0).contains(&value), key, value, accepted)
}

pub(super) fn from_zero(key: &'static str, value: f64) -> Result<(), TrainError> {
    require(
        value.is_finite() && value >= 0.0,
        key,
        value,
        "a number from 0",
    )
}
