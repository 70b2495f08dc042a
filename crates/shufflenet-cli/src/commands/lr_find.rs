//! `shufflenet lr-find`: the test of [`shufflenet_train::run::lr_find`], and its plot.

use std::process::ExitCode;

use shufflenet_train::Interrupter;
use shufflenet_train::display::console::Console;
use shufflenet_train::display::plot::Curve;
use shufflenet_train::experiment::settings;
use shufflenet_train::files::{require_new_file, write_new};
use shufflenet_train::run::lr_find::{Range, find};

use crate::arguments::LrFind;
use crate::process::{INTERRUPTED, print, stop_on_signal};

pub fn run(arguments: &LrFind) -> anyhow::Result<ExitCode> {
    let experiment = settings::load(&arguments.config, &arguments.overrides)?;
    let svg = arguments.svg.as_deref();
    if let Some(svg) = svg {
        require_new_file(svg, "--svg")?;
    }
    let range = Range {
        from: arguments.from,
        to: arguments.to,
        steps: arguments.steps,
    };
    let threads = arguments.compute.use_threads();
    let interrupter = Interrupter::new();
    stop_on_signal(&interrupter, true)?;
    let mut console = Console::new();
    let device = &arguments.compute.device;
    let found = find(
        &experiment,
        &range,
        device,
        threads,
        &interrupter,
        &mut console,
    )?;
    if interrupter.should_stop() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let curve = Curve {
        x_label: "learning rate",
        y_label: "smoothed training loss",
        x: &found.rates,
        y: &found.losses,
        mark: found.suggestion,
    };
    print(&curve.to_text())?;
    if let Some(svg) = svg {
        write_new(svg, curve.to_svg().as_bytes())?;
    }
    print(&match found.suggestion {
        Some(rate) => format!("half way down its longest valley the rate is {rate:.2e} (marked)\n"),
        None => "the loss hardly falls: try more --steps, or a lower --from\n".into(),
    })
}
