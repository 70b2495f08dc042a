//! Weights of the classes in the loss.
//!
//! Of `N` training images, `n_c` are of class `c`, one of `C` classes. `balanced` gives the class the weight
//!
//! ```text
//! w_c = N / (C n_c)
//! ```
//!
//! so that all classes have the same total weight, and the mean weight of an image is 1 (King and Zeng, 2001;
//! scikit-learn's `class_weight="balanced"`).

use std::fmt;

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const BALANCED: &str = "balanced";

/// Weights of the classes.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    /// All classes have the same total weight.
    Balanced,
    /// A number for each class, in the order of the classes.
    Given(Vec<f64>),
}

impl ClassWeights {
    /// The weights for training data with `images` images of each class. A class without images has the weight 1.
    pub fn of(&self, images: &[usize]) -> Vec<f64> {
        let share = images.iter().sum::<usize>() as f64 / images.len() as f64;
        match self {
            Self::Given(weights) => weights.clone(),
            Self::Balanced => {
                let weight = |&count: &usize| match count {
                    0 => 1.0,
                    _ => share / count as f64,
                };
                images.iter().map(weight).collect()
            }
        }
    }
}

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Balanced => serializer.serialize_str(BALANCED),
            Self::Given(weights) => weights.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = ClassWeights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{BALANCED}\" or a list with a number for each class")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    BALANCED => Ok(ClassWeights::Balanced),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut weights = Vec::new();
                while let Some(weight) = list.next_element()? {
                    weights.push(weight);
                }
                Ok(ClassWeights::Given(weights))
            }
        }

        deserializer.deserialize_any(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_classes_have_equal_totals_and_a_mean_weight_of_one() {
        let images = [900, 90, 10];
        let weights = ClassWeights::Balanced.of(&images);
        let sums: Vec<f64> = weights
            .iter()
            .zip(images)
            .map(|(weight, count)| weight * count as f64)
            .collect();
        assert!(sums.iter().all(|sum| (sum - 1000.0 / 3.0).abs() < 1e-9));
        assert_eq!(ClassWeights::Balanced.of(&[5, 5]), [1.0, 1.0]);
        assert_eq!(ClassWeights::Given(vec![2.0, 3.0]).of(&[1, 9]), [2.0, 3.0]);
    }

    #[test]
    fn class_weights_are_read_and_written_as_a_word_or_a_list() {
        for text in ["\"balanced\"", "[1.0,2.5]"] {
            let weights: ClassWeights = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&weights).unwrap(), text);
        }
        let refused = serde_json::from_str::<ClassWeights>("\"even\"");
        let line = refused.unwrap_err().to_string();
        let expected = "invalid value: string \"even\", expected \"balanced\" or a list";
        assert!(line.starts_with(expected), "{line}");
    }
}
