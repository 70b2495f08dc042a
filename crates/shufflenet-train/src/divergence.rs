//! How a run diverges: a loss, a gradient or a weight is no longer finite.

use std::fmt;

/// What is infinite or NaN, and where in a run that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The loss, a gradient, or a tensor's name.
    pub what: String,
    /// Where it was found. `None`: outside of a run.
    pub place: Option<Place>,
}

/// A place in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Optimizer steps taken before.
    pub step: usize,
    /// Epoch, from 1.
    pub epoch: usize,
    /// The learning rate in force.
    pub rate: f64,
    /// The folder of the last good checkpoint. `None`: there is none.
    pub last: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        let Some(place) = &self.place else {
            return write!(f, "{what} is infinite or NaN: training has diverged");
        };
        let Place {
            step, epoch, rate, ..
        } = place;
        let last = place.last.as_deref().unwrap_or("none");
        write!(
            f,
            "{what} is infinite or NaN at step {step} (epoch {epoch}, learning rate {rate:e}): training \
             has diverged; start another run with a lower optimizer.learning_rate. Last good checkpoint: {last}"
        )
    }
}
