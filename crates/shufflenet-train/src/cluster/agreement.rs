//! Agreement of the ranks before, between and after steps: whether a rank has failed, whether all train the same experiment
//! on the same data, and the state that they start from.

use super::Cluster;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::description::Description;
use crate::error::TrainError;

impl Cluster {
    /// Returns `result` if every rank succeeded.
    ///
    /// # Errors
    /// The lowest rank that failed returns its own error. Every other rank returns [`TrainError::Elsewhere`].
    pub fn agree<T>(&self, result: Result<T, TrainError>) -> Result<T, TrainError> {
        let Some(link) = &self.link else {
            return result;
        };
        let mut failures = vec![0.0; link.ranks()];
        failures[link.rank()] = match &result {
            Ok(_) => 0.0,
            Err(error) if error.is_usage() => 2.0,
            Err(_) => 1.0,
        };
        link.sum_f64(&mut failures);
        match failures.iter().position(|failure| *failure > 0.0) {
            None => result,
            Some(rank) if rank == link.rank() => result,
            Some(rank) => Err(TrainError::Elsewhere {
                usage: failures[rank] > 1.0,
            }),
        }
    }

    /// The result of training on this rank. Only the first rank reports an error that all ranks share. An error of this
    /// rank alone becomes [`TrainError::Rank`].
    pub(crate) fn reported<T>(&self, result: Result<T, TrainError>) -> Result<T, TrainError> {
        result.map_err(|error| match error {
            TrainError::Diverged(_) if !self.is_first() => TrainError::Elsewhere { usage: false },
            TrainError::Diverged(_) | TrainError::Differs { .. } => error,
            TrainError::Elsewhere { .. } | TrainError::Rank { .. } => error,
            error => self.of_this_rank(error),
        })
    }

    /// The error of this rank alone. A process that trains alone returns the error as it is.
    pub(crate) fn of_this_rank(&self, error: TrainError) -> TrainError {
        match &self.link {
            None => error,
            Some(link) => TrainError::Rank {
                rank: link.rank(),
                machine: link.machine().into(),
                source: Box::new(error),
            },
        }
    }

    /// Fails on all ranks if the named values of one rank differ from those of rank 0.
    ///
    /// # Errors
    /// [`TrainError::Differs`] on the rank that differs, [`TrainError::Elsewhere`] on the others.
    pub(crate) fn compare(&self, own: &[(String, String)]) -> Result<(), TrainError> {
        let Some(link) = &self.link else {
            return Ok(());
        };
        let lines = own.iter().map(|(name, value)| format!("{name}\0{value}"));
        let mut first = lines.collect::<Vec<_>>().join("\x01").into_bytes();
        link.broadcast(&mut first);
        let first = String::from_utf8_lossy(&first);
        let lines = first.split('\x01');
        let first: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once('\0')).collect();
        let own: Vec<(&str, &str)> = own
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        // A setting that is not set has no value.
        let of = |values: &[(&str, &str)], name: &str| {
            let found = values.iter().find(|(known, _)| *known == name);
            found.map_or("unset", |(_, value)| value).to_string()
        };
        let names = own.iter().chain(&first).map(|(name, _)| *name);
        let differing = names
            .into_iter()
            .find(|name| of(&own, name) != of(&first, name));
        self.agree(match differing {
            None => Ok(()),
            Some(name) => Err(TrainError::Differs {
                rank: link.rank(),
                machine: link.machine().into(),
                what: name.into(),
                here: of(&own, name),
                there: of(&first, name),
            }),
        })
    }

    /// Sends the `bytes` of rank 0 to every rank.
    pub(crate) fn broadcast(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(link) = &self.link {
            link.broadcast(&mut bytes);
        }
        bytes
    }

    /// Sends the checkpoint of rank 0 to every rank. The other ranks give `None` and the description.
    ///
    /// # Errors
    /// [`TrainError::Encode`].
    pub(crate) fn share(
        &self,
        checkpoint: Option<&Checkpoint>,
        description: &Description,
    ) -> Result<Checkpoint, TrainError> {
        let in_words = |error: serde_json::Error| TrainError::Encode {
            what: "progress",
            message: error.to_string(),
        };
        let of = |file: fn(&Checkpoint) -> &[u8]| {
            self.broadcast(
                checkpoint
                    .map(|found| file(found).to_vec())
                    .unwrap_or_default(),
            )
        };
        let weights = of(|found| &found.weights);
        let average = of(|found| found.average.as_deref().unwrap_or_default());
        let optimizer = of(|found| &found.optimizer);
        let progress = checkpoint.map(|found| serde_json::to_vec(&found.progress));
        let progress = progress.transpose().map_err(in_words)?;
        let progress = self.broadcast(progress.unwrap_or_default());
        Ok(Checkpoint {
            weights,
            average: (!average.is_empty()).then_some(average),
            optimizer,
            progress: serde_json::from_slice(&progress).map_err(in_words)?,
            description: description.clone(),
        })
    }
}
