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
//! In a network whose activations are bfloat16, the products are those of its convolutions: they round their operands
//! to bfloat16 where the processor multiplies such operands faster (`Products`). PyTorch's Muon rounds to bfloat16,
//! too. Long matrices are then iterated as they are, because `g = p g p` enlarges the errors of the rounding.
//!
//! The threads share the matrices of a stack, or the rows of the products if the stack has a single matrix.

mod product;

use crate::precision::Precision;
use crate::runtime::team;
use crate::simd::{Isa, Products};
use product::Product;

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
pub fn orthogonal(stack: &mut [f32], shape: [usize; 2], iterations: usize, precision: Precision) {
    by_isa(Isa::detected(), stack, shape, iterations, precision);
}

fn by_isa(
    isa: Isa,
    stack: &mut [f32],
    [rows, columns]: [usize; 2],
    iterations: usize,
    precision: Precision,
) {
    if rows * columns == 0 {
        return;
    }
    let products = match precision {
        Precision::F32 => Products::Widened,
        Precision::Bf16 => isa.bf16_products(),
    };
    team::map(stack.chunks_exact_mut(rows * columns), |_, values| {
        let tall = rows >= columns;
        let mut y = match tall {
            true => Matrix::read(isa, columns, values.chunks_exact(columns)),
            false => Matrix::read_transposed(isa, rows, values),
        };
        y.normalise();
        y.iterate(isa, products, iterations);
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
        let height = self.rows();
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

    fn rows(&self) -> usize {
        self.values.len() / self.row
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
    fn iterate(&mut self, isa: Isa, products: Products, iterations: usize) {
        if products != Products::Widened || !is_long([self.rows(), self.columns]) {
            for _ in 0..iterations {
                let polynomial = self.gram(isa, products).polynomial(isa, products);
                *self = Product::new(self, &polynomial).run(isa, products);
            }
            return;
        }
        let mut gram = self.gram(isa, products);
        let mut product: Option<Self> = None;
        for iteration in 1..=iterations {
            let polynomial = gram.polynomial(isa, products);
            if iteration < iterations {
                let once = Product::commuting(&gram, &polynomial).run(isa, products);
                gram = Product::commuting(&once, &polynomial).run(isa, products);
            }
            product = Some(match product {
                None => polynomial,
                Some(product) => Product::commuting(&product, &polynomial).run(isa, products),
            });
        }
        if let Some(product) = product {
            *self = Product::new(self, &product).run(isa, products);
        }
    }

    /// `y' y`
    fn gram(&self, isa: Isa, products: Products) -> Self {
        Product::gram(self).run(isa, products)
    }

    /// `a + b g + c g g` of a symmetric matrix.
    fn polynomial(&self, isa: Isa, products: Products) -> Self {
        let [a, b, c] = QUINTIC;
        let mut polynomial = Product::commuting(self, self).run(isa, products);
        let terms = polynomial.values.iter_mut().zip(&self.values);
        terms.for_each(|(square, g)| *square = c * *square + b * g);
        for (i, row) in polynomial.rows_mut().enumerate() {
            row[i] += a;
        }
        polynomial
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbers;

    const SHAPES: [[usize; 2]; 7] = [
        [1, 1],
        [1, 5],
        [24, 24],
        [24, 27],
        [50, 49],
        [130, 40],
        [70, 150],
    ];

    /// Products with rounded operands change each entry by little, in every way to compute them.
    #[test]
    fn bfloat16_is_near_float32() {
        for isa in Isa::available() {
            for shape @ [rows, columns] in SHAPES {
                let stack = numbers(2 * rows * columns, 0);
                let [wide, narrow] = [Precision::F32, Precision::Bf16].map(|precision| {
                    let mut stack = stack.clone();
                    by_isa(isa, &mut stack, shape, 3, precision);
                    stack
                });
                let squares = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>();
                let apart = squares(&mut wide.iter().zip(&narrow).map(|(a, b)| a - b));
                let whole = squares(&mut wide.iter().copied());
                let error = (apart / whole).sqrt();
                assert!(error < 0.03, "{isa:?} {shape:?}: {error}");
                let same = isa.bf16_products() == Products::Widened;
                assert_eq!(wide == narrow, same, "{isa:?} {shape:?}");
            }
        }
    }

    /// The momentum of a dead channel: its row stays small, and the others are as without it.
    #[test]
    fn a_row_that_vanishes_stays_small_in_bfloat16() {
        let (rows, columns) = (48, 32);
        for isa in Isa::available() {
            let mut stack = numbers(rows * columns, 0);
            stack[..columns].iter_mut().for_each(|x| *x *= 1e-12);
            by_isa(isa, &mut stack, [rows, columns], 5, Precision::Bf16);
            assert!(stack[..columns].iter().all(|x| x.abs() < 1e-8), "{isa:?}");
            assert!(stack.iter().all(|x| x.abs() < 1.3), "{isa:?}");
        }
    }
}
