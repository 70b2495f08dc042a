//! The channel shuffle by two groups, in registers, and its backward.
//!
//! The two sides have `half` channels each. The shuffle takes one channel of each side in turn:
//!
//! ```text
//! out[2 c] = first[c],    out[2 c + 1] = second[c],
//! ```
//!
//! so a vector of each side gives two vectors of the output. The last operations of a side (batch norm,
//! ReLU, a residual) are computed in the same pass, and nothing is written twice. The backward separates
//! the gradient of each side, applies the ReLU's gradient, and adds up batch norm's two sums in the same
//! pass.

use crate::kernels::rows::{GROUP, Rows};
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// Source of one side's values.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a, T> {
    pub x: Rows<'a, T>,
    /// Scale and shift, whole vectors, if the side ends in batch norm and ReLU.
    pub norm: Option<[&'a [f32]; 2]>,
    /// Rows that are added after the ReLU.
    pub residual: Option<Rows<'a, T>>,
}

/// `out = shuffle(first ++ second)`, rows of `2 half` values.
pub(crate) struct Shuffle<'a, T> {
    pub rows: usize,
    pub half: usize,
    pub sides: [Source<'a, T>; 2],
    pub out: &'a mut [T],
}

impl<T: Stored> Kernel for Shuffle<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows, half, sides, ..
        } = self;
        let padded = half.next_multiple_of(S::LANES);
        for side in &sides {
            side.x.check(rows, half);
            let norm = side.norm.iter().flatten();
            assert!(norm.into_iter().all(|vector| vector.len() >= padded));
            side.residual.iter().for_each(|x| x.check(rows, half));
        }
        assert!(self.out.len() >= rows * 2 * half);
        for first in (0..rows).step_by(GROUP) {
            for column in (0..half).step_by(S::LANES) {
                let n = half - column;
                // SAFETY: rows and columns within what was asserted; the last vectors are cut to
                // what is left.
                unsafe {
                    let norms = [sides[0].vectors(s, column), sides[1].vectors(s, column)];
                    for row in first..rows.min(first + GROUP) {
                        let a = sides[0].value(s, [row, column], n, norms[0]);
                        let b = sides[1].value(s, [row, column], n, norms[1]);
                        let out = self.out.as_mut_ptr().add(2 * (row * half + column));
                        T::store_pairs(s, out, n, a, b);
                    }
                }
            }
        }
    }
}

impl<'a, T: Stored> Source<'a, T> {
    /// A source of rows that are copied unchanged.
    pub fn plain(x: Rows<'a, T>) -> Self {
        Self {
            x,
            norm: None,
            residual: None,
        }
    }

    /// Scale and shift of the columns from `column` on.
    ///
    /// # Safety
    /// Both have a whole vector from `column` on.
    #[inline(always)]
    unsafe fn vectors<S: Simd>(&self, s: S, column: usize) -> [S::Vector; 2] {
        match self.norm {
            // Not `map`: it is not compiled as part of the kernel and would be a call.
            Some([scale, shift]) => unsafe {
                // SAFETY: the caller's promise.
                let scale = s.load(scale.as_ptr().add(column));
                [scale, s.load(shift.as_ptr().add(column))]
            },
            None => [s.splat(0.0); 2],
        }
    }

    /// The side's first `n` values from row and column `at` on, as they are stored.
    ///
    /// # Safety
    /// The values are within the rows that the side reads.
    #[inline(always)]
    unsafe fn value<S: Simd>(
        &self,
        s: S,
        at: [usize; 2],
        n: usize,
        [scale, shift]: [S::Vector; 2],
    ) -> S::Vector {
        // SAFETY: the caller's promise.
        let x = unsafe { self.x.vector(s, at, n) };
        if self.norm.is_none() {
            return x;
        }
        let z = s.max(s.splat(0.0), s.mul_add(x, scale, shift));
        let z = match self.residual {
            // SAFETY: the caller's promise.
            Some(residual) => s.add(z, unsafe { residual.vector(s, at, n) }),
            None => z,
        };
        T::rounded(s, z)
    }
}

impl<T: Stored> Rows<'_, T> {
    /// The first `n` values of a row from a column on.
    ///
    /// # Safety
    /// The values are within the block.
    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, s: S, [row, column]: [usize; 2], n: usize) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { T::load_first(s, self.data.as_ptr().add(row * self.stride + column), n) }
    }
}

/// Destination of one side's gradient.
pub(crate) struct Sink<'a, T> {
    /// The column of `dx` from which on the gradient is copied unchanged.
    pub passed: Option<usize>,
    /// The branch whose last ReLU and batch norm the gradient goes through.
    pub branch: Option<BranchSink<'a, T>>,
}

/// A branch's last batch norm. The gradient of its output is written to the rows of `g`, `half` values each.
///
/// `sum g` and `sum g (y - mean)` over the rows are added to `sums`. All vectors are whole.
pub(crate) struct BranchSink<'a, T> {
    pub y: Rows<'a, T>,
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub mean: &'a [f32],
    pub g: &'a mut [T],
    pub sums: [&'a mut [f32]; 2],
}

