//! A network in words: what notes, tables and errors call it.
//!
//! There are two forms, a list of settings ([`ModelConfig::in_words`]) and a noun with its attributes
//! ([`ModelConfig`]'s `Display`, [`ModelConfig::with_stem`]).

use std::fmt;

use crate::config::{Layout, ModelConfig, Scale, Stem};

impl ModelConfig {
    /// The settings as a list, for example "standard, scale 0.5, cifar stem, 10 classes". With `input`, the
    /// channels, height and width of the images, also "3x32x32 in" before the classes.
    pub fn in_words(&self, input: Option<[usize; 3]>) -> String {
        let input = match input {
            Some([channels, height, width]) => format!(", {channels}x{height}x{width} in"),
            None => String::new(),
        };
        let (layout, size, stem, classes) = (self.layout, self.size(), self.stem(), self.classes());
        let classes = counted(classes, "class", "classes");
        format!("{layout}, {size}, {stem} stem{input}, {classes}")
    }

    /// For example "standard network of scale 0.5 with 10 classes, cifar stem".
    pub fn with_stem(&self) -> String {
        format!("{self}, {} stem", self.stem())
    }

    /// The width: `scale 0.5`, or `widths [24, 48, 96, 192, 1024]` for custom widths.
    pub fn size(&self) -> String {
        match &self.widths {
            None => format!("scale {}", self.scale),
            Some(widths) => format!("widths {widths:?}"),
        }
    }
}

/// `number` of things: `one` of them, or `many`.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

/// For example "standard network of scale 0.5 with 10 classes".
impl fmt::Display for ModelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = counted(self.classes(), "class", "classes");
        write!(
            f,
            "{} network of {} with {classes}",
            self.layout,
            self.size()
        )
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Standard => "standard",
            Self::Seed => "seed",
        })
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.factor())
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Imagenet => "imagenet",
            Self::Seed => "seed",
            Self::Cifar => "cifar",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_same_name_wherever_it_is_named() {
        let mut config = ModelConfig {
            scale: Scale::Half,
            stem: Some(Stem::Cifar),
            ..ModelConfig::default()
        };
        assert_eq!(
            config.in_words(None),
            "standard, scale 0.5, cifar stem, 10 classes"
        );
        assert_eq!(
            config.with_stem(),
            "standard network of scale 0.5 with 10 classes, cifar stem"
        );
        config.classes = Some(1);
        assert_eq!(
            config.to_string(),
            "standard network of scale 0.5 with 1 class"
        );
        config.classes = None;
        config.layout = Layout::Seed;
        config.stem = None;
        config.widths = Some([24, 48, 96, 192, 1024].into());
        assert_eq!(
            config.in_words(Some([1, 28, 28])),
            "seed, widths [24, 48, 96, 192, 1024], seed stem, 1x28x28 in, 10 classes"
        );
    }
}
