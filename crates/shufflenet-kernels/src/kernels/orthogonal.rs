//! An approximation of the nearest orthogonal matrix, by Newton-Schulz iterations with Jordan's quintic (Jordan
//! et al., 2024, [Muon](https://kellerjordan.github.io/posts/muon/)). The optimizer Muon moves weights along it.
//!
//! `x` is a matrix with at most as many rows as columns, divided by its Frobenius norm. An iteration is
//!
//! ```text
//! g = x x'
//! x = (a + b g + c g g) x
//! ```
//!
//! After five of them every singular value that was not tiny is between 0.7 and 1.2, and the singular vectors are
//! unchanged. After three, those that were below 0.017 are still below 0.7.
//!
//! Each iteration multiplies by a polynomial of `g`, and all these polynomials commute. So if `x` has many more
//! columns than rows, only the small matrices are iterated, `g = p g p` with `p` the polynomial, and `x` is
//! multiplied once by the product of all `p`.
//!
//! `y` is the matrix or its transpose, whichever has at least as many rows as columns. Then `g = y' y`, and
//! `y` is multiplied by polynomials of `g` from the right, in the layout that products read fastest. All
//! matrices but `y` are polynomials of one `g` and their products. They are symmetric, so only a triangle of
//! them is computed.
//!
//! The threads share the matrices of a stack, or the rows of the products if the stack has a single matrix.

use crate::kernels::matmul::Matmul;
use crate::kernels::prefetch::Ahead;
use crate::runtime::team;
use crate::simd::Isa;

/// Rows of a result that are computed together.
const BLOCK: usize = 24;

/// Jordan's coefficients. They have the steepest slope at zero with which the values still end near 1.
pub const QUINTIC: [f32; 3] = [3.4445, -4.7750, 2.0315];

/// Smallest divisor: smaller norms are clamped to it.
pub const EPSILON: f32 = 1e-7;

/// Whether one side of a matrix is so much longer than the other that only its Gram matrix is iterated. Five
/// such iterations take 17 products of small matrices, and two products of large ones.
pub fn is_long([rows, columns]: [usize; 2]) -> bool {
    2 * rows.min(columns) <= rows.max(columns)
}

/// Replaces each matrix of a stack, `[matrices][rows][columns]`, by the approximation.
pub fn orthogonal(stack: &mut [f32], [rows, columns]: [usize; 2], iterations: usize) {
    if rows * columns == 0 {
        return;
    }
    let isa = Isa::detected();
    team::map(stack.chunks_exact_mut(rows * columns), |_, values| {
        let tall = rows >= columns;
        let mut y = match tall {
            true => Matrix::read(isa, columns, values.chunks_exact(columns)),
            false => Matrix::read_transposed(isa, rows, values),
        };
        y.normalise();
        y.iterate(isa, iterations);
        y.write(values, tall);
    });
}

/// A matrix whose rows are padded with zeros to whole vectors.
struct Matrix {
    columns: usize,
    /// Values from one row to the next.
    row: usize,
    values: Vec<f32>,
}

impl Matrix {
    fn zeros(isa: Isa, rows: usize, columns: usize) -> Self {
        let row = isa.padded(columns);
        let values = vec![0.0; rows * row];
        Self {
            columns,
            row,
            values,
        }
    }

