//! An approximation of the nearest orthogonal matrix, by Newton-Schulz iterations with Jordan's quintic (Jordan
//! et al., 2024, [Muon](https://kellerjordan.github.io/posts/muon/)). The optimizer Muon moves weights along it.
//!
//! [`shufflenet_kernels::orthogonal`] has the equations.

use burn::tensor::{DType, Device, Tensor, TensorData};
use shufflenet_kernels::{Precision, orthogonal as kernel};

use crate::plain::orthogonal::plain;

/// Approximates the nearest orthogonal matrix of each matrix in a stack (see the [module](self)). The stack must not
/// be part of an autodiff graph. Products round their operands to `precision` where the device has kernels for it.
///
/// # Shapes
/// - `stack`: `[matrices, rows, columns]`, float32
/// - output: the same
pub fn orthogonal(stack: Tensor<3>, iterations: usize, precision: Precision) -> Tensor<3> {
    match stack.dtype() == DType::F32 && stack.device() == Device::flex() {
        true => by_kernels(stack, iterations, precision),
        false => plain(stack, iterations),
    }
}

fn by_kernels(stack: Tensor<3>, iterations: usize, precision: Precision) -> Tensor<3> {
    let (shape, device) = (stack.dims(), stack.device());
    let [_, rows, columns] = shape;
    let Ok(mut values) = stack.into_data().try_into_vec::<f32>() else {
        unreachable!("the stack is float32");
    };
    kernel::orthogonal(&mut values, [rows, columns], iterations, precision);
    Tensor::from_data(TensorData::new(values, shape), &device)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tolerance;
    use shufflenet_kernels::orthogonal::{EPSILON, QUINTIC};
    use shufflenet_kernels::subnormals::flushed;
    use shufflenet_kernels::testing::numbers;

    use super::*;
    use crate::plain::orthogonal::{by_gram_matrix, by_products};

    /// Iterations of most tests, as many as Muon has by default.
    const FIVE: usize = 5;

    /// Matrices of numbers without a pattern, different for each matrix.
    fn stack(shape: [usize; 3]) -> Tensor<3> {
        let data = TensorData::new(numbers(shape.iter().product(), 0), shape);
        Tensor::from_data(data, &Device::flex())
    }

    #[test]
    fn kernels_and_plain_operations_agree() {
        for shape in [
            [3, 24, 24],
            [2, 24, 27],
            [1, 10, 50],
            [1, 130, 40],
            [2, 50, 49],
            [1, 1, 5],
            [1, 1, 1],
        ] {
            for iterations in [1, 3, FIVE] {
                let x = stack(shape);
                let expected = plain(x.clone(), iterations).into_data();
                let found = orthogonal(x, iterations, Precision::F32).into_data();
                found.assert_approx_eq(&expected, Tolerance::<f32>::absolute(2e-4));
            }
        }
    }

    #[test]
    fn the_gram_matrix_alone_gives_what_the_products_give() {
        let x = stack([2, 12, 40]) * 0.01;
        let direct = by_products(x.clone(), FIVE).into_data();
        let found = by_gram_matrix(x, FIVE).into_data();
        found.assert_approx_eq(&direct, Tolerance::<f32>::absolute(1e-4));
    }

    #[test]
    fn rows_of_unit_length_at_right_angles() {
        let both = [Precision::F32, Precision::Bf16];
        let shapes = [[12, 40], [40, 12], [16, 20]];
        for ([rows, columns], precision) in shapes.iter().flat_map(|s| both.map(|p| (*s, p))) {
            let x = orthogonal(stack([1, rows, columns]), FIVE, precision).squeeze_dim::<2>(0);
            let x = if rows > columns { x.transpose() } else { x };
            let gram = x.clone().matmul(x.transpose());
            let one = Tensor::<2>::eye(gram.dims()[0], &Device::flex());
            let off = (gram - one).abs().max().into_scalar::<f32>();
            assert!(off < 0.55, "{rows} x {columns}: {off}");
        }
    }

    /// [`by_products`] in float64, for a matrix with at most as many rows as columns.
    fn in_float64(x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let product = |a: &[Vec<f64>], b: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let columns = 0..b[0].len();
            let row = |row: &Vec<f64>| {
                let entry = |j| row.iter().zip(b).map(|(x, other)| x * other[j]).sum();
                columns.clone().map(entry).collect()
            };
            a.iter().map(row).collect()
        };
        let transposed = |x: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let column = |j| x.iter().map(|row| row[j]).collect();
            (0..x[0].len()).map(column).collect()
        };
        let [a, b, c] = QUINTIC.map(f64::from);
        let squares: f64 = x.iter().flatten().map(|x| x * x).sum();
        let norm = squares.sqrt().max(EPSILON.into());
        let mut x: Vec<Vec<f64>> = x
            .iter()
            .map(|row| row.iter().map(|x| x / norm).collect())
            .collect();
        for _ in 0..FIVE {
            let gram = product(&x, &transposed(&x));
            let square = product(&gram, &gram);
            let mut polynomial = gram.clone();
            for (i, row) in polynomial.iter_mut().enumerate() {
                for (j, value) in row.iter_mut().enumerate() {
                    *value = b * gram[i][j] + c * square[i][j] + if i == j { a } else { 0.0 };
                }
            }
            x = product(&polynomial, &x);
        }
        x
    }

    /// The momentum of a dead channel decays until its products are subnormal, then until it is itself.
    #[test]
    fn rows_that_vanish_leave_the_others_as_in_float64() {
        let [rows, columns] = [24, 48];
        let scales = [1.0, 1e-12, 1e-20, 1e-30, 1e-37, 1e-39, 0.0];
        let scale = |row: usize| scales.get(row % 10).copied().unwrap_or(1.0);
        let values: Vec<f32> = stack([1, rows, columns]).into_data().iter().collect();
        let values: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(i, x)| x * scale(i / columns))
            .collect();
        let in_rows: Vec<Vec<f64>> = values
            .chunks(columns)
            .map(|row| row.iter().map(|x| f64::from(*x)).collect())
            .collect();
        let expected: Vec<f32> = in_float64(&in_rows)
            .concat()
            .iter()
            .map(|x| *x as f32)
            .collect();
        let expected = TensorData::new(expected, [1, rows, columns]);
        let x =
            Tensor::<3>::from_data(TensorData::new(values, [1, rows, columns]), &Device::flex());
        for found in [
            orthogonal(x.clone(), FIVE, Precision::F32),
            orthogonal(x.clone().transpose(), FIVE, Precision::F32).transpose(),
            plain(x.clone(), FIVE),
            flushed(|| plain(x.clone(), FIVE)),
        ] {
            let tolerance = Tolerance::<f32>::absolute(2e-4);
            found.into_data().assert_approx_eq(&expected, tolerance);
        }
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let zeros = Tensor::<3>::zeros([1, 4, 6], &Device::flex());
        orthogonal(zeros.clone(), FIVE, Precision::F32)
            .into_data()
            .assert_eq(&zeros.into_data(), true);
    }
}
