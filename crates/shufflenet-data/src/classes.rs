//! Matches classes by name. A network and a data set may number the classes in different orders, so labels are
//! translated by name before the two are used together.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::likeness::likeness;
use crate::words::plural;
use crate::{DataError, Dataset};

/// What to do about images of classes that a network does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownClasses {
    /// Refuse the set, with the names of the classes.
    #[default]
    Refuse,
    /// Leave these images out, and count them.
    LeaveOut,
}

/// The two orders in which programs number classes with the names of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassOrder {
    /// By the bytes of the names: 1, 10, 2. The order of torchvision's `ImageFolder`.
    Bytes,
    /// Whole numbers by value: 1, 2, 10. The order of lists with numbers as labels.
    Value,
}

impl ClassOrder {
    /// Compares two names. By value, whole numbers come before other names.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        let value = |name: &str| name.parse::<i64>().unwrap_or(i64::MAX);
        match self {
            Self::Bytes => a.cmp(b),
            Self::Value => value(a).cmp(&value(b)).then_with(|| a.cmp(b)),
        }
    }

    /// `names` in this order.
    pub fn sorted(self, names: &[String]) -> Vec<String> {
        let mut names = names.to_vec();
        names.sort_by(|a, b| self.compare(a, b));
        names
    }
}

/// Whether the two orders of `names` differ, so that the numbers of a network without names could mean either.
pub fn orders_differ(names: &[String]) -> bool {
    ClassOrder::Bytes.sorted(names) != ClassOrder::Value.sorted(names)
}

impl Dataset {
    /// Number of images of each class, by label.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes()];
        for &label in self.labels() {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    /// The set with its labels as numbers of the classes `names`, which belong to `whose` (for messages: "the
    /// network"). Classes that the set lacks are classes without images. Also returns the classes that were left
    /// out, each with its number of images.
    ///
    /// # Errors
    /// [`DataError::Content`] for images of a class that is not in `names`, unless `unknown` leaves them out, for two
    /// classes of the same name, and if no image is left.
    pub fn with_classes(
        mut self,
        names: &[String],
        whose: &str,
        unknown: UnknownClasses,
    ) -> Result<(Self, Vec<(String, usize)>), DataError> {
        if self.class_names == names {
            return Ok((self, Vec::new()));
        }
        let numbers = numbered(names, whose)?;
        numbered(&self.class_names, &self.name)?;
        let number = |name: &String| numbers.get(name.as_str()).copied();
        let translated: Vec<Option<u16>> = self.class_names.iter().map(number).collect();
        let counted = self.class_names.iter().cloned().zip(self.counts());
        let foreign: Vec<(String, usize)> = counted
            .zip(&translated)
            .filter(|((_, count), known)| *count > 0 && known.is_none())
            .map(|(counted, _)| counted)
            .collect();
        if !foreign.is_empty() {
            if unknown == UnknownClasses::Refuse {
                let counted = foreign
                    .iter()
                    .map(|(name, count)| format!("{name} ({count})"));
                let those = list(names.iter().cloned());
                let mut expected = format!("those of {whose}: {those}");
                let alike = foreign.iter().find_map(|(name, _)| {
                    let how = |known: &String| Some((name, known.clone(), likeness(name, known)?));
                    names.iter().find_map(how)
                });
                if let Some((name, known, how)) = alike {
                    expected += &format!(" ({name:?} and {known:?} {how})");
                }
                let many = plural(foreign.len(), "class");
                return Err(DataError::content(
                    Path::new(&self.name),
                    format!("the {many} {}", list(counted)),
                    expected,
                ));
            }
            if foreign.iter().map(|(_, count)| count).sum::<usize>() == self.len() {
                return Err(DataError::content(
                    Path::new(&self.name),
                    format!("none of the classes of {whose}"),
                    format!("one or more of {}", list(names.iter().cloned())),
                ));
            }
            let labels = self.labels().to_vec();
            self.retain(|record| translated[usize::from(labels[record])].is_some())?;
        }
        self.relabel(names.to_vec(), |label| {
            translated[usize::from(label)].unwrap_or_default()
        });
        Ok((self, foreign))
    }
}

/// The number of each name.
fn numbered<'a>(names: &'a [String], whose: &str) -> Result<HashMap<&'a str, u16>, DataError> {
    let mut numbers = HashMap::new();
    for (number, name) in (0u16..=u16::MAX).zip(names) {
        if numbers.insert(name.as_str(), number).is_some() {
            return Err(DataError::value(
                format!("the classes of {whose}"),
                format!("{name} twice"),
                "classes of different names",
            ));
        }
    }
    Ok(numbers)
}

