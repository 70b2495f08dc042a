//! Decodes every image before the first step, and leaves out or refuses bad images.
//!
//! The check of a large set shows a progress bar, and is remembered in the user's cache folder, so that a second start
//! decodes only changed images.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use shufflenet_data::{Checked, Dataset, OnBadImage, memory_of};

use crate::display::words::{counted, duration, thousands};
use crate::error::TrainError;
use crate::experiment::Experiment;

/// Fewer images are decoded at each start, because this takes seconds only and needs no file in the cache folder.
const FEWEST_REMEMBERED: usize = 500;
/// Number of bad images that are named. A set may have thousands.
const MOST_NAMED: usize = 10;

/// Checks the images of a part as `data.check` says, and leaves bad images out if `data.options.on_bad_image` says so.
/// Returns lines on the images that were left out, and on a check that took long.
///
/// # Errors
/// [`TrainError::BadImages`] with the first one and their number; [`TrainError::Value`] if all would be left out.
pub fn check(experiment: &Experiment, set: &mut Dataset) -> Result<Vec<String>, TrainError> {
    let data = &experiment.data;
    let memory = cache().filter(|_| set.len() >= FEWEST_REMEMBERED);
    let memory = memory.map(|folder| memory_of(&data.root, &folder));
    let mut checked = memory.as_deref().map(Checked::read).unwrap_or_default();
    let (bar, start) = (bar(set), Instant::now());
    let result = set.check(data.check, &mut checked, &|done| {
        bar.set_position(done as u64)
    });
    bar.finish_and_clear();
    if let Some(memory) = &memory {
        // If the cache cannot be written, the next start only takes longer.
        let _ = checked.write(memory);
    }
    let mut notes = Vec::new();
    if start.elapsed() > Duration::from_secs(2) {
        notes.push(format!(
            "images     {} of {} read in {}",
            thousands(result.read),
            thousands(set.len()),
            duration(start.elapsed())
        ));
    }
    let bad = result.bad;
    if bad.is_empty() {
        return Ok(notes);
    }
    let count = bad.len();
    let first = bad
        .first()
        .map_or(String::new(), |bad| bad.error.to_string());
    if data.options.on_bad_image == OnBadImage::Error {
        return Err(TrainError::BadImages { first, count });
    }
    if count == set.len() {
        return Err(TrainError::Value {
            key: format!("the number of readable images of {}", set.name),
            found: format!("0 of {count} (the first: {first})"),
            accepted: "1 or more".into(),
        });
    }
    notes.push(format!(
        "note       {} left out, because reading fails (`data verify` lists all):",
        counted(count, "image")
    ));
    let named = bad.iter().take(MOST_NAMED);
    notes.extend(named.map(|bad| format!("           {}", bad.error)));
    let records: Vec<usize> = bad.iter().map(|bad| bad.record).collect();
    set.retain(|record| records.binary_search(&record).is_err())?;
    Ok(notes)
}

/// The folder in which checked images are remembered: `$XDG_CACHE_HOME/shufflenet/images` or the system's equivalent.
fn cache() -> Option<PathBuf> {
    Some(dirs::cache_dir()?.join("shufflenet").join("images"))
}

/// A bar on a terminal; nothing is shown for a set without encoded images.
fn bar(set: &Dataset) -> ProgressBar {
    if !set.is_encoded() {
        return ProgressBar::hidden();
    }
    let template = "checking images {bar:30} {pos}/{len}  {per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(set.len() as u64).with_style(style)
}
