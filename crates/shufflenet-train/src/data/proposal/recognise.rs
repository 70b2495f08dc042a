//! Recognises the format of the data at a path, or what is there instead of data.

use std::fs;
use std::path::{Path, PathBuf};

use shufflenet_data::{Dataset, Format, Split, images_below, is_image_name};

use crate::display::words::{counted, plural};
use crate::error::TrainError;

const ACCEPTED: &str = "a folder of images with a folder for each class, a .csv or .jsonl list of images, or a set in the \
    files of CIFAR, MNIST or (with --features parquet) Hugging Face's parquet";

/// The format of the data at `root`.
///
/// # Errors
/// [`TrainError::Value`] with what was found instead.
pub(super) fn recognise(root: &Path) -> Result<Format, TrainError> {
    if let Some(other) = other_than_data(root) {
        return Err(refusal(root, other));
    }
    match Format::of(root) {
        Some(format) => Ok(format),
        None => Err(refusal(root, unrecognised(root))),
    }
}

/// Refuses a folder in which every image lies deeper than `CLASS/IMAGE`: its classes are probably not the folders at its
/// top.
///
/// # Errors
/// [`TrainError::Value`].
pub(super) fn check_depth(root: &Path, set: &Dataset, split: Split) -> Result<(), TrainError> {
    let above = match split {
        Split::Whole => 0,
        _ => 1,
    };
    let names = (0..set.len()).filter_map(|record| set.file(record));
    let mut depths = names.map(|(name, _)| name.components().count() - above);
    if depths.any(|depth| depth <= 2) {
        return Ok(());
    }
    let Some((example, _)) = set.file(0) else {
        return Ok(());
    };
    let classes = set.class_names.iter().take(3);
    let classes: Vec<&str> = classes.map(String::as_str).collect();
    let deeper = example.components().next().map(|first| root.join(first));
    let deeper = deeper.unwrap_or_default();
    let hint = match set.classes() == 1 || holds_parts(&deeper) {
        true => format!("--data {}, or ", deeper.display()),
        false => String::new(),
    };
    Err(TrainError::Value {
        key: "--data".into(),
        found: format!(
            "{}, whose images are all in folders of folders, as {} is, so that the {} would be {}",
            root.display(),
            example.display(),
            plural(set.classes(), "class"),
            classes.join(", ")
        ),
        accepted: format!(
            "{hint}CLASS/IMAGE, or --set data.format=folder, which takes the folders at the top as classes"
        ),
    })
}

/// Whether `folder` has a folder for training images.
fn holds_parts(folder: &Path) -> bool {
    let names = entries(folder).into_iter();
    let mut splits = names.filter_map(|path| Split::named(path.file_name()?.to_str()?));
    splits.any(|split| split == Split::Train)
}

fn refusal(root: &Path, what: String) -> TrainError {
    TrainError::Value {
        key: "--data".into(),
        found: format!("{}, {what}", root.display()),
        accepted: ACCEPTED.into(),
    }
}

/// Describes a file that is not data, by its name.
fn other_than_data(root: &Path) -> Option<String> {
    if !root.exists() {
        return Some("which does not exist".into());
    }
    let ending = root.extension().unwrap_or_default();
    let ending = ending.to_string_lossy().to_lowercase();
    let holds = |names: [&str; 2]| names.iter().all(|name| root.join(name).exists());
    if holds(["config.toml", "checkpoints"]) || holds(["manifest.json", "classifier.json"]) {
        return Some("which is a trained network: --from takes networks to start from".into());
    }
    if root.is_dir() {
        return None;
    }
    Some(match ending.as_str() {
        "pth" | "pt" | "safetensors" | "onnx" | "ckpt" | "h5" | "keras" => {
            "a network's file: `shufflenet import` makes a checkpoint of it, and --from takes that"
                .into()
        }
        "toml" => "a configuration: --config takes those".into(),
        "zip" | "rar" | "7z" | "tar" | "tgz" | "gz" | "xz" | "bz2" | "zst" => {
            "an archive: unpack it first".into()
        }
        _ if is_image_name(root) => "a single image".into(),
        _ => return None,
    })
}

/// The reason why no format was recognised.
fn unrecognised(root: &Path) -> String {
    if root.is_file() {
        return "a file that is not a list of images".into();
    }
    let listing = images_below(root);
    let list = entries(root).into_iter().find(|path| is_list(path));
    match (listing.images.len(), list) {
        (0, None) if listing.passed_over.is_empty() => "an empty folder".into(),
        (_, Some(list)) => format!(
            "a folder without folders, and with a list: did you mean --data {}?",
            list.display()
        ),
        (0, None) => format!("a folder without an image ({})", listing.passed_over),
        (images, None) => format!(
            "a folder with {} and no folder for each class",
            counted(images, "image")
        ),
    }
}

fn is_list(path: &Path) -> bool {
    Format::of(path).is_some_and(|format| format.name() == "manifest")
}

/// The paths in `folder`, sorted. Empty if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
