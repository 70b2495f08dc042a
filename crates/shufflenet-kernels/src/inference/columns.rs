//! The column of each channel in a stage's rows.
//!
//! Channels in the order of the paper are a list of columns. The split cuts the list, the concatenation
//! joins two lists, the shuffle reorders a list. The values stay in place.

/// Concatenates two lists and shuffles the result by two groups: one entry of its first half and one of
/// its second half, in turn.
pub(super) fn joined(first: &[usize], second: &[usize]) -> Vec<usize> {
    let all = [first, second].concat();
    assert!(all.len().is_multiple_of(2), "two groups share the channels");
    let (low, high) = all.split_at(all.len() / 2);
    let pairs = low.iter().zip(high);
    pairs.flat_map(|(a, b)| [*a, *b]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_deals_one_of_each_half() {
        assert_eq!(joined(&[0, 1, 2], &[8, 9, 10]), [0, 8, 1, 9, 2, 10]);
        // The halves are those of the concatenation, not the two lists.
        assert_eq!(joined(&[7], &[4, 5, 6]), [7, 5, 4, 6]);
    }
}
