//! Weights from PyTorch as a checkpoint, which `eval`, `predict` and `export` accept.
//!
//! The names and shapes of the tensors determine the network, and the import prints the result. They do not determine
//! the stem, the normalisation of pixels and the names of classes. Flags give these, and the import reports each
//! default that it uses. Missing and unused tensors are refused, unless `--partial` is given.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use shufflenet_data::{DataError, Normalization, text};
use shufflenet_model::{
    ModelConfig, ShuffleNetV2, StateDict, StateDictError, Stem, groups, infer_config,
    num_parameters, to_safetensors,
};

use super::require_new_folder;
use crate::checkpoint::description::{Description, IMPORTED};
use crate::checkpoint::{self, Checkpoint, Progress};
use crate::device;
use crate::display::words::counted;
use crate::error::TrainError;
use crate::experiment::{Experiment, settings};
use crate::files::write_folder;

/// The file to import, and what the user gives besides it.
pub struct ImportRequest {
    /// A `.pth`, `.pt` or `.safetensors` file.
    pub weights: PathBuf,
    /// Prefix of the tensors' names, if a file has several networks.
    pub prefix: Option<String>,
    /// Experiment with the network. `None`: names and shapes determine the network.
    pub config: Option<PathBuf>,
    /// Keys of the experiment, as in `model.stem=cifar`.
    pub overrides: Vec<String>,
    /// Whether the network takes blue first, as OpenCV reads images. The import reorders its first convolution.
    pub bgr: bool,
    /// Mean and deviation by channel, of pixels scaled to 0..1.
    pub normalization: Option<Normalization>,
    /// Names of the classes, in the order of the logits.
    pub class_names: Option<Vec<String>>,
    /// Height and width of the images. `None`: the usual size for the stem.
    pub size: Option<usize>,
    /// Whether to take the tensors that fit and leave the others.
    pub partial: bool,
    /// The folder to make.
    pub out: PathBuf,
}

/// Imports weights. Returns lines on the content of the file and on the defaults that were used.
///
/// # Errors
/// Errors of the file, the network or the folder; [`TrainError::Misfit`] for tensors that do not fit.
pub fn import(request: &ImportRequest) -> Result<Vec<String>, TrainError> {
    let out = &request.out;
    require_new_folder(out)?;
    let weights = open(request)?;
    let (overrides, mut lines) = known(request, &weights)?;
    let (experiment, size) = sized(request, overrides)?;
    let model = experiment.model.clone();
    model.validate(size, size)?;
    let channels = model.input_channels();
    let configured = experiment.data.normalization.clone();
    let (normalization, note) = normalization(request, configured, channels, &weights)?;
    let class_names = class_names(request.class_names.as_deref(), model.classes())?;
    let network = ShuffleNetV2::new(
        &model,
        experiment.train.seed,
        &device::open(device::DEFAULT)?,
    )?;
    let (network, fit) = weights.load(network).map_err(Box::new)?;
    if !(fit.is_exact() || request.partial) {
        return Err(TrainError::Misfit {
            path: request.weights.clone(),
            network: model.to_string(),
            fit: Box::new(fit),
        });
    }
    let parameters = num_parameters(&network);
    let checkpoint = Checkpoint {
        weights: encoded(out, to_safetensors(&network))?,
        average: None,
        optimizer: encoded(out, shufflenet_model::weights::no_tensors())?,
        progress: Progress::default(),
        description: Description {
            experiment,
            data_sha256: String::new(),
            class_names,
            unnamed: request.class_names.is_none(),
            chosen_on: None,
            teachers_sha256: Vec::new(),
            input: [channels, size, size],
            normalization,
        },
    };
    write_folder(out, |folder| checkpoint::write(folder, &checkpoint))?;
    lines.push(format!(
        "network    {}, {channels} channels in, images of {size}x{size}: {}",
        model.with_stem(),
        counted(parameters, "parameter")
    ));
    lines.extend(note);
    if request.bgr {
        lines
            .push("colours    blue, green, red in the file; red, green, blue in the import".into());
    }
    if request.partial && fit.missing.iter().any(|name| name == "fc.weight") {
        lines.push(format!(
            "note       the file has no classifier: one of {} was made (--classes), untrained",
            counted(model.classes(), "class")
        ));
    }
    lines.push(format!("tensors    {fit}"));
    lines.push(format!("written    {}", out.display()));
    Ok(lines)
}

