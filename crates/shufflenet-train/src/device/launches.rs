//! How many kernels a GPU is told to launch, by part of a training step and by kernel.
//!
//! The host pays for every launch, however short its kernel is, so their number bounds the speed of a small network.
//! CubeCL calls an observer at every launch of the process, Burn's launches included. It has one place for an observer,
//! so [`count`] is called by one thread at a time. [`crate::step`] names the part that begins by [`part`], which does
//! nothing while nobody counts. Uploads and readings are no launches.

use serde::{Serialize, Serializer};

/// Kernels launched, by what they were launched for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Launches {
    /// All.
    #[serde(rename = "launches")]
    pub total: usize,
    /// Those of each part that was named, in the order of the first mention.
    #[serde(rename = "launches_by_part", serialize_with = "as_map")]
    pub by_part: Vec<(String, usize)>,
    /// The ten kernels that were launched most, the most launched first.
    #[serde(rename = "launches_by_kernel", serialize_with = "as_map")]
    pub by_kernel: Vec<(String, usize)>,
}

impl Launches {
    /// Those of the part of this name.
    pub fn of(&self, part: &str) -> usize {
        let named = self.by_part.iter().find(|(name, _)| name == part);
        named.map_or(0, |(_, launches)| *launches)
    }
}

fn as_map<S: Serializer>(pairs: &[(String, usize)], serializer: S) -> Result<S::Ok, S::Error> {
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

    use super::Launches;
    use crate::error::TrainError;

    /// Kernels that [`Launches`] names.
    const MOST_LAUNCHED: usize = 10;
    /// The part before the first one that is named.
    const BEFORE: &str = "before";

    /// What was launched so far, by the name of the part, and within it by the name of the kernel.
    #[derive(Default)]
    struct Parts(Mutex<Vec<(&'static str, BTreeMap<&'static str, usize>)>>);

    impl Parts {
        fn lock(&self) -> MutexGuard<'_, Vec<(&'static str, BTreeMap<&'static str, usize>)>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl LaunchObserver for Parts {
        fn launched(&self, kernel: &'static str) {
            let mut parts = self.lock();
            if parts.is_empty() {
                parts.push((BEFORE, BTreeMap::new()));
            }
            if let Some((_, kernels)) = parts.last_mut() {
                *kernels.entry(kernel).or_default() += 1;
            }
        }
    }

    thread_local! {
        /// What this thread counts, and where.
        static COUNTING: RefCell<Option<(Device, Arc<Parts>)>> = const { RefCell::new(None) };
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
        COUNTING.set(Some((device.clone(), parts.clone())));
        let value = work();
        COUNTING.set(None);
        // With fusion the last operations are launched only now.
        let synced = device.sync();
        drop(observation);
        synced?;
        let launches = summed(&parts.lock());
        Ok((value, launches))
    }

    /// From here on launches are those of `part`, where this thread counts them. The device catches up first then: with
    /// fusion it launches later than the host computes.
    pub fn part(part: &'static str) {
        COUNTING.with_borrow(|counting| {
            if let Some((device, parts)) = counting {
                // An error of the device is told where a value is read.
                let _ = device.sync();
                parts.lock().push((part, BTreeMap::new()));
            }
        });
    }

    fn summed(parts: &[(&'static str, BTreeMap<&'static str, usize>)]) -> Launches {
        let mut launches = Launches::default();
        let mut by_kernel = BTreeMap::<String, usize>::new();
        for (part, kernels) in parts {
            let count: usize = kernels.values().sum();
            launches.total += count;
            match launches.by_part.iter_mut().find(|(name, _)| name == part) {
                Some((_, sum)) => *sum += count,
                None => launches.by_part.push((part.to_string(), count)),
            }
            for (kernel, count) in kernels {
                let name = type_name_format(kernel, TypeNameFormatLevel::Balanced);
                *by_kernel.entry(name).or_default() += count;
            }
        }
        launches.by_kernel = by_kernel.into_iter().collect();
        launches
            .by_kernel
            .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        launches.by_kernel.truncate(MOST_LAUNCHED);
        launches
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
pub use none::{count, part};

/// No device of this build launches kernels.
#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
mod none {
    use burn::tensor::Device;

    use super::Launches;
    use crate::error::TrainError;

    /// Does `work`, which launches nothing.
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
