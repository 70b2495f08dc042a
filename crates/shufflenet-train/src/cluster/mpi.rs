//! Messages between ranks through MPI (MPI Forum, 4.0), by the crate `mpi`.
//!
//! Every wait is a poll: a collective is started (`MPI_Iallreduce`, `MPI_Ibcast`) and tested until it is done, so that
//! a hanging rank can be detected. After the timeout a waiting rank calls all other ranks, and the ranks that also wait
//! answer at once. Shortly after, the lowest waiting rank names the ranks that have not answered, and ends the job. The
//! launcher detects a rank that was killed, which is faster, and also ends the job.

use std::cell::Cell;
use std::io::{Write, stderr};
use std::thread;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::collective::{CommunicatorCollectives, Root, SystemOperation};
use mpi::datatype::Equivalence;
use mpi::environment::Universe;
use mpi::point_to_point::{Destination, Source};
use mpi::request::{Request, Scope, StaticScope, scope};
use mpi::topology::{Communicator, SimpleCommunicator};

use super::Traffic;
use crate::error::TrainError;

/// Time to wait for other ranks before the experiment sets it.
const AT_FIRST: Duration = Duration::from_secs(60);
/// Time in which a rank must answer. Waiting ranks check for calls many times a second.
const ROLL_CALL: Duration = Duration::from_secs(5);
/// A rank that has not checked for this time was suspended. This time does not count as waiting.
const ASLEEP: Duration = Duration::from_secs(2);
/// Interval at which a waiting rank checks for calls of other ranks.
const LISTEN: Duration = Duration::from_millis(50);

/// Variables of which a launcher sets one: Open MPI's, MPICH's and Slurm's PMI, PMIx.
const LAUNCHED: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMIX_RANK"];

/// "Are you there?" and "I am."
const CALL: i32 = 1;
const ANSWER: i32 = 2;
static NOTE: [u8; 1] = [0];

/// Size of the message with a rank's process number and machine. MPI allows 256 bytes for a machine's name.
const PLACE: usize = 288;

/// The connection to the other ranks.
pub(super) struct Link {
    world: SimpleCommunicator,
    places: Vec<Place>,
    timeout: Cell<Duration>,
    traffic: Cell<Traffic>,
    /// Ends MPI when it is dropped. It must be dropped after the fields above.
    _universe: Universe,
}

/// Machine and process of a rank.
struct Place {
    machine: String,
    process: String,
}

/// Whether a launcher started this process. (MPI takes a while to start, even alone.)
pub(super) fn is_launched() -> bool {
    LAUNCHED.iter().any(|name| std::env::var_os(name).is_some())
}

impl Link {
    /// Starts MPI. `None`: there is one rank.
    pub fn open() -> Result<Option<Self>, TrainError> {
        let start = mpi::initialize_with_threading(Threading::Funneled);
        let (universe, threading) = start.ok_or(TrainError::Mpi("it was started before"))?;
        if threading < Threading::Funneled {
            return Err(TrainError::Mpi("it does not allow for other threads"));
        }
        let world = universe.world();
        if world.size() == 1 {
            return Ok(None);
        }
        let machine = mpi::environment::processor_name().unwrap_or_default();
        let mut own = format!("{}\0{machine}", std::process::id()).into_bytes();
        own.resize(PLACE, 0);
        let mut link = Self {
            places: Vec::new(),
            timeout: Cell::new(AT_FIRST),
            traffic: Cell::default(),
            _universe: universe,
            world,
        };
        let mut all = vec![0; PLACE * link.ranks()];
        scope(|scope| {
            link.finish(
                link.world
                    .immediate_all_gather_into(scope, &own[..], &mut all[..]),
            )
        });
        link.places = all.chunks_exact(PLACE).map(Place::read).collect();
        Ok(Some(link))
    }

    /// Sets the time to wait for other ranks.
    pub fn wait_at_most(&self, timeout: Duration) {
        self.timeout.set(timeout);
    }