/// The experiment, and the side of its images: that of --size, of `data.options.size`, or else the stem's usual one.
fn sized(
    request: &ImportRequest,
    mut overrides: Vec<String>,
) -> Result<(Experiment, usize), TrainError> {
    const SIZE: &str = "data.options.size";
    let config = request.config.as_deref();
    let set = settings::value_of(&overrides, SIZE);
    if let Some(size) = request.size.filter(|_| set.is_none()) {
        overrides.push(format!("{SIZE}={size}"));
    }
    let is_of_network = |over: &&String| {
        over.starts_with("--") || over.split(['.', '=', ' ']).next() == Some("model")
    };
    let model = match config {
        Some(_) => settings::load_or_assemble(config, &overrides)?.model,
        // The other keys are not valid without the size, and the stem decides the size.
        None => {
            let network: Vec<String> = overrides.iter().filter(is_of_network).cloned().collect();
            settings::load_model(None, &network)?
        }
    };
    let Some(stem) = model.stem else {
        return Err(TrainError::Value {
            key: "--stem".into(),
            found: "not given, and a weight file does not record it".into(),
            accepted:
                "imagenet (torchvision's), seed (stride 2, pooling without padding), cifar (stride 1, no pooling)"
                    .into(),
        });
    };
    let customary = stem.customary_size();
    if let (Some(size), Some(set)) = (request.size, &set)
        && size.to_string() != *set
    {
        return Err(TrainError::Value {
            key: "--size".into(),
            found: format!("{size}, with {SIZE} = {set}"),
            accepted: "one of the two".into(),
        });
    }
    if config.is_none() && request.size.is_none() && set.is_none() {
        overrides.push(format!("{SIZE}={customary}"));
    }
    let mut experiment = settings::load_or_assemble(config, &overrides)?;
    let data = &mut experiment.data;
    let size = match (request.size, data.format.is_encoded()) {
        (Some(size), _) => size,
        (None, true) => data.options.size as usize,
        (None, false) => customary,
    };
    if config.is_none() && stem == Stem::Cifar {
        // The small images of this stem are not cropped.
        data.options.resize.get_or_insert(size as u32);
    }
    Ok((experiment, size))
}

/// The file's tensors, with red first.
fn open(request: &ImportRequest) -> Result<StateDict, TrainError> {
    let mut weights =
        StateDict::open(&request.weights, request.prefix.as_deref()).map_err(Box::new)?;
    if let Some(why) = weights.unclear_head.as_ref().filter(|_| !request.partial) {
        let why = format!("{why}; --partial takes the rest without a classifier");
        let path = request.weights.clone();
        return Err(Box::new(StateDictError::Network { path, why }).into());
    }
    if request.bgr && !weights.swap_colours() {
        return Err(TrainError::Value {
            key: "--bgr".into(),
            found: "given, and the first convolution does not take three colours".into(),
            accepted: "networks for colour images".into(),
        });
    }
    Ok(weights)
}

