//! Tests of training with several ranks on this machine, started by `mpirun`. They compare the run with one process,
//! and check what happens when a rank fails, hangs or gets a signal, and when the run is resumed. They fail if there is
//! no `mpirun`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "the helpers of tests may panic and print like the tests"
)]

mod equality;
mod failures;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with the experiment `trial.toml`: 20 steps on noise, with the end of an epoch and a smaller batch among them.
/// With this seed no input of a ReLU is so close to zero that another order of the sums changes its sign. After such a
/// change two runs diverge (`docs/cluster.md` says how often).
fn workplace(model: &str, train: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[model]\nstem = \"cifar\"\nwidths = [8, 16, 24, 32, 48]\nrepeats = [1, 1, 1]\n{model}\n\
         [data]\nformat = \"synthetic\"\nroot = \"none\"\nlimit = 390\nvalidation = 0.02\n\
         [data.options.synthetic]\nsize = 16\n\
         [optimizer]\nlearning_rate = 0.005\n\
         [checkpoint]\nevery_steps = 5\n\
         [train]\nepochs = 100\nmax_steps = 20\nlog_every = 1\nseed = 5\nbatch_size = 32\n{train}\n"
    );
    std::fs::write(folder.path().join("trial.toml"), text).unwrap();
    folder
}

/// Settings that draw random numbers. Each rank must draw the numbers that one process would draw.
const RANDOM: &str = "ema_decay = 0.9\n[data.augmentation]\nflip = true\n\
                      mixing = { mixup = 0.4, cutmix = 1.0 }";

/// The command that trains with `ranks` ranks. One rank needs no launcher.
fn train(folder: &Path, ranks: usize, out: &str, extra: &[&str]) -> Command {
    let binary = env!("CARGO_BIN_EXE_shufflenet");
    let mut command = match ranks {
        1 => Command::new(binary),
        _ => launcher(),
    };
    if ranks > 1 {
        command.args(["-n", &ranks.to_string(), binary]);
    }
    command
        .current_dir(folder)
        // Portable code rounds in the same way on every machine.
        .env("SHUFFLENET_ISA", "portable")
        .args([
            "train",
            "--config",
            "trial.toml",
            "--threads",
            "1",
            "--out",
            out,
        ])
        .args(extra)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Open MPI's launcher, which here may run as root and start more ranks than there are cores.
fn launcher() -> Command {
    let mut command = Command::new("mpirun");
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
        ("OMPI_MCA_odls_base_sigkill_timeout", "2"),
    ] {
        command.env(name, value);
    }
    command
}

fn run(mut command: Command) -> Output {
    let output = command.output();
    output.expect("mpirun, of Open MPI, starts the ranks of these tests")
}

fn finished(command: Command) -> String {
    let output = run(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}
