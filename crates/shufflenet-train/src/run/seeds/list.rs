//! The seeds of several runs, as `--seeds 1,2,3` and `seeds.toml` give them.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::checkpoint::store::SEEDS;
use crate::error::TrainError;
use crate::experiment::syntax;
use crate::files::replace;
use crate::refusals;

/// Different seeds, at least one, in the order of their runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    seeds: Vec<u64>,
}

/// The largest whole number that TOML has.
const LARGEST: u64 = i64::MAX as u64;

impl Seeds {
    /// Reads `1,2,3`.
    ///
    /// # Errors
    /// [`TrainError::Value`].
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        let refuse = |found: String| TrainError::Value {
            key: "--seeds".into(),
            found,
            accepted: "different whole numbers from 0, as in 1,2,3".into(),
        };
        let parts = text.split(',').map(str::trim);
        let seeds: Result<Vec<u64>, _> = parts.map(str::parse).collect();
        let seeds = seeds.map_err(|_| refuse(format!("`{text}`")))?;
        Self { seeds }.checked().map_err(refuse)
    }

    /// The seeds of the runs in `folder`, in its `seeds.toml`. `None`: it has no such file.
    ///
    /// # Errors
    /// [`TrainError::Io`]; [`TrainError::Config`].
    pub fn read(folder: &Path) -> Result<Option<Self>, TrainError> {
        let file = folder.join(SEEDS);
        if !file.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file).map_err(|e| TrainError::io("read", &file, e))?;
        let origin = file.display().to_string();
        let table = syntax::parse(&origin, &text)?;
        let read = refusals::from_table::<Self>(&table).map_err(|refusal| refusal.to_string());
        let checked = read.and_then(|seeds| {
            let accepted = "accepted: different whole numbers, as in seeds = [1, 2, 3]";
            let checked = seeds.checked();
            checked.map_err(|found| format!("seeds are {found}; {accepted}"))
        });
        checked
            .map(Some)
            .map_err(|message| TrainError::Config { origin, message })
    }

    /// Writes `seeds.toml` into `folder`.
    ///
    /// # Errors
    /// [`TrainError::Io`], [`TrainError::Encode`].
    pub(super) fn write(&self, folder: &Path) -> Result<(), TrainError> {
        let text = toml::to_string(self).map_err(|error| TrainError::Encode {
            what: "the seeds",
            message: error.to_string(),
        })?;
        replace(&folder.join(SEEDS), text.as_bytes())
    }

    /// The seeds, or the reason why they are refused.
    fn checked(self) -> Result<Self, String> {
        let wrong = |(place, seed): (usize, &u64)| {
            let before = self.seeds.get(..place).unwrap_or_default();
            match before.contains(seed) {
                true => Some(format!("{self}, which has {seed} twice")),
                false => (*seed > LARGEST).then(|| format!("{self}, and {LARGEST} is the largest")),
            }
        };
        match self.seeds.iter().enumerate().find_map(wrong) {
            Some(wrong) => Err(wrong),
            None if self.seeds.is_empty() => Err("an empty list".into()),
            None => Ok(self),
        }
    }

    /// The seeds.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.seeds.iter().copied()
    }

    /// The seed of the first run.
    pub fn first(&self) -> u64 {
        // There is at least one seed, because `checked` refuses an empty list.
        self.seeds.first().copied().unwrap_or_default()
    }

    /// Whether `seed` is one of them.
    pub(super) fn has(&self, seed: u64) -> bool {
        self.seeds.contains(&seed)
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        f.write_str(&seeds.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_different_whole_numbers() {
        let seeds = Seeds::parse("3, 1,20").unwrap();
        assert_eq!(seeds.iter().collect::<Vec<_>>(), [3, 1, 20]);
        for (text, found) in [
            ("", "``"),
            ("1,,2", "`1,,2`"),
            ("1,two", "`1,two`"),
            ("-1", "`-1`"),
            ("1,2,1", "1,2,1, which has 1 twice"),
            ("9223372036854775808", "9223372036854775807 is the largest"),
        ] {
            let line = Seeds::parse(text).unwrap_err().to_string();
            assert!(
                line.starts_with("--seeds is ") && line.contains(found),
                "{line}"
            );
        }
    }

    #[test]
    fn the_file_can_be_read_back_and_a_damaged_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Seeds::read(folder.path()).unwrap().is_none());
        let seeds = Seeds::parse("1,2").unwrap();
        seeds.write(folder.path()).unwrap();
        assert_eq!(Seeds::read(folder.path()).unwrap(), Some(seeds));
        for damaged in [
            "seeds = []",
            "seeds = [1, 1]",
            "seeds = [\"a\"]",
            "[",
            "x = 1",
        ] {
            fs::write(folder.path().join(SEEDS), damaged).unwrap();
            let line = Seeds::read(folder.path()).unwrap_err().to_string();
            assert!(line.contains(SEEDS) && line.lines().count() == 1, "{line}");
        }
    }
}
