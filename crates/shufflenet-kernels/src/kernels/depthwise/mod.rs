//! The depthwise 3x3 convolution, padded by 1, of stride 1 or 2, one image at a time.
//!
//! ```text
//! y[o][p] = sum over i, j in 0..3 of w[i][j] * z[stride * o + i - 1][stride * p + j - 1]
//! ```
//!
//! per channel. An image is first copied into a scratch map with a border of zeros ([`crate::kernels::map`]),
//! so no kernel has to check for the image's edges. The backward has a file for each gradient.

mod input_gradient;
mod weight_gradient;

pub(crate) use input_gradient::InputGradient;
pub(crate) use weight_gradient::WeightGradient;

use crate::kernels::map::MapShape;
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// Pixels computed together. Their inputs overlap, and their sums hide each other's latency.
pub(crate) const STRIP: usize = 4;

/// The convolution of a map with a border of 1. It writes the pixels to `out`, `columns` values each.
/// `weight` is `[9][channels]`.
pub(crate) struct Forward<'a, T> {
    pub shape: MapShape,
    pub columns: usize,
    pub stride: usize,
    pub map: &'a [f32],
    pub weight: &'a [f32],
    pub out: &'a mut [T],
}

impl<T: Stored> Kernel for Forward<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.stride {
            1 => self.strided::<S, 1>(s),
            _ => self.strided::<S, 2>(s),
        }
    }
}

impl<T: Stored> Forward<'_, T> {
    #[inline(always)]
    fn strided<S: Simd, const STRIDE: usize>(self, s: S) {
        let Self { shape, columns, .. } = self;
        let (height, width) = (shape.height.div_ceil(STRIDE), shape.width.div_ceil(STRIDE));
        check_map::<S>(&shape, self.map, self.weight);
        assert!(shape.channels >= columns && self.out.len() >= height * width * columns);
        for column in (0..columns).step_by(S::LANES) {
            let n = columns - column;
            // SAFETY: `check_map` and the assertions; every window is within map and border.
            unsafe {
                let weight = taps(s, self.weight, shape.channels, column, false);
                for y in 0..height {
                    let line = self.map.as_ptr().add(STRIDE * y * shape.row() + column);
                    let out = self.out.as_mut_ptr().add(y * width * columns + column);
                    let mut x = 0;
                    while x + STRIP <= width {
                        let from = line.add(STRIDE * x * shape.channels);
                        let sums = window::<S, STRIDE, STRIP>(s, from, &shape, &weight);
                        for (o, sum) in sums.into_iter().enumerate() {
                            T::store_first(s, out.add((x + o) * columns), n, sum);
                        }
                        x += STRIP;
                    }
                    while x < width {
                        let from = line.add(STRIDE * x * shape.channels);
                        let [sum] = window::<S, STRIDE, 1>(s, from, &shape, &weight);
                        T::store_first(s, out.add(x * columns), n, sum);
                        x += 1;
                    }
                }
            }
        }
    }
}

/// Panics unless map and weights are as large as their shapes, and the border is 1.
#[inline(always)]
fn check_map<S: Simd>(shape: &MapShape, map: &[f32], weight: &[f32]) {
    assert!(shape.before == 1 && shape.after == 1 && shape.channels.is_multiple_of(S::LANES));
    assert!(map.len() >= shape.len() && weight.len() >= 9 * shape.channels);
}

/// One vector of each of the nine weights, from the last to the first if `flipped`.
///
/// # Safety
/// `weight` has `9 * channels` values, and each ninth has a whole vector from `column` on.
#[inline(always)]
pub(crate) unsafe fn taps<S: Simd>(
    s: S,
    weight: &[f32],
    channels: usize,
    column: usize,
    flipped: bool,
) -> [S::Vector; 9] {
    let mut taps = [s.splat(0.0); 9];
    for (t, tap) in taps.iter_mut().enumerate() {
        let t = if flipped { 8 - t } else { t };
        // SAFETY: the caller's promise.
        *tap = unsafe { s.load(weight.as_ptr().add(t * channels + column)) };
    }
    taps
}

/// The sums of `N` neighbouring windows, the first with its corner at `from`.
///
/// # Safety
/// Three rows of the map, `STRIDE * (N - 1) + 3` pixels wide, are readable from `from` on.
#[inline(always)]
pub(crate) unsafe fn window<S: Simd, const STRIDE: usize, const N: usize>(
    s: S,
    from: *const f32,
    shape: &MapShape,
    weight: &[S::Vector; 9],
) -> [S::Vector; N] {
    let mut sums = [s.splat(0.0); N];
    for i in 0..3 {
        for u in 0..STRIDE * (N - 1) + 3 {
            // SAFETY: the caller's promise.
            let z = unsafe { s.load(from.add(i * shape.row() + u * shape.channels)) };
            for o in 0..N {
                if u >= STRIDE * o && u < STRIDE * o + 3 {
                    sums[o] = s.mul_add(z, weight[3 * i + u - STRIDE * o], sums[o]);
                }
            }
        }
    }
    sums
}
