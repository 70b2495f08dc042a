//! The machine and the build of a run, for `environment.json`; threads; vector instructions.

use std::fmt;

use burn::tensor::Device;
use serde::Serialize;
use shufflenet_model::{Isa, subnormals};

use crate::device;
use crate::display::words::counted;
use crate::error::TrainError;

/// The machine, the build and the command of a run.
#[derive(Serialize)]
pub struct Environment {
    version: &'static str,
    /// Commit that the binary was built from, with `-dirty` if files differed.
    commit: &'static str,
    command: Vec<String>,
    device: String,
    /// Name of the GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<String>,
    threads: usize,
    /// Processes that trained together.
    ranks: usize,
    /// Records that an epoch draws from, those that `train.drop_last` leaves out of it included.
    training_records: usize,
    cpu: String,
    /// Vector instructions that the CPU kernels chose at run time.
    dispatch: &'static str,
}

impl Environment {
    /// This process, training on `training_records` records on the device of that name, with `threads` threads as one of
    /// `ranks` processes.
    pub fn here(
        name: &str,
        device: &Device,
        threads: usize,
        ranks: usize,
        training_records: usize,
    ) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("SHUFFLENET_COMMIT"),
            // Arguments need not be UTF-8.
            command: std::env::args_os()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
            device: name.into(),
            adapter: device::adapter_name(device),
            threads,
            ranks,
            training_records,
            cpu: cpu(),
            dispatch: dispatch(),
        }
    }

    /// Name of the device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Name of the device, with the name of the GPU.
    pub fn device_in_words(&self) -> String {
        match &self.adapter {
            Some(adapter) => format!("{} ({adapter})", self.device),
            None => self.device.clone(),
        }
    }

    /// Name of the GPU, empty on the CPU.
    pub fn adapter(&self) -> &str {
        self.adapter.as_deref().unwrap_or_default()
    }

    /// Version and commit of this binary.
    pub fn build(&self) -> String {
        format!("{} ({})", self.version, self.commit)
    }

    /// Processes that train together.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// Vector instructions in use.
    pub fn dispatch(&self) -> &str {
        self.dispatch
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device_in_words();
        let threads = counted(self.threads, "thread");
        write!(f, "{device}, {threads}, {}", self.cpu)
    }
}

/// Sets the number of threads of this process's CPU kernels to `threads`, including the calling thread. Call it once,
/// before the first tensor, from the thread that trains. (Work of other threads waits for the pool. With one thread it
/// waits until the training thread has work, too.)
///
/// The pool's other threads treat subnormal numbers as zero ([`shufflenet_model::subnormals`]). Code that makes the pool
/// without this function must give it `subnormals::flush_this_thread` as its start handler.
pub fn use_threads(threads: usize) {
    // An existing pool keeps its size, because the program that uses this library made it.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .use_current_thread()
        .start_handler(|_| subnormals::flush_this_thread())
        .build_global();
}

/// Refuses a `SHUFFLENET_ISA` that this processor does not have.
///
/// # Errors
/// [`TrainError::Value`].
pub fn check_dispatch() -> Result<(), TrainError> {
    let names = Isa::available().into_iter().map(Isa::name);
    Isa::asked_for()
        .map(drop)
        .map_err(|found| TrainError::Value {
            key: "SHUFFLENET_ISA".into(),
            found: format!("`{found}`"),
            accepted: Vec::from_iter(names).join(", "),
        })
}

/// The processor's name as Linux gives it, or the architecture.
pub fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    match name {
        Some((_, name)) => format!("{name}, {}", dispatch()),
        None => format!("{}, {}", std::env::consts::ARCH, dispatch()),
    }
}

/// Peak memory of this process in MB (10^6 bytes), on Linux.
pub fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

/// Threads that this process may run at once: affinity and container quota are respected.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Vector instructions of the kernels. `SHUFFLENET_ISA` may narrow the choice.
fn dispatch() -> &'static str {
    match Isa::detected() {
        Isa::Amx(_) => "AMX",
        Isa::Avx512Bf16(_) => "AVX-512 with BF16",
        Isa::Avx512(_) => "AVX-512",
        Isa::Avx2(_) => "AVX2",
        Isa::Neon => "NEON",
        Isa::Simd128 => "WebAssembly SIMD",
        Isa::Portable => "portable",
    }
}