    fn read<'a>(isa: Isa, columns: usize, rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Self {
        let mut matrix = Self::zeros(isa, rows.len(), columns);
        for (row, values) in matrix.rows_mut().zip(rows) {
            row[..columns].copy_from_slice(values);
        }
        matrix
    }

    /// Reads the transpose of `values`, which have `columns` rows.
    fn read_transposed(isa: Isa, columns: usize, values: &[f32]) -> Self {
        let rows = values.len() / columns;
        let mut matrix = Self::zeros(isa, rows, columns);
        for (i, row) in matrix.rows_mut().enumerate() {
            let column = values[i..].iter().step_by(rows);
            row.iter_mut()
                .zip(column)
                .for_each(|(to, from)| *to = *from);
        }
        matrix
    }

    fn write(&self, values: &mut [f32], as_it_is: bool) {
        let height = self.values.len() / self.row;
        for (i, row) in self.values.chunks_exact(self.row).enumerate() {
            let row = &row[..self.columns];
            if as_it_is {
                values[i * self.columns..][..self.columns].copy_from_slice(row);
            } else {
                let column = values[i..].iter_mut().step_by(height);
                column.zip(row).for_each(|(to, from)| *to = *from);
            }
        }
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.row)
    }

    /// Divides by the Frobenius norm.
    fn normalise(&mut self) {
        let squares = self.values.iter().map(|x| f64::from(*x) * f64::from(*x));
        let norm = (squares.sum::<f64>().sqrt() as f32).max(EPSILON);
        self.values.iter_mut().for_each(|x| *x /= norm);
    }

    /// Runs all iterations on a matrix with at least as many rows as columns.
    fn iterate(&mut self, isa: Isa, iterations: usize) {
        let height = self.values.len() / self.row;
        if !is_long([height, self.columns]) {
            for _ in 0..iterations {
                *self = self.times(isa, &self.gram(isa).polynomial(isa));
            }
            return;
        }
        let mut gram = self.gram(isa);
        let mut product: Option<Self> = None;
        for iteration in 1..=iterations {
            let polynomial = gram.polynomial(isa);
            if iteration < iterations {
                let once = gram.times_commuting(isa, &polynomial);
                gram = once.times_commuting(isa, &polynomial);
            }
            product = Some(match product {
                None => polynomial,
                Some(product) => product.times_commuting(isa, &polynomial),
            });
        }
        if let Some(product) = product {
            *self = self.times(isa, &product);
        }
    }

    /// `y' y`
    fn gram(&self, isa: Isa) -> Self {
        self.symmetric(isa, [1, self.row], self)
    }

    /// `a + b g + c g g` of a symmetric matrix.
    fn polynomial(&self, isa: Isa) -> Self {
        let [a, b, c] = QUINTIC;
        let mut polynomial = self.times_commuting(isa, self);
        let terms = polynomial.values.iter_mut().zip(&self.values);
        terms.for_each(|(square, g)| *square = c * *square + b * g);
        for (i, row) in polynomial.rows_mut().enumerate() {
            row[i] += a;
        }
        polynomial
    }

    /// The product of symmetric matrices that commute, which is symmetric.
    fn times_commuting(&self, isa: Isa, right: &Self) -> Self {
        self.symmetric(isa, [self.row, 1], right)
    }

    /// A symmetric product of the left side, read by `left_strides`, and `right`. Each block of rows is computed
    /// from the diagonal on; the rest is copied from the other side of the diagonal.
    fn symmetric(&self, isa: Isa, left_strides: [usize; 2], right: &Self) -> Self {
        let n = right.columns;
        let mut out = Self::zeros(isa, n, n);
        let row = out.row;
        let from = |i: usize| i / isa.lanes() * isa.lanes();
        team::map(out.values.chunks_mut(BLOCK * row), |block, values| {
            let first = block * BLOCK;
            isa.run(Matmul {
                rows: values.len() / row,
                inner: right.values.len() / row,
                columns: n - from(first),
                left: &self.values[first * left_strides[0]..],
                left_strides,
                right: &right.values[from(first)..],
                right_row: row,
                out: &mut values[from(first)..],
                out_row: row,
                accumulate: false,
                ahead: Ahead::NONE,
            });
        });
        for first in (BLOCK..n).step_by(BLOCK) {
            let (above, block) = out.values.split_at_mut(first * row);
            for (j, column) in above.chunks_exact(row).take(from(first)).enumerate() {
                let below = block.chunks_exact_mut(row).take(BLOCK);
                for (to, value) in below.zip(&column[first..n]) {
                    to[j] = *value;
                }
            }
        }
        out
    }

    /// The product with a square matrix.
    fn times(&self, isa: Isa, right: &Self) -> Self {
        let (n, row) = (self.columns, self.row);
        let mut out = Self::zeros(isa, self.values.len() / row, n);
        let blocks = out.values.chunks_mut(BLOCK * row);
        let blocks = blocks.zip(self.values.chunks(BLOCK * row));
        team::map(blocks, |_, (values, left)| {
            isa.run(Matmul {
                rows: values.len() / row,
                inner: n,
                columns: n,
                left,
                left_strides: [row, 1],
                right: &right.values,
                right_row: row,
                out: values,
                out_row: row,
                accumulate: false,
                ahead: Ahead::NONE,
            });
        });
        out
    }
}