/// Keys of the experiment, inferred ones first, and notes on the file.
fn known(
    request: &ImportRequest,
    weights: &StateDict,
) -> Result<(Vec<String>, Vec<String>), TrainError> {
    let mut notes = vec![format!(
        "file       {}: {}, {}",
        request.weights.display(),
        weights.kind,
        counted(weights.len(), "tensor")
    )];
    if !weights.prefix.is_empty() {
        let outside = match &weights.outside[..] {
            [] => "no other tensors".into(),
            [name] => format!("one other tensor: {name}"),
            names => format!("{} other tensors: {}", names.len(), groups(names)),
        };
        notes.push(format!(
            "prefix     `{}` is removed from the names; {outside}",
            weights.prefix
        ));
    }
    if weights.megvii {
        notes.push(
            "names      Megvii's, replaced by torchvision's; channels are reordered to match"
                .into(),
        );
    }
    if let Some(head) = &weights.head {
        notes.push(format!("head       {head}"));
    }
    if request.config.is_some() {
        return Ok((request.overrides.clone(), notes));
    }
    let model = infer_config(weights).map_err(Box::new)?;
    let [name, root] = IMPORTED;
    let mut overrides = vec![
        format!("name={name}"),
        "data.format=folder".into(),
        format!("data.root={root}"),
        "data.options.on_bad_image=skip".into(),
    ];
    overrides.extend(keys(&model));
    overrides.extend(request.overrides.iter().cloned());
    Ok((overrides, notes))
}

/// The network that [`infer_config`] found, as keys of an experiment.
fn keys(model: &ModelConfig) -> Vec<String> {
    let width = match &model.widths {
        None => format!("model.scale={}", model.scale),
        Some(widths) => format!("model.widths={widths:?}"),
    };
    let mut keys = vec![
        width,
        format!("model.layout={}", model.layout),
        format!("model.repeats={:?}", model.repeats),
        format!("model.input_channels={}", model.input_channels()),
        format!("model.split_ratio={:?}", model.split_ratio),
        format!("model.squeeze_excitation={}", model.squeeze_excitation),
    ];
    keys.extend(
        model
            .classes
            .map(|classes| format!("model.classes={classes}")),
    );
    keys
}

/// The normalisation of the request or of the experiment, checked. Without either, none, with a note.
fn normalization(
    request: &ImportRequest,
    configured: Option<Normalization>,
    channels: usize,
    weights: &StateDict,
) -> Result<(Normalization, Option<String>), TrainError> {
    let given = request.normalization.clone();
    if let Some(normalization) = given.clone().or(configured) {
        normalization.check(channels).map_err(|mut error| {
            if given.is_some() {
                error.what = error.what.replace("data.normalization.", "--");
            }
            DataError::from(error)
        })?;
        return Ok((normalization, None));
    }
    let note = if weights.megvii {
        "note       no --mean and --std: pixels are only scaled to 0..1. Megvii's own code feeds \
         blue, green, red of 0..255: --bgr --mean 0,0,0 --std 0.00392157,0.00392157,0.00392157"
    } else {
        "note       no --mean and --std: pixels are only scaled to 0..1"
    };
    Ok((Normalization::identity(channels), Some(note.into())))
}

/// The names of classes in `file`, one per line.
///
/// # Errors
/// [`TrainError::Data`] if it cannot be read.
pub fn read_class_names(file: &Path) -> Result<Vec<String>, TrainError> {
    let text = text::read(file)?;
    let lines = text.trim_end().lines();
    Ok(lines.map(|line| line.trim().to_string()).collect())
}

/// The given names, checked, or the numbers of the classes.
fn class_names(names: Option<&[String]>, classes: usize) -> Result<Vec<String>, TrainError> {
    let Some(names) = names else {
        return Ok((0..classes).map(|class| class.to_string()).collect());
    };
    let refuse = |found: String| TrainError::Value {
        key: "--class-names".into(),
        found,
        accepted: format!("{classes} different names, one per line, in the order of the logits"),
    };
    if names.len() != classes {
        return Err(refuse(format!(
            "a list of {}",
            counted(names.len(), "line")
        )));
    }
    if let Some(line) = names.iter().position(String::is_empty) {
        return Err(refuse(format!("a list with nothing in line {}", line + 1)));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(refuse(format!("a list with {name} twice"))),
        None => Ok(names.to_vec()),
    }
}

fn encoded(
    path: &Path,
    bytes: Result<Vec<u8>, shufflenet_model::WeightsError>,
) -> Result<Vec<u8>, TrainError> {
    bytes.map_err(|source| TrainError::Weights {
        path: path.into(),
        source,
    })
}
