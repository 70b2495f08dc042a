//! Parameters by name, with `*` for any characters: `fc.*`, `stage4.*.weight`.

use crate::error::TrainError;

/// Refuses a pattern under `key` that matches none of `names`.
///
/// # Errors
/// [`TrainError::Value`] with some of the names.
pub fn require_match<'a>(
    key: &str,
    pattern: &str,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), TrainError> {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    if names.iter().any(|name| matches(pattern, name)) {
        return Ok(());
    }
    names.sort_unstable();
    names.truncate(5);
    Err(TrainError::Value {
        key: key.into(),
        found: format!("`{pattern}`"),
        accepted: format!(
            "what names a parameter of the network, `*` for any characters ({}, ...)",
            names.join(", ")
        ),
    })
}

/// Whether `pattern` matches `name`.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    let mut ends = name
        .char_indices()
        .map(|(place, _)| place)
        .chain([name.len()]);
    ends.any(|place| matches(rest, &name[place..]))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_matches_any_characters() {
        for pattern in ["fc.weight", "fc.*", "*", "*weight", "f*.w*t", "**"] {
            assert!(matches(pattern, "fc.weight"), "{pattern}");
        }
        for pattern in ["", "fc", "fc.", "weight", "*.bias", "c*", "fc.weight*."] {
            assert!(!matches(pattern, "fc.weight"), "{pattern}");
        }
    }
}
