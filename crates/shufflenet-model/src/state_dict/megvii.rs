//! Weights under the names of [Megvii's repository](https://github.com/megvii-model/ShuffleNet-Series) and of
//! detectors built on it: `first_conv`, `features.N.branch_main` (or `stageS.U.branch_main`), `conv_last`.
//!
//! Its units shuffle at their start: the channels of even places pass on, those of odd places go through the
//! unit's `branch_main`. Torchvision's units shuffle at their end. Let a unit of either kind be followed from
//! the stage's first to its last channel: each channel is made by some unit, passes through some others and
//! is consumed by one, or leaves the stage. Every unit of both kinds makes as many channels that a given later
//! unit consumes. So the channels of one unit can be renumbered such that each is consumed where it was in
//! the original: a permutation of each convolution's outputs, and of the inputs that consume them. The
//! renumbered network computes the same.
//!
//! One thing must hold: the two branches of a stage's first unit are equally wide. `branch_proj` keeps the
//! channels that the stage gets, so they are at x0.5 alone (24 and 24 of 48). At x1.0 the second stage joins
//! 24 and 92 channels, for which torchvision's network, with 58 and 58, has no place.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::tensor::Tensors;
use crate::plan::{MOST_REPEATS, MOST_STAGES};

/// A name that every such network has, in either numbering of its units.
pub(super) const FIRST_UNIT: [&str; 2] = [
    "features.0.branch_main.0.weight",
    "stage2.0.branch_main.0.weight",
];

/// The entries of a `branch_main` without squeeze-and-excitation.
const ENTRIES: usize = 8;

pub(super) fn is_megvii(tensors: &Tensors) -> bool {
    FIRST_UNIT.iter().any(|name| tensors.contains_key(*name))
}

/// Half of the widest stage that is read.
const WIDEST: usize = 4096;

/// An order of channels: at each place, the original's place.
type Channels = Rc<[usize]>;

/// The orders around a unit. `None`: as in the original.
#[derive(Clone, Default)]
struct UnitOrder {
    inputs: Option<Channels>,
    /// Outputs of `branch_proj`.
    left: Option<Channels>,
    /// Outputs of `branch_main`.
    right: Option<Channels>,
}

/// Gives the tensors torchvision's names, and the order of channels that goes with them. Other names stay.
///
/// # Errors
/// A network for which torchvision's has no place, in words.
pub(super) fn rename(tensors: Tensors) -> Result<Tensors, String> {
    let mut units: BTreeMap<String, (String, UnitOrder)> = BTreeMap::new();
    let mut incoming = None;
    let stages = stages(&tensors);
    if stages.len() > MOST_STAGES || stages.iter().any(|units| units.len() > MOST_REPEATS + 1) {
        let units: Vec<usize> = stages.iter().map(Vec::len).collect();
        return Err(format!(
            "stages of {units:?} units; up to {MOST_STAGES} stages of {} are read",
            MOST_REPEATS + 1
        ));
    }
    for (stage, names) in stages.into_iter().enumerate() {
        let half = half(&tensors, stage + 2, &names)?;
        let routes = routes(half, names.len() - 1)
            .ok_or_else(|| format!("the channels of stage {} cannot be followed", stage + 2))?;
        let mut outputs = routes.outputs.into_iter();
        let mut inputs = routes.inputs.into_iter();
        for (unit, name) in names.into_iter().enumerate() {
            let order = UnitOrder {
                left: if unit == 0 { outputs.next() } else { None },
                right: outputs.next(),
                inputs: if unit == 0 {
                    incoming.take()
                } else {
                    inputs.next()
                },
            };
            units.insert(name, (format!("stage{}.{unit}.", stage + 2), order));
        }
        incoming = inputs.next();
    }
    let mut renamed = Tensors::new();
    for (name, mut tensor) in tensors {
        let name = if let Some(rest) = name.strip_prefix("first_conv.") {
            format!("conv1.{rest}")
        } else if let Some(rest) = name.strip_prefix("conv_last.") {
            if rest == "0.weight" {
                tensor.order = [None, incoming.clone()];
            }
            format!("conv5.{rest}")
        } else if let Some((unit, rest)) = in_unit(&name)
            && let Some((unit, order)) = units.get(unit)
        {
            let (branch, entry) = placed(rest)?;
            tensor.order = order.of(branch, entry);
            let ours = if branch == MAIN { "branch2" } else { "branch1" };
            format!("{unit}{}", rest.replacen(branch, ours, 1))
        } else {
            name
        };
        renamed.insert(name, tensor);
    }
    Ok(renamed)
}

