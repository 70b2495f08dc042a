//! What the ranks of a run have in common: its settings and data when it is opened, the state that they start
//! from, and the weights after each epoch.

use crate::error::TrainError;
use crate::experiment::compare::flatten;
use crate::run::context::Run;
use crate::step::state::State;

impl Run {
    /// Refuses ranks that would train something else than rank 0: another experiment, other data, another
    /// build or other vector instructions, by which their weights would part.
    ///
    /// # Errors
    /// [`TrainError::Differs`], [`TrainError::Elsewhere`]; [`TrainError::Encode`].
    pub fn compare_ranks(&self) -> Result<(), TrainError> {
        if self.cluster.is_alone() {
            return Ok(());
        }
        let data = &self.description.data_sha256;
        let environment = &self.environment;
        let mut own = vec![("the data's SHA-256".to_string(), data.clone())];
        own.push(("the build".into(), environment.build()));
        own.push((
            "the vector instructions".into(),
            environment.dispatch().into(),
        ));
        // Where the data lies is each machine's affair, and so is how it is read.
        let settings = flatten(&self.experiment)?.into_iter();
        own.extend(settings.filter(|(key, _)| !matches!(&key[..], "data.root" | "data.workers")));
        self.cluster.compare(&own)
    }

    /// Refuses to go on where the weights of a rank are no longer those of rank 0.
    ///
    /// # Errors
    /// [`TrainError::Differs`], [`TrainError::Elsewhere`]; [`TrainError::Encode`].
    pub fn compare_weights(&self, state: &State) -> Result<(), TrainError> {
        if self.cluster.is_alone() {
            return Ok(());
        }
        let checkpoint = state.checkpoint(&self.description)?;
        let checksum = crc32c::crc32c(&checkpoint.weights);
        let name = format!(
            "the checksum of the weights after step {}",
            state.progress.step
        );
        self.cluster.compare(&[(name, format!("{checksum:08x}"))])
    }

    /// The state that rank 0 starts from, on every rank; the others have none yet.
    ///
    /// # Errors
    /// [`TrainError::Encode`]; [`TrainError::Checkpoint`]: not reachable with rank 0's own.
    pub fn share_start(&self, state: Option<State>) -> Result<State, TrainError> {
        match state {
            Some(state) if self.cluster.is_alone() => Ok(state),
            Some(state) => {
                let checkpoint = state.checkpoint(&self.description)?;
                self.cluster.share(Some(&checkpoint), &self.description)?;
                Ok(state)
            }
            None => {
                let checkpoint = self.cluster.share(None, &self.description)?;
                State::restore(&self.experiment, &self.device, &self.cluster, &checkpoint)
                    .map_err(|message| TrainError::checkpoint("rank 0's".as_ref(), message))
            }
        }
    }
}