/// The first ten names, and how many more there are.
fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    const MOST: usize = 10;
    let more = names.len().saturating_sub(MOST);
    let first: Vec<String> = names.take(MOST).collect();
    match more {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    /// An image for each label; its one pixel is the label.
    fn set(names: &[&str], labels: &[u16]) -> Dataset {
        let shape = ImageShape {
            channels: 1,
            height: 1,
            width: 1,
        };
        let pixels = labels.iter().map(|&label| label as u8).collect();
        Dataset::new("set".into(), shape, strings(names), pixels, labels.into()).unwrap()
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn matched(
        own: &Dataset,
        names: &[&str],
        unknown: UnknownClasses,
    ) -> (Dataset, Vec<(String, usize)>) {
        let own = own.clone();
        own.with_classes(&strings(names), "the network", unknown)
            .unwrap()
    }

    #[test]
    fn permuted_classes_are_translated_by_name() {
        let own = set(&["cat", "dog", "fox"], &[0, 1, 2, 1]);
        let (set, left_out) = matched(&own, &["fox", "cat", "dog"], UnknownClasses::Refuse);
        assert_eq!(set.labels(), [1, 2, 0, 2]);
        assert_eq!(set.class_names, ["fox", "cat", "dog"]);
        assert!(left_out.is_empty());
        let pixels: Vec<u8> = (0..4).map(|record| set.image(record).unwrap()[0]).collect();
        assert_eq!(pixels, [0, 1, 2, 1], "images stay where they were");
    }

    #[test]
    fn classes_that_the_set_lacks_have_no_images() {
        let own = set(&["dog"], &[0, 0]);
        let (set, _) = matched(&own, &["cat", "dog"], UnknownClasses::Refuse);
        assert_eq!((set.labels(), set.counts()), (&[1, 1][..], vec![0, 2]));
    }

    #[test]
    fn a_larger_set_of_classes_is_refused_by_name_or_left_out_and_counted() {
        let own = set(&["cat", "zebra", "dog", "unused"], &[1, 0, 2, 1]);
        let names = strings(&["cat", "dog"]);
        let refused = own
            .clone()
            .with_classes(&names, "the network", UnknownClasses::Refuse);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "set: found the class zebra (2), expected those of the network: cat, dog"
        );
        let (set, left_out) = matched(&own, &["cat", "dog"], UnknownClasses::LeaveOut);
        assert_eq!((set.labels(), set.len()), (&[0, 1][..], 2));
        assert_eq!((set.image(0).unwrap()[0], set.image(1).unwrap()[0]), (0, 2));
        assert_eq!(left_out, [("zebra".to_string(), 2)]);
        let none = own.with_classes(&strings(&["fox"]), "the network", UnknownClasses::LeaveOut);
        assert!(
            none.unwrap_err()
                .to_string()
                .contains("found none of the classes of the network")
        );
    }

    #[test]
    fn a_class_that_differs_only_in_capitals_is_refused_with_the_known_name() {
        let own = set(&["cat", "dog"], &[0, 1]);
        let refused = own.with_classes(
            &strings(&["Cat", "dog"]),
            "the network",
            UnknownClasses::Refuse,
        );
        assert_eq!(
            refused.unwrap_err().to_string(),
            "set: found the class cat (1), expected those of the network: Cat, dog \
             (\"cat\" and \"Cat\" differ only in capitals)"
        );
    }

    #[test]
    fn two_classes_of_the_same_name_are_refused() {
        let own = set(&["a", "a"], &[0, 1]);
        let refused =
            own.with_classes(&strings(&["a", "b"]), "the network", UnknownClasses::Refuse);
        assert!(refused.unwrap_err().to_string().contains("a twice"));
    }

    #[test]
    fn numbers_are_ordered_by_bytes_or_by_value() {
        let names = strings(&["10", "b", "2", "1", "a"]);
        assert_eq!(ClassOrder::Bytes.sorted(&names), ["1", "10", "2", "a", "b"]);
        assert_eq!(ClassOrder::Value.sorted(&names), ["1", "2", "10", "a", "b"]);
        assert!(orders_differ(&names) && !orders_differ(&strings(&["a", "b", "9"])));
    }
}
