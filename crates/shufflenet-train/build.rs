//! Records the commit that the binary is built from, for a run's `environment.json`. Names what the feature `web`
//! lacks, where the compiler would name a path alone.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

fn main() {
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"])
        .is_some_and(|changes| !changes.is_empty());
    let suffix = if dirty { "-dirty" } else { "" };
    println!("cargo::rustc-env=SHUFFLENET_COMMIT={commit}{suffix}");
    // The log of HEAD changes with every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && std::path::Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    let module = "src/exchange/site/shufflenet.wasm";
    if std::env::var_os("CARGO_FEATURE_WEB").is_some() {
        println!("cargo::rerun-if-changed={module}");
        if !std::path::Path::new(module).is_file() {
            println!(
                "cargo::error=the feature `web` needs the page's module: run scripts/build_web"
            );
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
}
