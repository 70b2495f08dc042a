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

/// Runs of neighbouring columns. Each is its start in the list, its start in the rows, and its length.
pub(super) fn runs(columns: &[usize]) -> Vec<[usize; 3]> {
    let mut runs: Vec<[usize; 3]> = Vec::new();
    for (i, &column) in columns.iter().enumerate() {
        match runs.last_mut() {
            Some([_, start, len]) if *start + *len == column => *len += 1,
            _ => runs.push([i, column, 1]),
        }
    }
    runs
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

    #[test]
    fn runs_put_together_are_the_columns() {
        let columns = [4, 5, 6, 9, 10, 2];
        let runs = runs(&columns);
        assert_eq!(runs, [[0, 4, 3], [3, 9, 2], [5, 2, 1]]);
    }
}
