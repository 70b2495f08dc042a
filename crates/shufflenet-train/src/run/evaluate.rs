//! The evaluation of a network in training: its weights, and their moving average.

use std::time::Instant;

use burn::module::Module;
use shufflenet_data::Batches;

use crate::display::console::Console;
use crate::error::TrainError;
use crate::evaluation::score;
use crate::evaluation::tally::Evaluation;
use crate::recipe::average::LABEL;
use crate::run::context::Run;
use crate::step::classifier::Classifier;
use crate::step::state::State;

impl Run {
    /// Measures the current weights and then their moving average, if there is one, on `batches`. The last measurement
    /// chooses the best epoch. `None`: interrupted.
    ///
    /// # Errors
    /// [`TrainError::Device`], [`TrainError::Data`].
    pub fn evaluate(
        &self,
        state: &State,
        batches: impl Fn() -> Batches,
        console: &mut Console,
    ) -> Result<Option<Vec<Evaluation>>, TrainError> {
        let learner = &state.learner;
        let mut classifiers = vec![(None, learner.classifier.valid())];
        if let Some(network) = learner.average.clone() {
            classifiers.push((Some(LABEL), Classifier { network }));
        }
        let mut evaluations = Vec::new();
        for (weights, classifier) in classifiers {
            let start = Instant::now();
            console.evaluation(
                self.sources.evaluation_split,
                self.sources.evaluation.records(),
            );
            let seen = &mut |images| console.evaluated(images);
            let tally = score(
                &classifier,
                batches(),
                &self.device,
                self.interrupter(),
                seen,
            )?;
            console.finish();
            let Some(tally) = tally else { return Ok(None) };
            let tally = self.cluster.sum_tally(tally);
            evaluations.push(Evaluation {
                weights,
                metrics: tally.metrics(),
                speed: tally.count as f64 / start.elapsed().as_secs_f64(),
            });
        }
        console.measured(&evaluations);
        Ok(Some(evaluations))
    }
}
