//! Parses the text of a file as TOML. An error shows the line and describes its fault in this project's words.

use toml::Table;

use crate::error::TrainError;

/// The longest line that a message shows, in characters.
const LONGEST: usize = 60;

/// Messages of the parser, each with the message that replaces it.
const WORDS: [(&str, &str); 7] = [
    ("duplicate key", "the key or section is given twice"),
    ("string values must be quoted", "text must be in quotes"),
    ("key with no value", "`=` and a value are missing"),
    ("unclosed table", "a bracket is not closed"),
    ("unclosed array", "a bracket is not closed"),
    ("unclosed inline table", "a brace is not closed"),
    (
        "invalid basic string, expected `\"`",
        "a quote is not closed",
    ),
];

/// The table that `text`, from `origin`, describes.
///
/// # Errors
/// [`TrainError::Config`] with the line.
pub(crate) fn parse(origin: &str, text: &str) -> Result<Table, TrainError> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(0, |before| before.matches('\n').count());
        let written = text.lines().nth(line).unwrap_or_default().trim();
        let written = match written.chars().count() {
            1..=LONGEST => format!("`{written}`"),
            _ => "this line".into(),
        };
        TrainError::Config {
            origin: format!("{origin}:{}", line + 1),
            message: format!("{written} is not TOML ({})", reason(error.message())),
        }
    })
}

fn reason(message: &str) -> String {
    let mut words = WORDS.iter();
    match words.find(|(theirs, _)| message.starts_with(theirs)) {
        Some((_, ours)) => (*ours).into(),
        None => format!("the parser says \"{}\"", message.replace('\n', ", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_toml_is_shown_with_its_fault() {
        for (text, line) in [
            (
                "[train]\nepochs = 3\nepochs = 4\n",
                "a.toml:3: `epochs = 4` is not TOML (the key or section is given twice)",
            ),
            (
                "[train]\nepochs = abc\n",
                "a.toml:2: `epochs = abc` is not TOML (text must be in quotes)",
            ),
            (
                "[train]\nepochs 3\n",
                "a.toml:2: `epochs 3` is not TOML (`=` and a value are missing)",
            ),
            (
                "[train\n",
                "a.toml:1: `[train` is not TOML (a bracket is not closed)",
            ),
            (
                "name = \"x\n",
                "a.toml:1: `name = \"x` is not TOML (a quote is not closed)",
            ),
        ] {
            assert_eq!(parse("a.toml", text).unwrap_err().to_string(), line);
        }
        let line = parse("a.toml", "x = \"\\q\"\n").unwrap_err().to_string();
        assert!(
            line.starts_with("a.toml:1: `x = \"\\q\"` is not TOML (the parser says \""),
            "{line}"
        );
        let long = format!("x = {}", "y".repeat(100));
        let line = parse("a.toml", &long).unwrap_err().to_string();
        assert!(
            line.starts_with("a.toml:1: this line is not TOML"),
            "{line}"
        );
    }
}
