//! An optimizer step of a run: the batches that it takes, cut into micro-batches.

use shufflenet_data::{Batch, Batches};

use crate::error::TrainError;
use crate::evaluation::tally::Tally;
use crate::recipe::dropout;
use crate::recipe::optimizer::Rates;
use crate::recipe::progressive;
use crate::run::context::Run;
use crate::step::classifier::MicroBatch;
use crate::step::state::State;

impl Run {
    /// The remaining batches of the current epoch.
    pub fn rest_of_epoch(&self, state: &State) -> Batches {
        let progress = &state.progress;
        let epoch = progress.epochs as u64 + 1;
        self.sources.train.epoch(epoch, progress.batch)
    }

    /// Ends the current epoch without an evaluation. Returns the batches of the next epoch.
    pub fn next_epoch(&self, state: &mut State) -> Batches {
        state.progress.epochs += 1;
        state.progress.batch = 0;
        state.progress.tally = Tally::default();
        self.rest_of_epoch(state)
    }

    /// One optimizer step at these rates on the next batches of [`Self::rest_of_epoch`]. Returns the number of its images.
    ///
    /// # Errors
    /// [`TrainError::Diverged`], [`TrainError::Device`], [`TrainError::Data`].
    pub fn step(
        &self,
        state: &mut State,
        batches: &mut Batches,
        rates: Rates,
    ) -> Result<usize, TrainError> {
        let train = &self.experiment.train;
        let progress = &mut state.progress;
        let count = train.accumulate.min(batches.len());
        let taken = progress.batch..progress.batch + count;
        let images = self.sources.train.records_in(taken.clone());
        let step = progress.step;
        let size = progressive::size_in(&train.progressive, progress.epochs + 1);
        let teacher = self.teacher_in(progress.epochs + 1);
        let parts = batches.take(count).enumerate().map(|(part, batch)| {
            let batch = batch?;
            Ok(MicroBatch {
                share: batch.whole() as f64 / images as f64,
                size,
                mask: self.mask(step, part, &batch),
                teacher: teacher.clone(),
                batch,
            })
        });
        let stepped = state.learner.step(parts, rates);
        let tally = stepped.map_err(|error| error.at(self.place(progress)))?;
        progress.tally.merge(&tally);
        progress.step += 1;
        progress.batch = taken.end;
        progress.finished = false;
        Ok(images)
    }

    /// Reads the pending logits of a GPU and counts their images, so that metrics and checkpoints include every step taken.
    ///
    /// # Errors
    /// [`TrainError::Diverged`], [`TrainError::Device`].
    pub fn settle(&self, state: &mut State) -> Result<(), TrainError> {
        let settled = state.learner.settle();
        let tally = settled.map_err(|error| error.at(self.place(&state.progress)))?;
        state.progress.tally.merge(&tally);
        Ok(())
    }

    /// Dropout's factors for micro-batch `part` of a step. `None`: no dropout.
    fn mask(&self, step: usize, part: usize, batch: &Batch) -> Option<Vec<f32>> {
        let model = &self.experiment.model;
        let features = model.widths().last;
        let (seed, rate) = (self.experiment.train.seed, model.dropout);
        let (first, count) = (batch.share.as_ref().map_or(0, |s| s.first), batch.len());
        let draw = || {
            let whole = batch.whole() * features;
            let mask = dropout::mask(seed, step as u64, part as u64, rate, whole);
            let own = mask.into_iter().skip(first * features);
            own.take(count * features).collect()
        };
        (rate > 0.0).then(draw)
    }
}
