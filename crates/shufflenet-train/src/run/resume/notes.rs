//! Lines about the differences between a run and its resumption.

use shufflenet_model::Precision;

use super::{moved, ranks_of};
use crate::device::machine::Environment;
use crate::experiment::Experiment;
use crate::run::context::Run;

/// A line on the same data in another place. Encoded images are compared by names and sizes.
pub(super) fn place(run: &Run, saved: &Experiment) -> Option<String> {
    let [old, new] = moved(run, saved)?;
    let same = match run.sources.train.dataset().is_encoded() {
        true => "its images have the names and sizes of those",
        false => "the content is the same",
    };
    Some(format!(
        "resume     the data was {}, now it is {}: {same}",
        old.display(),
        new.display()
    ))
}

/// A note on the effect of a changed length on the schedule, if there is any.
pub(super) fn schedule(run: &Run, saved: &Experiment) -> Option<String> {
    let (before, now) = (saved.schedule(run.batches()).total(), run.total_steps());
    let kind = run.experiment.schedule.kind;
    (kind.follows_length() && before != now).then(|| {
        format!("resume     the {kind} schedule now ends at step {now}, it was {before}: rates change from here on")
    })
}

/// A note on another precision than the run's so far.
pub(super) fn precision(run: &Run, saved: &Experiment) -> Option<String> {
    let [before, now] = [saved, &run.experiment].map(|experiment| experiment.train.precision);
    (before != now).then(|| {
        let [before, now] = [before, now].map(Precision::name);
        format!("resume     activations are {now} from here on, they were {before}: the bits differ from an uninterrupted run's")
    })
}

/// A note on other bits, if the machine differs from that of the last start.
pub(super) fn machine(before: &serde_json::Value, now: &Environment) -> Option<String> {
    let pairs = [
        ("device", now.device()),
        ("adapter", now.adapter()),
        ("dispatch", now.dispatch()),
    ];
    let changes = pairs.into_iter().filter_map(|(key, now)| {
        let before = before.get(key)?.as_str()?;
        (before != now && !now.is_empty()).then(|| format!("{key} {before}, now {now}"))
    });
    let (ranks, now_ranks) = (ranks_of(before), now.ranks());
    let ranks_changed = (ranks != now_ranks).then(|| format!("ranks {ranks}, now {now_ranks}"));
    let changes: Vec<String> = changes.chain(ranks_changed).collect();
    (!changes.is_empty()).then(|| {
        let changes = changes.join(", ");
        format!("resume     {changes}: the bits may differ from an uninterrupted run's")
    })
}