/// Torchvision's `branch2` and `branch1`. The numbers of their entries are the same.
const MAIN: &str = "branch_main";
const PROJ: &str = "branch_proj";

impl UnitOrder {
    /// The orders of outputs and inputs of a branch's tensor by its entry. Entries are convolutions, batch
    /// norms and ReLUs: 1x1, 3x3 depthwise and 1x1 in `branch_main`, depthwise and 1x1 in `branch_proj`.
    fn of(&self, branch: &str, entry: usize) -> [Option<Channels>; 2] {
        let (left, right, inputs) = (self.left.clone(), self.right.clone(), self.inputs.clone());
        match (branch, entry) {
            (MAIN, 0) => [None, inputs],
            (MAIN, 5 | 6) => [right, None],
            (PROJ, 0 | 1) => [inputs, None],
            (PROJ, 2) => [left, inputs],
            (PROJ, 3) => [left, None],
            _ => [None, None],
        }
    }
}

/// Branch and entry of `branch_main.5.weight`.
fn placed(rest: &str) -> Result<(&'static str, usize), String> {
    let mut parts = rest.split('.');
    let branch = match parts.next() {
        Some(MAIN) => MAIN,
        _ => PROJ,
    };
    match parts.next().and_then(|entry| entry.parse().ok()) {
        Some(entry) if entry < ENTRIES => Ok((branch, entry)),
        _ => Err(format!(
            "`{rest}` is no part of a ShuffleNetV2 unit: another network of Megvii's, such as \
             ShuffleNetV2+ or one with squeeze-and-excitation, is not read"
        )),
    }
}

/// The unit's part of a name, with its last dot, and the rest.
fn in_unit(name: &str) -> Option<(&str, &str)> {
    let place = name.find(".branch_")? + 1;
    Some(name.split_at(place))
}

/// The units of each stage by the start of their names. A `branch_proj` begins a stage.
fn stages(tensors: &Tensors) -> Vec<Vec<String>> {
    let numbers = |unit: &str| -> Vec<usize> {
        let digits = unit.split(|char: char| !char.is_ascii_digit());
        digits.filter_map(|digits| digits.parse().ok()).collect()
    };
    let names = tensors.keys().filter_map(|name| Some(in_unit(name)?.0));
    let units: BTreeMap<Vec<usize>, &str> = names.map(|unit| (numbers(unit), unit)).collect();
    let mut stages: Vec<Vec<String>> = Vec::new();
    for unit in units.into_values() {
        match (
            stages.last_mut(),
            tensors.contains_key(&format!("{unit}branch_proj.0.weight")),
        ) {
            (Some(stage), false) => stage.push(unit.into()),
            _ => stages.push(vec![unit.into()]),
        }
    }
    stages
}

