//! Several processes that train one network together: data parallelism, synchronous (Goyal et al., 2017,
//! section 2.1; `docs/cluster.md` explains the design).
//!
//! Every rank holds the same weights and takes its share of each batch ([`shufflenet_data::Loader::shared`]).
//! A step adds up the gradients of all ranks, so that each takes the step that one process would have taken
//! on the whole batch:
//!
//! ```text
//! g = sum over ranks r of dL_r/dw,    L = sum over ranks r of L_r
//! ```
//!
//! where `L_r` is rank `r`'s part of the batch's loss. Messages go through MPI (`mpi.rs`, the cargo feature
//! `mpi`). A process that was started alone is a cluster of one rank, and sends no message.
//!
//! All ranks must send the same messages in the same order. So all ranks choose the next message by the same values: the
//! state is equal on all ranks, and they first agree on values that differ (a signal, a failure, a loss).

mod agreement;
pub mod config;
#[cfg(feature = "mpi")]
#[path = "mpi.rs"]
mod link;
#[cfg(not(feature = "mpi"))]
#[path = "none.rs"]
mod link;
mod reduce;

use std::time::Duration;

use crate::Interrupter;
use crate::display::words::counted;
use crate::error::TrainError;
use config::ClusterConfig;
use link::Link;

/// This process among those that train together.
pub struct Cluster {
    /// Messages to the other ranks. `None`: there is no other rank.
    link: Option<Link>,
    /// Set when this process is asked to stop.
    asked: Interrupter,
    /// Set on all ranks at the same step.
    agreed: Interrupter,
}

impl Cluster {
    /// A process that trains alone, until `asked` to stop.
    pub fn alone(asked: &Interrupter) -> Self {
        Self {
            link: None,
            asked: asked.clone(),
            agreed: asked.clone(),
        }
    }

    /// Joins the processes that `mpirun` (or `srun`) started together with this one. Without a launcher the process is
    /// alone. Call it once, from the thread that trains. If `asked` is set on one rank, all ranks stop.
    ///
    /// # Errors
    /// [`TrainError::NoMpi`]: there are others, but this binary was built without MPI.
    /// [`TrainError::Mpi`]: it does not start.
    pub fn join(asked: &Interrupter) -> Result<Self, TrainError> {
        let link = match link::is_launched() {
            true => Link::open()?,
            false => None,
        };
        Ok(match link {
            None => Self::alone(asked),
            link => Self {
                link,
                asked: asked.clone(),
                agreed: Interrupter::new(),
            },
        })
    }

    /// Sets how long this rank waits for the others.
    pub fn wait_at_most(&self, config: &ClusterConfig) {
        if let Some(link) = &self.link {
            link.wait_at_most(Duration::from_secs(config.timeout_seconds));
        }
    }

    /// Whether there is no other rank.
    pub fn is_alone(&self) -> bool {
        self.link.is_none()
    }

    /// Number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.link.as_ref().map_or(0, Link::rank)
    }

    /// Number of processes.
    pub fn ranks(&self) -> usize {
        self.link.as_ref().map_or(1, Link::ranks)
    }

    /// Ranks on this machine.
    pub fn ranks_here(&self) -> usize {
        self.link.as_ref().map_or(1, Link::ranks_here)
    }

    /// Whether this rank writes the run folder and prints for all.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// The interrupter that stops the run. It has the same value on all ranks between two steps.
    pub fn interrupter(&self) -> &Interrupter {
        &self.agreed
    }

    /// The name of this rank's device for `--device name`. If a backend has adapters, each rank takes the adapter with its
    /// number on the machine, unless `name` selects one.
    pub fn device(&self, name: &str) -> String {
        match &self.link {
            Some(link) if crate::device::GPU_BACKENDS.contains(&name) => {
                format!("{name}:{}", link.rank_here())
            }
            _ => name.into(),
        }
    }

    /// A line on the ranks, for the start of a run. `None`: there is one rank.
    pub(crate) fn describe(&self, config: &ClusterConfig) -> Option<String> {
        let link = self.link.as_ref()?;
        let (ranks, machines) = (link.ranks(), link.machines());
        let norms = match config.sync_batch_norm {
            true => "batch norm over all ranks",
            false => "batch norm over each rank's share",
        };
        Some(format!(
            "cluster    {} on {}, {norms}",
            counted(ranks, "rank"),
            counted(machines, "machine")
        ))
    }

    /// A line on the messages of `steps` steps and the evaluations between them. `None`: there is one rank.
    pub(crate) fn describe_traffic(&self, steps: usize) -> Option<String> {
        let Traffic {
            messages,
            bytes,
            time,
        } = self.link.as_ref()?.traffic();
        let per_step = |total: f64| total / steps.max(1) as f64;
        Some(format!(
            "cluster    {:.1} sums over the ranks per step, {:.3} MB, {:.1} ms in them, waiting included",
            per_step(messages as f64),
            per_step(bytes as f64) / 1e6,
            per_step(time.as_secs_f64()) * 1e3
        ))
    }

    /// Ends all ranks at once, because this rank failed alone. Files on disk are kept.
    pub fn abort(&self, code: u8) {
        if let Some(link) = &self.link {
            link.abort(code);
        }
    }
}

/// Sums over the ranks, so far.
#[derive(Clone, Copy, Default)]
struct Traffic {
    messages: usize,
    /// Bytes that this rank added, each value once.
    bytes: usize,
    time: Duration,
}

impl Traffic {
    /// Counts one more sum of the given size and duration.
    #[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "nothing is sent"))]
    fn with(self, bytes: usize, time: Duration) -> Self {
        Self {
            messages: self.messages + 1,
            bytes: self.bytes + bytes,
            time: self.time + time,
        }
    }
}
