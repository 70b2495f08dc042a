//! The differences between a file's tensors and a network's.

use crate::words::counted;
use std::collections::BTreeMap;
use std::fmt;

/// The differences between a file's tensors and a network's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// Tensors of the network that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the network lacks.
    pub unused: Vec<String>,
    /// Tensors of another shape or not of a floating-point type, each with what was found and what is
    /// expected.
    pub misshapen: Vec<String>,
    /// Number of tensors that are loaded.
    pub loaded: usize,
}

impl Fit {
    /// Whether every tensor fits and none is missing or unused.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.misshapen.is_empty()
    }
}

/// The largest number of names that are listed one by one.
const MOST_LISTED: usize = 10;

/// A line of counts, then a line for each tensor that does not fit, up to ten of each kind.
impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missing, unused) = (self.missing.len(), self.unused.len());
        let misshapen = self.misshapen.len();
        write!(
            f,
            "{} fit, {missing} missing, {unused} unused, {misshapen} misshapen",
            counted(self.loaded, "tensor", "tensors")
        )?;
        let lists = [
            ("missing", &self.missing),
            ("unused", &self.unused),
            ("misshapen", &self.misshapen),
        ];
        for (what, names) in lists {
            for name in names.iter().take(MOST_LISTED) {
                write!(f, "\n  {what:<10} {name}")?;
            }
            if let Some(more) = names.get(MOST_LISTED..).filter(|more| !more.is_empty()) {
                write!(f, "\n  {what:<10} {} more: {}", more.len(), groups(more))?;
            }
        }
        Ok(())
    }
}

/// The names counted by their first part, or by their first two where all share the first:
/// `optimizer.state 360, model_ema 252`. The largest group comes first.
pub fn groups(names: &[String]) -> String {
    let group = |parts: usize| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in names {
            let parts: Vec<&str> = name.split('.').take(parts).collect();
            *counts.entry(parts.join(".")).or_default() += 1;
        }
        counts
    };
    let mut counts = group(1);
    if counts.len() == 1 {
        counts = group(2);
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = counts.iter().take(MOST_LISTED);
    let mut shown: Vec<String> = shown
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if counts.len() > MOST_LISTED {
        let rest: usize = counts
            .iter()
            .skip(MOST_LISTED)
            .map(|(_, count)| count)
            .sum();
        shown.push(format!("others {rest}"));
    }
    shown.join(", ")
}
