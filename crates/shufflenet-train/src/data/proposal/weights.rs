//! Finds the weights that `--from` names.

use std::path::{Path, PathBuf};

use shufflenet_data::expand_home;

use crate::checkpoint;
use crate::checkpoint::description::Description;
use crate::checkpoint::store;
use crate::error::TrainError;

/// The folder that `weights fetch` fills.
const FETCHED: &str = "weights";
/// The networks that `weights fetch` can get.
const NAMES: [&str; 4] = ["x0.5", "x1.0", "x1.5", "x2.0"];

/// Path of the network called `name`.
pub(super) fn place(name: &str) -> PathBuf {
    match NAMES.contains(&name) {
        true => Path::new(FETCHED).join(name),
        false => expand_home(Path::new(name)),
    }
}

/// A network to start from.
pub(super) struct Start {
    /// The run, checkpoint or weight file.
    pub path: PathBuf,
    /// Description of the network.
    pub description: Description,
}

impl Start {
    /// The network called `name`: `x1.0` is the one in `weights/x1.0`, anything else is a path.
    ///
    /// # Errors
    /// [`TrainError::Value`]: nothing is there. What the checkpoint refuses.
    pub(super) fn of(name: &str) -> Result<Self, TrainError> {
        let refuse = |found: String, accepted: String| TrainError::Value {
            key: "--from".into(),
            found,
            accepted,
        };
        let path = place(name);
        if !path.exists() && NAMES.contains(&name) {
            return Err(refuse(
                format!("{name}, and {} does not exist", path.display()),
                format!("{name} after `shufflenet weights fetch {name}`"),
            ));
        }
        if !path.exists() {
            let names = NAMES.join(", ");
            let accepted = format!("{names}, a run's folder or a checkpoint's");
            return Err(refuse(format!("{name}, which does not exist"), accepted));
        }
        let is_foreign = |ending: &str| path.extension().is_some_and(|found| found == ending);
        if path.is_file() && ["pth", "pt", "onnx"].into_iter().any(is_foreign) {
            return Err(refuse(
                format!("{name}, a network's file"),
                "a checkpoint, as `shufflenet import` makes of such a file".into(),
            ));
        }
        let located = store::locate(&path)?;
        let description = checkpoint::load(&located.folder)?.description;
        Ok(Self { path, description })
    }
}
