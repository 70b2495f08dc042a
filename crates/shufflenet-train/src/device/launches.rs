//! Counts the kernels that a GPU launches, and the bytes that they move, by part of a training step and by kernel.
//!
//! Each launch takes time on the host, even if its kernel is short. So the number of launches limits the speed of a
//! small network. CubeCL calls an observer at every launch of the process, including Burn's. It has one observer, so
//! [`count`] is called by one thread at a time. [`crate::step`] calls [`part`] at the start of each part of a step,
//! which does nothing if no count is in progress. Uploads and downloads are not launches.
//!
//! The bytes are those that this project's kernels read and write by their shapes (`traffic.rs` of `shufflenet-gpu`). The
//! bytes of Burn's kernels are not known here.

use serde::{Serialize, Serializer};

/// Numbers of launched kernels and of moved bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Launches {
    /// All launches.
    #[serde(rename = "launches")]
    pub total: usize,
    /// Launches of each part, in the order in which the parts first began.
    #[serde(rename = "launches_by_part", serialize_with = "as_map")]
    pub by_part: Vec<(String, usize)>,
    /// The ten kernels with the most launches, in descending order.
    #[serde(rename = "launches_by_kernel", serialize_with = "as_map")]
    pub by_kernel: Vec<(String, usize)>,
    /// Bytes that this project's kernels read and write.
    pub bytes: u64,
    /// Bytes of each part.
    #[serde(serialize_with = "as_map")]
    pub bytes_by_part: Vec<(String, u64)>,
    /// Bytes of each of this project's kernels, in descending order.
    #[serde(serialize_with = "as_map")]
    pub bytes_by_kernel: Vec<(String, u64)>,
}

impl Launches {
    /// Launches of the part of this name.
    pub fn of(&self, part: &str) -> usize {
        let named = self.by_part.iter().find(|(name, _)| name == part);
        named.map_or(0, |(_, launches)| *launches)
    }
}

fn as_map<N: Serialize, S: Serializer>(
    pairs: &[(String, N)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, count)| (name, count)))
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub use observed::{count, part};

#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod observed {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    use burn::cubecl::config::{TypeNameFormatLevel, type_name_format};
    use burn::cubecl::logging::{LaunchObservation, LaunchObserver};
    use burn::tensor::Device;
    use shufflenet_model::traffic::{self, Observation, Traffic};

    use super::Launches;
    use crate::error::TrainError;

    /// Number of kernels in [`Launches::by_kernel`].
    const MOST_LAUNCHED: usize = 10;
    /// Name of the part before the first call of [`part`].
    const BEFORE: &str = "before";

    /// The launches of a part.
    #[derive(Default)]
    struct Part {
        name: &'static str,
        /// Launches of each kernel.
        kernels: BTreeMap<&'static str, usize>,
        /// The bytes that this project's kernels moved. They are known at the end of the part.
        traffic: Traffic,
    }

    /// The parts so far, in the order of the launches.
    #[derive(Default)]
    struct Parts(Mutex<Vec<Part>>);

    impl Parts {
        fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Ends a part, which moved `traffic`.
        fn end(&self, traffic: Traffic) {
            let mut parts = self.lock();
            begun(&mut parts).traffic = traffic;
        }

        fn begin(&self, name: &'static str) {
            self.lock().push(Part {
                name,
                ..Part::default()
            });
        }
    }

    /// The part that began last.
    fn begun(parts: &mut Vec<Part>) -> &mut Part {
        if parts.is_empty() {
            parts.push(Part {
                name: BEFORE,
                ..Part::default()
            });
        }
        let last = parts.len() - 1;
        &mut parts[last]
    }

    impl LaunchObserver for Parts {
        fn launched(&self, kernel: &'static str) {
            let mut parts = self.lock();
            *begun(&mut parts).kernels.entry(kernel).or_default() += 1;
        }
    }

    /// The count of a thread, and the device.
    struct Counting {
        device: Device,
        parts: Arc<Parts>,
        traffic: Observation,
    }

    thread_local! {
        /// The count of this thread, and the device.
        static COUNTING: RefCell<Option<Counting>> = const { RefCell::new(None) };
    }

    /// Counts the launches on `device` while `work` computes.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn count<T>(
        device: &Device,
        work: impl FnOnce() -> T,
    ) -> Result<(T, Launches), TrainError> {
        device.sync()?;
        let parts = Arc::new(Parts::default());
        let observation = LaunchObservation::new(parts.clone());
        COUNTING.set(Some(Counting {
            device: device.clone(),
            parts: parts.clone(),
            traffic: traffic::observe(),
        }));
        let value = work();
        // With fusion the last operations are launched only now.
        let synced = device.sync();
        drop(observation);
        if let Some(counting) = COUNTING.take() {
            parts.end(counting.traffic.take());
        }
        synced?;
        let launches = summed(&parts.lock());
        Ok((value, launches))
    }

    /// From here on launches belong to `part`, if this thread counts them. The device is synchronised first, because with
    /// fusion it launches kernels later.
    pub fn part(part: &'static str) {
        COUNTING.with_borrow(|counting| {
            if let Some(counting) = counting {
                // An error of the device shows where a value is read.
                let _ = counting.device.sync();
                counting.parts.end(counting.traffic.take());
                counting.parts.begin(part);
            }
        });
    }

    fn summed(parts: &[Part]) -> Launches {
        let mut launches = Launches::default();
        let mut by_kernel = BTreeMap::<String, usize>::new();
        let mut traffic = Traffic::default();
        for part in parts {
            let count: usize = part.kernels.values().sum();
            let bytes = part.traffic.total().bytes();
            launches.total += count;
            launches.bytes += bytes;
            add(&mut launches.by_part, part.name, count);
            add(&mut launches.bytes_by_part, part.name, bytes);
            for (kernel, count) in &part.kernels {
                let name = type_name_format(kernel, TypeNameFormatLevel::Balanced);
                *by_kernel.entry(name).or_default() += count;
            }
            traffic = traffic.with(&part.traffic);
        }
        launches.by_kernel = by_kernel.into_iter().collect();
        launches
            .by_kernel
            .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        launches.by_kernel.truncate(MOST_LAUNCHED);
        let bytes = traffic.by_kernel();
        launches.bytes_by_kernel = bytes
            .map(|(kernel, moved)| (kernel.into(), moved.bytes()))
            .collect();
        launches
            .bytes_by_kernel
            .sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        launches
    }

    /// Adds to the sum of this name.
    fn add<N: std::ops::AddAssign>(sums: &mut Vec<(String, N)>, name: &str, value: N) {
        match sums.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += value,
            None => sums.push((name.into(), value)),
        }
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
pub use none::{count, part};

/// Does nothing, because no device of this build launches kernels.
#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
mod none {
    use burn::tensor::Device;

    use super::Launches;
    use crate::error::TrainError;

    /// Runs `work`, which launches no kernels.
    ///
    /// # Errors
    /// None.
    pub fn count<T>(
        _device: &Device,
        work: impl FnOnce() -> T,
    ) -> Result<(T, Launches), TrainError> {
        Ok((work(), Launches::default()))
    }

    /// Nobody counts.
    pub fn part(_part: &'static str) {}
}