    /// All sums so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic.get()
    }

    pub fn rank(&self) -> usize {
        usize::try_from(self.world.rank()).unwrap_or_default()
    }

    pub fn ranks(&self) -> usize {
        usize::try_from(self.world.size()).unwrap_or_default()
    }

    /// Number of this rank among those of its machine.
    pub fn rank_here(&self) -> usize {
        self.here(&self.places[..self.rank()])
    }

    pub fn ranks_here(&self) -> usize {
        self.here(&self.places)
    }

    fn here(&self, places: &[Place]) -> usize {
        let here = |place: &&Place| place.machine == self.machine();
        places.iter().filter(here).count()
    }

    pub fn machine(&self) -> &str {
        &self.places[self.rank()].machine
    }

    pub fn machines(&self) -> usize {
        let mut machines: Vec<&str> = self.places.iter().map(|p| p.machine.as_str()).collect();
        machines.sort_unstable();
        machines.dedup();
        machines.len()
    }

    /// Replaces values by their sums over the ranks.
    pub fn sum_f32(&self, values: &mut [f32]) {
        self.sum(values);
    }

    /// Replaces values in double precision by their sums over the ranks.
    pub fn sum_f64(&self, values: &mut [f64]) {
        self.sum(values);
    }

    fn sum<T: Equivalence + Copy>(&self, values: &mut [T]) {
        let (since, own) = (Instant::now(), values.to_vec());
        scope(|scope| {
            let (world, sum) = (&self.world, SystemOperation::sum());
            self.finish(world.immediate_all_reduce_into(scope, &own[..], values, sum));
        });
        self.traffic
            .set(self.traffic().with(size_of_val(&own[..]), since.elapsed()));
    }

    /// Replaces `bytes` by those of rank 0.
    pub fn broadcast(&self, bytes: &mut Vec<u8>) {
        let mut length = [bytes.len() as u64];
        let root = self.world.process_at_rank(0);
        scope(|scope| self.finish(root.immediate_broadcast_into(scope, &mut length[..])));
        bytes.resize(usize::try_from(length[0]).unwrap_or_default(), 0);
        // A message has at most 2^31 elements.
        for piece in bytes.chunks_mut(1 << 30) {
            scope(|scope| self.finish(root.immediate_broadcast_into(scope, piece)));
        }
    }

    /// Ends all ranks.
    pub fn abort(&self, code: u8) {
        self.world.abort(code.into());
    }

    /// Waits until `request` is done.
    fn finish<'a, D: ?Sized, S: Scope<'a>>(&self, mut request: Request<'a, D, S>) {
        let (mut since, mut listened) = (Instant::now(), Instant::now());
        let mut rolls = 0;
        loop {
            request = match request.test() {
                Ok(_) => return,
                Err(pending) => pending,
            };
            thread::yield_now();
            if listened.elapsed() > LISTEN {
                if listened.elapsed() > ASLEEP {
                    since = Instant::now();
                }
                self.answer();
                listened = Instant::now();
            }
            if since.elapsed() > self.timeout.get() {
                let missing = self.call_the_roll();
                rolls += 1;
                if !missing.is_empty() || rolls > 1 {
                    self.give_up(&missing);
                }
                // All ranks have answered, so the message is only slow.
                since = Instant::now();
            }
        }
    }

    /// Answers the ranks that have called.
    fn answer(&self) {
        while let Some(call) = self.world.any_process().immediate_probe_with_tag(CALL) {
            self.receive(call.source_rank(), CALL);
            self.send(call.source_rank(), ANSWER);
        }
    }

    /// The ranks that do not answer.
    fn call_the_roll(&self) -> Vec<usize> {
        let others = (0..self.ranks()).filter(|rank| *rank != self.rank());
        let mut missing: Vec<usize> = others.collect();
        for rank in &missing {
            self.send(*rank as i32, CALL);
        }
        let since = Instant::now();
        while !missing.is_empty() && since.elapsed() < ROLL_CALL {
            self.answer();
            let any = self.world.any_process();
            while let Some(answer) = any.immediate_probe_with_tag(ANSWER) {
                let rank = answer.source_rank();
                self.receive(rank, ANSWER);
                missing.retain(|missing| *missing as i32 != rank);
            }
            thread::sleep(Duration::from_millis(1));
        }
        missing
    }

    /// Names the missing ranks and ends the job.
    fn give_up(&self, missing: &[usize]) -> ! {
        let speaker = (0..self.ranks()).find(|rank| !missing.contains(rank));
        if speaker == Some(self.rank()) {
            let name = |rank: &usize| {
                let Place { machine, process } = &self.places[*rank];
                format!("rank {rank} ({machine}, process {process})")
            };
            let names: Vec<String> = missing.iter().map(name).collect();
            let (who, has) = match missing.len() {
                0 => ("the ranks wait for each other".into(), "no message came"),
                1 => (names.join(""), "has not answered"),
                _ => (names.join(", "), "have not answered"),
            };
            let _ = writeln!(
                stderr(),
                "error: {who}: {has} for {} s, the job ends here; the same command with --resume continues \
                 from the last checkpoint",
                self.timeout.get().as_secs()
            );
        } else {
            // Another rank prints the line, and must do so before this one ends the job.
            thread::sleep(Duration::from_secs(2));
        }
        self.world.abort(1)
    }

    fn send(&self, rank: i32, tag: i32) {
        let other = self.world.process_at_rank(rank);
        let request = other.immediate_send_with_tag(StaticScope, &NOTE[..], tag);
        // Do not wait for the message, because the other rank may be gone.
        std::mem::forget(request);
    }

    /// Takes a message that a probe has found.
    fn receive(&self, rank: i32, tag: i32) {
        let mut note = NOTE;
        let other = self.world.process_at_rank(rank);
        other.receive_into_with_tag(&mut note[..], tag);
    }
}

impl Place {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut words = text.split('\0').map(String::from);
        let mut next = || words.next().unwrap_or_default();
        let (process, machine) = (next(), next());
        Self { machine, process }
    }
}