/// Half the channels of a stage, where all branches have as many.
fn half(tensors: &Tensors, stage: usize, units: &[String]) -> Result<usize, String> {
    let outputs = |name: String| match tensors.get(&name).map(|tensor| &tensor.shape[..]) {
        Some(&[outputs, ..]) => Ok(outputs),
        _ => Err(format!("{name} is missing")),
    };
    let mut widths = Vec::new();
    for (place, unit) in units.iter().enumerate() {
        if place == 0 {
            widths.push(outputs(format!("{unit}branch_proj.2.weight"))?);
        }
        widths.push(outputs(format!("{unit}branch_main.5.weight"))?);
    }
    match widths[..] {
        [left, right, ..] if left != right => Err(format!(
            "under Megvii's names stage {stage} joins {left} and {right} channels, and torchvision's network, \
             which is trained here, joins equal halves; only x0.5, where they are equal, can be imported"
        )),
        [half, ref others @ ..] if half <= WIDEST && others.iter().all(|&other| other == half) => {
            Ok(half)
        }
        _ => Err(format!(
            "the branches of stage {stage} have {widths:?} channels"
        )),
    }
}

struct Routes {
    /// Order of the outputs of each branch: the two of the first unit, then one of each unit.
    outputs: Vec<Channels>,
    /// Order of the inputs of each unit after the first, and at the stage's end.
    inputs: Vec<Channels>,
}

/// A channel by the branch that makes it, and its place there.
type Channel = (usize, usize);

/// Renumbers the channels of a stage; `None` where some unit consumes other numbers of them.
fn routes(half: usize, units: usize) -> Option<Routes> {
    // Torchvision's: the halves are interleaved, then the second half is consumed.
    let (mut ours, end) = follow(half, units, |state| {
        let shuffled = interleaved(state, half);
        let (kept, used) = shuffled.split_at(half);
        (kept.to_vec(), used.to_vec())
    });
    ours.push(interleaved(&end, half));
    // Megvii's: odd places are consumed. The end of a stage is not shuffled.
    let (mut theirs, end) = follow(half, units, |state| {
        let every = |first: usize| state.iter().skip(first).step_by(2).copied().collect();
        (every(0), every(1))
    });
    theirs.push(end);
    let mut outputs = vec![vec![0; half]; units + 2];
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
        ours.sort_unstable();
        theirs.sort_unstable();
        for (&(branch, place), &(other, theirs)) in ours.iter().zip(&theirs) {
            if branch != other {
                return None;
            }
            *outputs.get_mut(branch)?.get_mut(place)? = theirs;
        }
    }
    let inputs = ours.iter().zip(&theirs).map(|(ours, theirs)| {
        let places: BTreeMap<Channel, usize> = theirs
            .iter()
            .enumerate()
            .map(|(place, &channel)| (channel, place))
            .collect();
        let original =
            |&(branch, place): &Channel| Some((branch, *outputs.get(branch)?.get(place)?));
        let order = ours
            .iter()
            .map(|channel| places.get(&original(channel)?).copied());
        order.collect::<Option<Vec<usize>>>().map(Rc::from)
    });
    Some(Routes {
        inputs: inputs.collect::<Option<Vec<Channels>>>()?,
        outputs: outputs.into_iter().map(Rc::from).collect(),
    })
}

/// Torchvision's shuffle of two halves.
fn interleaved(state: &[Channel], half: usize) -> Vec<Channel> {
    let (left, right) = state.split_at(half);
    let pairs = left.iter().zip(right);
    pairs.flat_map(|(&left, &right)| [left, right]).collect()
}

/// The channels that each unit consumes, and those at the end, where `split` divides the channels before a
/// unit into kept and consumed ones.
fn follow(
    half: usize,
    units: usize,
    split: impl Fn(&[Channel]) -> (Vec<Channel>, Vec<Channel>),
) -> (Vec<Vec<Channel>>, Vec<Channel>) {
    let made = |branch: usize| (0..half).map(move |place| (branch, place));
    let mut state: Vec<Channel> = made(0).chain(made(1)).collect();
    let mut consumed = Vec::new();
    for unit in 0..units {
        let (mut kept, used) = split(&state);
        consumed.push(used);
        kept.extend(made(unit + 2));
        state = kept;
    }
    (consumed, state)
}
