//! Finds names of classes that look alike but differ: `Cat` and `cat`, `cat` and `cat `, an accent that is part of its
//! letter and one that follows it (as macOS stores names). Names are compared by their bytes, so these are two classes,
//! which is seldom intended.

use std::collections::HashMap;

/// How two different names look alike. `None`: they do not look alike, or they are equal.
pub fn likeness(one: &str, other: &str) -> Option<&'static str> {
    if one == other {
        return None;
    }
    if without_spaces(one) == without_spaces(other) {
        return Some("differ only in spaces");
    }
    if one.to_lowercase() == other.to_lowercase() {
        return Some("differ only in capitals");
    }
    if folded(one) == folded(other) {
        return Some("differ only in capitals and spaces");
    }
    let is_stored_otherwise = has_marks(one) != has_marks(other) && outline(one) == outline(other);
    is_stored_otherwise.then_some("look alike, and one has its accents as separate characters")
}

/// The pairs of names that look alike, in the order of the second ones.
pub fn lookalikes(names: &[String]) -> Vec<(&str, &str, &'static str)> {
    let (mut by_letters, mut by_outline) = (HashMap::new(), HashMap::new());
    let mut pairs = Vec::new();
    for name in names {
        let earlier = [
            by_letters.get(&folded(name)).copied(),
            by_outline.get(&(outline(name), !has_marks(name))).copied(),
        ];
        let alike = earlier
            .into_iter()
            .flatten()
            .find_map(|earlier: &str| Some((earlier, name.as_str(), likeness(earlier, name)?)));
        pairs.extend(alike);
        by_letters.entry(folded(name)).or_insert(name.as_str());
        let key = (outline(name), has_marks(name));
        by_outline.entry(key).or_insert(name.as_str());
    }
    pairs
}

fn without_spaces(name: &str) -> String {
    name.split_whitespace().collect()
}

/// The name in lower case and without spaces.
fn folded(name: &str) -> String {
    without_spaces(name).to_lowercase()
}

/// Accents that follow their letter: those of Latin, Greek and Cyrillic letters, and of kana.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}')
}

fn has_marks(name: &str) -> bool {
    name.contains(is_mark)
}

/// A name in which every letter with an accent is the same.
fn outline(name: &str) -> String {
    const ACCENTED: char = '\u{fffd}';
    let mut text = String::new();
    for letter in folded(name).chars() {
        match letter {
            _ if is_mark(letter) => {
                if text.pop().is_some() {
                    text.push(ACCENTED);
                }
            }
            _ if letter.is_ascii() => text.push(letter),
            _ => text.push(ACCENTED),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_names_that_look_alike_is_described() {
        for (one, other, how) in [
            ("Cat", "cat", "differ only in capitals"),
            ("cat", "cat ", "differ only in spaces"),
            ("red cat", "redcat", "differ only in spaces"),
            ("Red cat", "red  cat", "differ only in capitals and spaces"),
            (
                "caf\u{e9}",
                "cafe\u{301}",
                "look alike, and one has its accents as separate characters",
            ),
        ] {
            assert_eq!(likeness(one, other), Some(how), "{one} {other}");
            assert_eq!(likeness(other, one), Some(how), "{other} {one}");
        }
        for (one, other) in [
            ("cat", "cat"),
            ("cat", "car"),
            ("caf\u{e9}", "caf\u{e8}"),
            ("cafe", "caf\u{e9}"),
        ] {
            assert_eq!(likeness(one, other), None, "{one} {other}");
        }
    }

    #[test]
    fn pairs_are_found_among_many_names() {
        let names = [
            "Cat",
            "b\u{e4}r",
            "cat",
            "dog",
            "ba\u{308}r",
            "d og",
            "\u{4e2d}",
            "\u{56fd}",
        ];
        let names: Vec<String> = names.map(String::from).into();
        let pairs: Vec<_> = lookalikes(&names)
            .into_iter()
            .map(|(one, other, _)| (one, other))
            .collect();
        assert_eq!(
            pairs,
            [("Cat", "cat"), ("b\u{e4}r", "ba\u{308}r"), ("dog", "d og")]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_names_never_panic(names: Vec<String>) {
            for (one, other, _) in lookalikes(&names) {
                proptest::prop_assert!(one != other);
            }
        }
    }
}
