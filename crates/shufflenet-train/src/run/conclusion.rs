//! The end of a run: prints the best epoch, and measures it on the test set.

use std::time::Instant;

use crate::checkpoint;
use crate::checkpoint::store;
use crate::display::console::Console;
use crate::display::words::{counted, describe, duration};
use crate::error::TrainError;
use crate::evaluation::score;
use crate::evaluation::trained::{chosen, restore};
use crate::metrics::line::{Line, now};
use crate::recipe::average::LABEL;
use crate::run::training_loop::{Outcome, Training};
use crate::step::classifier::Classifier;

impl Training<'_> {
    /// Ends the run: prints the best epoch, and measures it on the test set, unless the test set chose it.
    pub fn conclude(
        mut self,
        console: &mut Console,
        begin: Instant,
    ) -> Result<Outcome, TrainError> {
        self.tell_best(console);
        if !self.test(console)? {
            return self.stop(console);
        }
        self.state.progress.finished = true;
        self.save()?;
        let steps = self.state.progress.step - self.first_step;
        if let Some(line) = self.run.cluster.describe_traffic(steps) {
            console.line(&line);
        }
        if let Some(folder) = self.folder {
            console.line(&format!(
                "done       {} in {}",
                folder.path().display(),
                duration(begin.elapsed())
            ));
        }
        Ok(Outcome::Finished)
    }

    /// Prints the best epoch, the criterion, and why training stopped early.
    fn tell_best(&self, console: &mut Console) {
        let (run, progress) = (self.run, &self.state.progress);
        let Some(best) = &progress.best else { return };
        if run.has_stalled(progress) && progress.step < run.total_steps() {
            let patience = run.experiment.train.patience.unwrap_or_default();
            console.line(&format!(
                "early      stopped: {} without a better one",
                counted(patience, "epoch")
            ));
        }
        let chosen_on = run.description.chosen_on.as_ref();
        let caveat = match chosen_on.map(|chosen| chosen.split.as_str()) {
            Some("test") => {
                " (chosen by the test set itself: set data.validation for an unbiased figure)"
            }
            Some(_) => "",
            None => " (the last, no other was evaluated)",
        };
        console.line(&format!(
            "best       epoch {}: {} {}{caveat}",
            best.epoch,
            run.sources.evaluation_split,
            run.experiment.checkpoint.best_by.describe(best.value)
        ));
    }

    /// The network of the best checkpoint, and whether it is the moving average.
    fn best(&self) -> Result<(Classifier, bool), TrainError> {
        let run = self.run;
        let found = self.folder.map(|folder| store::best(folder.path()));
        let checkpoint = found.as_deref().map(checkpoint::load).transpose()?;
        let checkpoint = match checkpoint {
            Some(checkpoint) if run.cluster.is_alone() => checkpoint,
            checkpoint => run.cluster.share(checkpoint.as_ref(), &run.description)?,
        };
        let folder = found.unwrap_or_default();
        let classifier = restore(&checkpoint, chosen(&checkpoint), &folder, &run.device)?;
        Ok((classifier, checkpoint.average.is_some()))
    }

    /// Measures the best checkpoint on the test set, unless the test set chose it. Returns false if interrupted.
    fn test(&mut self, console: &mut Console) -> Result<bool, TrainError> {
        let (Some(test), Some(best)) = (&self.run.sources.test, &self.state.progress.best) else {
            return Ok(true);
        };
        let (classifier, is_average) = self.best()?;
        let start = Instant::now();
        let (device, interrupter) = (&self.run.device, self.run.interrupter());
        console.evaluation("test", test.records());
        let seen = &mut |images| console.evaluated(images);
        let tally = score(&classifier, test.epoch(0, 0), device, interrupter, seen)?;
        console.finish();
        let Some(tally) = tally else {
            return Ok(false);
        };
        let tally = self.run.cluster.sum_tally(tally);
        let line = Line {
            event: "test",
            epoch: best.epoch,
            step: best.step,
            split: "test",
            weights: is_average.then_some(LABEL),
            metrics: tally.metrics(),
            lr: 0.0,
            img_per_s: Some(tally.count as f64 / start.elapsed().as_secs_f64()),
            time: now(),
        };
        self.journal.append(&line)?;
        console.line(&format!(
            "test       {} on {}, by the best epoch",
            describe(&line.metrics),
            counted(line.metrics.count as usize, "record")
        ));
        Ok(true)
    }
}
