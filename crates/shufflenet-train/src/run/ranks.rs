//! Keeps the ranks of a run equal: compares settings and data when the run is opened, sends the first state, and
//! compares the weights after each epoch.

use crate::error::TrainError;
use crate::experiment::compare::flatten;
use crate::run::context::Run;
use crate::step::state::State;

impl Run {
    /// Refuses ranks whose weights would differ from rank 0's: another experiment, other data, another build or other
    /// vector instructions.
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
        let teachers = self.description.teachers_sha256.join(", ");
        own.push(("the teacher's SHA-256".into(), teachers));
        own.push(("the build".into(), environment.build()));
        own.push((
            "the vector instructions".into(),
            environment.dispatch().into(),
        ));
        // Each machine may have data and teacher in another place, and may use another number of workers.
        let own_place = |key: &str| matches!(key, "data.root" | "data.workers" | "distill.from");
        let settings = flatten(&self.experiment)?.into_iter();
        own.extend(settings.filter(|(key, _)| !own_place(key)));
        self.cluster.compare(&own)
    }

    /// Fails if the weights of a rank differ from rank 0's.
    ///
    /// # Errors
    /// [`TrainError::Differs`], [`TrainError::Elsewhere`]; [`TrainError::Encode`].
    pub fn compare_weights(&self, state: &State) -> Result<(), TrainError> {
        if self.cluster.is_alone() {
            return Ok(());
        }
        let checksum = crc32c::crc32c(&state.weights()?);
        let name = format!(
            "the checksum of the weights after step {}",
            state.progress.step
        );
        self.cluster.compare(&[(name, format!("{checksum:08x}"))])
    }

    /// Sends the first state of rank 0 to every rank. The other ranks give `None`.
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
