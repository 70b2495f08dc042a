//! Finds the classifier under the names that people give it: `classifier`, `head`, `fc.1` behind a dropout.
//!
//! A classifier is a matrix `[classes, channels of the last convolution]`, with or without a bias. Where one
//! tensor alone has that shape, it is the classifier. Where several have it, or where another layer follows
//! it, nothing is guessed.

use super::tensor::{ForeignTensor, Kind, Source, Tensors};

/// What was found of a classifier.
pub(super) enum Head {
    /// The network's own name is there, or there is no candidate.
    AsNamed,
    /// The classifier's name, without `.weight`.
    Found(String),
    /// Why none was chosen.
    Unclear(String),
}

/// Looks for the classifier among the tensors of the network, and then beside the network: in
/// `backbone.conv1...`, `head.weight` the backbone has the prefix alone.
pub(super) fn find(network: &Tensors, beside: &Tensors, width: usize) -> Head {
    if network.contains_key("fc.weight") {
        return match network.contains_key("fc.bias") {
            true => Head::AsNamed,
            false => Head::Found("fc".into()),
        };
    }
    for tensors in [network, beside] {
        let matrices = || {
            tensors.iter().filter_map(|(name, tensor)| {
                let stem = name.strip_suffix("weight")?;
                let stem = stem.strip_suffix('.').unwrap_or(stem);
                match tensor.shape[..] {
                    [outputs, inputs] if tensor.is_float() => Some((stem, outputs, inputs)),
                    _ => None,
                }
            })
        };
        let candidates: Vec<(&str, usize, usize)> = matrices()
            .filter(|&(_, _, inputs)| inputs == width)
            .collect();
        let names = |found: &[(&str, usize, usize)]| {
            let names = found.iter();
            let names: Vec<String> = names
                .map(|(stem, outputs, inputs)| format!("{} [{outputs}, {inputs}]", weight(stem)))
                .collect();
            names.join(", ")
        };
        match candidates[..] {
            [] => {}
            [(stem, outputs, _)] => {
                let after: Vec<_> = matrices()
                    .filter(|&(other, _, inputs)| inputs == outputs && other != stem)
                    .collect();
                return if after.is_empty() {
                    Head::Found(stem.into())
                } else {
                    Head::Unclear(format!(
                        "the classifier has several layers ({}, then {}), the network's has one",
                        names(&candidates),
                        names(&after)
                    ))
                };
            }
            _ => {
                return Head::Unclear(format!(
                    "several tensors have the shape of a classifier: {}",
                    names(&candidates)
                ));
            }
        }
    }
    Head::AsNamed
}

/// Moves the classifier called `stem` to the network's name. Returns a line on that.
pub(super) fn place(network: &mut Tensors, beside: &mut Tensors, stem: &str) -> Option<String> {
    let mut take = |name: &str| network.remove(name).or_else(|| beside.remove(name));
    let matrix = take(&weight(stem))?;
    let bias = take(&dotted(stem, "bias"));
    let outputs = *matrix.shape.first()?;
    let without = match bias {
        Some(_) => "",
        None => ", without a bias: its bias is 0",
    };
    let line = format!(
        "`{}` {:?} is the classifier{without}",
        weight(stem),
        matrix.shape
    );
    let zeros = || ForeignTensor::rows(vec![outputs], Kind::F32, Source::Zeros);
    network.insert("fc.weight".into(), matrix);
    network.insert("fc.bias".into(), bias.unwrap_or_else(zeros));
    Some(line)
}

fn weight(stem: &str) -> String {
    dotted(stem, "weight")
}

fn dotted(stem: &str, leaf: &str) -> String {
    match stem {
        "" => leaf.into(),
        _ => format!("{stem}.{leaf}"),
    }
}
