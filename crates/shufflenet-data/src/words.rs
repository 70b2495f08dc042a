//! Counts in words, for messages.

/// `1 epoch`, `5 epochs`, `2,000 classes`
pub fn counted(number: usize, thing: &str) -> String {
    format!("{} {}", thousands(number), plural(number, thing))
}

/// `thing` in the singular if `number` is 1 (`image`), else in the plural (`images`).
pub fn plural(number: usize, thing: &str) -> String {
    let ending = match thing.ends_with(['s', 'x']) || thing.ends_with("tch") {
        _ if number == 1 => "",
        true => "es",
        false => "s",
    };
    format!("{thing}{ending}")
}

/// `1 byte`, `50000 bytes`: without separators, so that it can be compared with the output of other programs.
pub(crate) fn counted_bytes(number: u64) -> String {
    match number {
        1 => "1 byte".into(),
        _ => format!("{number} bytes"),
    }
}

/// `50,000`
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "epoch"), "1 epoch");
        assert_eq!(counted(5, "epoch"), "5 epochs");
        assert_eq!(counted(2_000, "step"), "2,000 steps");
        assert_eq!(counted(0, "class"), "0 classes");
        assert_eq!(counted(1, "class"), "1 class");
        assert_eq!(counted(3, "batch"), "3 batches");
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [
            (7, "7"),
            (999, "999"),
            (1000, "1,000"),
            (1_263_854, "1,263,854"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
