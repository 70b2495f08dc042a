//! What is wrong with an image that cannot be decoded: our words, then the decoder's as a quotation.

use std::fmt::Display;

/// An image that ends before its data does.
pub(super) fn truncated(name: &str) -> String {
    format!("a truncated {name}")
}

/// An image that the decoder refuses for the reason `words`.
pub(super) fn damaged(name: &str, words: impl Display) -> String {
    format!("a damaged {name} ({})", quoted(words))
}

/// An image of a kind that is not read, by the decoder's `words`.
pub(super) fn unread(name: &str, words: impl Display) -> String {
    format!("a {name} of a kind that is not read ({})", quoted(words))
}

/// The decoder's words in one line, without the names of types that some end with.
fn quoted(words: impl Display) -> String {
    let words = words.to_string();
    let words = words.split(" while decoding").next().unwrap_or_default();
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ").replace('"', "'");
    format!("the decoder says \"{}\"", words.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoders_words_come_after_ours_in_one_line() {
        assert_eq!(
            damaged(
                "PNG",
                "Bad \"chunk\".\nMore while decoding ChunkType { x: 1 }"
            ),
            "a damaged PNG (the decoder says \"Bad 'chunk'. More\")"
        );
        assert_eq!(
            unread("TIFF", "unsupported data type."),
            "a TIFF of a kind that is not read (the decoder says \"unsupported data type\")"
        );
        assert_eq!(truncated("GIF"), "a truncated GIF");
    }
}
