//! The sums over a batch that batch norm needs, forward and backward.
//!
//! A sum is kept in float32 for a few hundred rows at a time and in float64 beyond. Values are taken relative to one
//! near the mean, so that squares do not cancel. Sums are of the values as stored: these are what is normalised. Parts
//! of the batch are merged in order, whichever thread computed them.

use crate::kernels::column_sums::{CenteredSums, GradientSums};
use crate::kernels::rows::Rows;
use crate::simd::Isa;
use crate::simd::stored::Stored;
use crate::training::norm::Norm;

/// Rows summed in float32 before the sum goes into float64.
pub const SUMMED: usize = 256;

/// Two sums per column, over the rows of one part of a batch.
struct ColumnSums {
    columns: usize,
    /// Sums of the current block, whole vectors.
    block: [Vec<f32>; 2],
    sums: [Vec<f64>; 2],
}

impl ColumnSums {
    fn new(isa: Isa, columns: usize) -> Self {
        Self {
            columns,
            block: [0, 1].map(|_| vec![0.0; isa.padded(columns)]),
            sums: [0, 1].map(|_| vec![0.0; columns]),
        }
    }

    /// Adds the block's sums to the float64 sums and clears them.
    fn take_block(&mut self) {
        for (block, sums) in self.block.iter_mut().zip(&mut self.sums) {
            for (part, sum) in block.iter_mut().zip(sums.iter_mut()) {
                *sum += f64::from(*part);
                *part = 0.0;
            }
        }
    }
}

/// Mean and squared deviation of each column, over the rows of one part of a batch.
pub struct Moments {
    rows: usize,
    /// A value near each column's mean: the column's first value.
    center: Vec<f32>,
    sums: ColumnSums,
}

impl Moments {
    pub fn new(isa: Isa, columns: usize) -> Self {
        Self {
            rows: 0,
            center: vec![0.0; isa.padded(columns)],
            sums: ColumnSums::new(isa, columns),
        }
    }

    /// Adds `rows` rows.
    pub fn add<T: Stored>(&mut self, isa: Isa, rows: usize, x: Rows<T>) {
        let columns = self.sums.columns;
        if self.rows == 0 {
            let first = self.center.iter_mut().zip(&x.data[..columns]);
            first.for_each(|(center, x)| *center = x.widened());
        }
        self.rows += rows;
        for first in (0..rows).step_by(SUMMED) {
            let [linear, squares] = &mut self.sums.block;
            isa.run(CenteredSums {
                rows: SUMMED.min(rows - first),
                columns,
                x: x.behind(first),
                center: &self.center,
                sums: [linear, squares],
            });
            self.sums.take_block();
        }
    }

    /// Number of rows of all parts, and the mean and squared deviation of each column over these rows.
    pub fn merge(parts: &[Self], columns: usize) -> (f64, Vec<[f64; 2]>) {
        let count = parts.iter().map(|part| part.rows as f64).sum();
        (count, (0..columns).map(|c| merged(parts, c)).collect())
    }
}

/// Mean and squared deviation of column `c` over all parts (Chan, Golub & LeVeque, 1979, equation 2.1).
fn merged(parts: &[Moments], c: usize) -> [f64; 2] {
    let (mut count, mut mean, mut deviation) = (0.0, 0.0, 0.0);
    for part in parts.iter().filter(|part| part.rows > 0) {
        let n = part.rows as f64;
        let [linear, squares] = [0, 1].map(|i| part.sums.sums[i][c]);
        let part_mean = f64::from(part.center[c]) + linear / n;
        let delta = part_mean - mean;
        deviation += squares - linear * linear / n + delta * delta * count * n / (count + n);
        mean += delta * n / (count + n);
        count += n;
    }
    // Rounding can make the sum of squares of equal values negative. NaN is kept.
    [mean, if deviation < 0.0 { 0.0 } else { deviation }]
}

/// The two sums of batch norm's backward, over the rows of one part of a batch.
pub struct GradientMoments(ColumnSums);

impl GradientMoments {
    pub fn new(isa: Isa, columns: usize) -> Self {
        Self(ColumnSums::new(isa, columns))
    }

    /// Adds `rows` rows of the output's gradient `g` and the input `y`.
    pub fn add<T: Stored>(&mut self, isa: Isa, rows: usize, g: Rows<T>, y: Rows<T>, norm: &Norm) {
        for first in (0..rows).step_by(SUMMED) {
            let [plain, weighted] = &mut self.0.block;
            isa.run(GradientSums {
                rows: SUMMED.min(rows - first),
                columns: self.0.columns,
                g: g.behind(first),
                y: y.behind(first),
                mean: &norm.mean,
                sums: [plain, weighted],
            });
            self.0.take_block();
        }
    }

    /// The block's sums. A kernel adds at most [`SUMMED`] rows to them before [`Self::take_block`].
    pub fn block(&mut self) -> [&mut [f32]; 2] {
        self.0.block.each_mut().map(|sums| &mut sums[..])
    }

    /// Adds the block's sums to the float64 sums and clears them.
    pub fn take_block(&mut self) {
        self.0.take_block();
    }

    /// The sums over all parts, in their order.
    pub fn merge(parts: &[Self]) -> [Vec<f64>; 2] {
        let columns = parts.first().map_or(0, |part| part.0.columns);
        let mut total = [0, 1].map(|_| vec![0.0; columns]);
        for part in parts {
            for (total, sums) in total.iter_mut().zip(&part.0.sums) {
                total
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(total, sum)| *total += sum);
            }
        }
        total
    }
}
