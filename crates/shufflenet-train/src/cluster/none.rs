//! A build without MPI, which never has a connection to other ranks.

use std::time::Duration;

use super::Traffic;
use crate::error::TrainError;

/// A connection to other ranks. No value of this type exists.
pub(super) enum Link {}

/// Whether a launcher started several processes. A single process needs no connection.
pub(super) fn is_launched() -> bool {
    let several = |name| std::env::var(name).is_ok_and(|size| size != "1");
    // Slurm's own variables are also set where tasks have nothing to do with each other.
    let by_slurm = std::env::var_os("PMIX_RANK").is_some() && several("SLURM_STEP_NUM_TASKS");
    by_slurm || several("OMPI_COMM_WORLD_SIZE") || several("PMI_SIZE")
}

impl Link {
    pub fn open() -> Result<Option<Self>, TrainError> {
        Err(TrainError::NoMpi)
    }

    pub fn wait_at_most(&self, _: Duration) {
        match *self {}
    }

    pub fn traffic(&self) -> Traffic {
        match *self {}
    }

    pub fn rank(&self) -> usize {
        match *self {}
    }

    pub fn ranks(&self) -> usize {
        match *self {}
    }

    pub fn rank_here(&self) -> usize {
        match *self {}
    }

    pub fn ranks_here(&self) -> usize {
        match *self {}
    }

    pub fn machines(&self) -> usize {
        match *self {}
    }

    pub fn machine(&self) -> &str {
        match *self {}
    }

    pub fn sum_f32(&self, _: &mut [f32]) {
        match *self {}
    }

    pub fn sum_f64(&self, _: &mut [f64]) {
        match *self {}
    }

    pub fn broadcast(&self, _: &mut Vec<u8>) {
        match *self {}
    }

    pub fn abort(&self, _: u8) {
        match *self {}
    }
}