/// Computes the sides' gradients from `dout`, the gradient of [`Shuffle`]'s output.
pub(crate) struct Unshuffle<'a, T> {
    pub rows: usize,
    pub half: usize,
    pub dout: Rows<'a, T>,
    pub sides: [Sink<'a, T>; 2],
    pub dx: &'a mut [T],
    pub dx_stride: usize,
}

impl<T: Stored> Kernel for Unshuffle<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows,
            half,
            dx_stride,
            mut sides,
            ..
        } = self;
        self.dout.check(rows, 2 * half);
        for side in &sides {
            side.check::<S>(rows, half);
            let reach = |column| (rows - 1) * dx_stride + column + half;
            assert!(rows == 0 || side.passed.is_none_or(|to| self.dx.len() >= reach(to)));
        }
        for first in (0..rows).step_by(GROUP) {
            for column in (0..half).step_by(S::LANES) {
                let n = half - column;
                // SAFETY: rows and columns within what was asserted; the last vectors are cut to
                // what is left.
                unsafe {
                    let mut lanes = [
                        Lanes::load(s, &sides[0], column),
                        Lanes::load(s, &sides[1], column),
                    ];
                    for row in first..rows.min(first + GROUP) {
                        let from = row * self.dout.stride + 2 * column;
                        let (a, b) = T::load_pairs(s, self.dout.data.as_ptr().add(from), n);
                        let dx = self.dx.as_mut_ptr().wrapping_add(row * dx_stride + column);
                        sides[0].take(s, [row, column, half], n, a, dx, &mut lanes[0]);
                        sides[1].take(s, [row, column, half], n, b, dx, &mut lanes[1]);
                    }
                    lanes[0].store(s, &mut sides[0], column);
                    lanes[1].store(s, &mut sides[1], column);
                }
            }
        }
    }
}

/// A branch's vectors at one column.
struct Lanes<V> {
    scale: V,
    shift: V,
    mean: V,
    sums: [V; 2],
}

impl<V: Copy> Lanes<V> {
    /// # Safety
    /// The side has a whole vector at `column`.
    #[inline(always)]
    unsafe fn load<S, T>(s: S, side: &Sink<T>, column: usize) -> Self
    where
        S: Simd<Vector = V>,
    {
        let Some(branch) = &side.branch else {
            let zero = s.splat(0.0);
            return Self {
                scale: zero,
                shift: zero,
                mean: zero,
                sums: [zero; 2],
            };
        };
        // SAFETY: the caller's promise.
        let vector = |values: &[f32]| unsafe { s.load(values.as_ptr().add(column)) };
        Self {
            scale: vector(branch.scale),
            shift: vector(branch.shift),
            mean: vector(branch.mean),
            sums: [vector(branch.sums[0]), vector(branch.sums[1])],
        }
    }

    /// # Safety
    /// The side has a whole vector at `column`.
    #[inline(always)]
    unsafe fn store<S, T>(&self, s: S, side: &mut Sink<T>, column: usize)
    where
        S: Simd<Vector = V>,
    {
        let Some(branch) = &mut side.branch else {
            return;
        };
        for (sums, sum) in branch.sums.iter_mut().zip(self.sums) {
            // SAFETY: the caller's promise.
            unsafe { s.store(sums.as_mut_ptr().add(column), sum) };
        }
    }
}

impl<T: Stored> Sink<'_, T> {
    #[inline(always)]
    fn check<S: Simd>(&self, rows: usize, half: usize) {
        let Some(branch) = &self.branch else {
            return;
        };
        let padded = half.next_multiple_of(S::LANES);
        branch.y.check(rows, half);
        let vectors = [branch.scale, branch.shift, branch.mean];
        assert!(vectors.iter().all(|vector| vector.len() >= padded));
        assert!(branch.sums.iter().all(|sums| sums.len() >= padded));
        assert!(branch.g.len() >= rows * half);
    }

    /// Takes the first `n` values of a row's gradient, which are stored as they came or are zero. `dx` points at the
    /// same row and column of the input's gradient.
    ///
    /// # Safety
    /// The values are within what [`Self::check`] has checked.
    #[inline(always)]
    unsafe fn take<S: Simd>(
        &mut self,
        s: S,
        [row, column, half]: [usize; 3],
        n: usize,
        g: S::Vector,
        dx: *mut T,
        lanes: &mut Lanes<S::Vector>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(to) = self.passed {
                T::store_rounded_first(s, dx.add(to), n, g);
            }
            if let Some(branch) = &mut self.branch {
                let y = branch.y.vector(s, [row, column], n);
                let g = s.where_positive(s.mul_add(y, lanes.scale, lanes.shift), g);
                let to = branch.g.as_mut_ptr().add(row * half + column);
                T::store_rounded_first(s, to, n, g);
                let [plain, weighted] = lanes.sums;
                let weighted = s.mul_add(g, s.sub(y, lanes.mean), weighted);
                lanes.sums = [s.add(plain, g), weighted];
            }
        }
    }
}
