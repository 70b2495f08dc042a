//! The weight gradient of the depthwise convolution.
//!
//! ```text
//! dw[i][j] += sum over o, p of z[stride * o + i - 1][stride * p + j - 1] * dy[o][p]
//! ```
//!
//! per channel.

use super::{STRIP, check_map, taps};
use crate::kernels::map::MapShape;
use crate::simd::{Kernel, Simd};

/// Adds the gradient of weight `[i][j]` to `out[3 * i + j]`. `dy` is a map of the output's size with any border.
pub(crate) struct WeightGradient<'a> {
    pub shape: MapShape,
    pub stride: usize,
    pub map: &'a [f32],
    pub dy_shape: MapShape,
    pub dy: &'a [f32],
    pub out: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.stride {
            1 => self.strided::<S, 1>(s),
            _ => self.strided::<S, 2>(s),
        }
    }
}

impl WeightGradient<'_> {
    #[inline(always)]
    fn strided<S: Simd, const STRIDE: usize>(self, s: S) {
        let Self {
            shape, dy_shape, ..
        } = self;
        check_map::<S>(&shape, self.map, self.out);
        assert!(dy_shape.channels == shape.channels && self.dy.len() >= dy_shape.len());
        assert_eq!(dy_shape.height, shape.height.div_ceil(STRIDE));
        assert_eq!(dy_shape.width, shape.width.div_ceil(STRIDE));
        for column in (0..shape.channels).step_by(S::LANES) {
            // SAFETY: `check_map` and the assertions; every window is within map and border.
            unsafe {
                let mut sums = taps(s, self.out, shape.channels, column, false);
                for y in 0..dy_shape.height {
                    let line = self.map.as_ptr().add(STRIDE * y * shape.row() + column);
                    let dy = self.dy.as_ptr().add(dy_shape.at(y, 0) + column);
                    let mut x = 0;
                    while x + STRIP <= dy_shape.width {
                        let from = line.add(STRIDE * x * shape.channels);
                        let dy = dy.add(x * shape.channels);
                        correlate::<S, STRIDE, STRIP>(s, from, dy, &shape, &mut sums);
                        x += STRIP;
                    }
                    while x < dy_shape.width {
                        let from = line.add(STRIDE * x * shape.channels);
                        let dy = dy.add(x * shape.channels);
                        correlate::<S, STRIDE, 1>(s, from, dy, &shape, &mut sums);
                        x += 1;
                    }
                }
                for (t, sum) in sums.into_iter().enumerate() {
                    s.store(self.out.as_mut_ptr().add(t * shape.channels + column), sum);
                }
            }
        }
    }
}

/// Adds the products of `N` output pixels with their windows.
///
/// # Safety
/// Three rows of the map, `STRIDE * (N - 1) + 3` pixels wide, are readable from `from` on, and `dy`
/// points at `N` readable pixels.
#[expect(
    clippy::needless_range_loop,
    reason = "constant bounds, unrolled over registers"
)]
#[inline(always)]
unsafe fn correlate<S: Simd, const STRIDE: usize, const N: usize>(
    s: S,
    from: *const f32,
    dy: *const f32,
    shape: &MapShape,
    sums: &mut [S::Vector; 9],
) {
    let mut gradient = [s.splat(0.0); N];
    for (o, g) in gradient.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *g = unsafe { s.load(dy.add(o * shape.channels)) };
    }
    for i in 0..3 {
        for u in 0..STRIDE * (N - 1) + 3 {
            // SAFETY: the caller's promise.
            let z = unsafe { s.load(from.add(i * shape.row() + u * shape.channels)) };
            for o in 0..N {
                if u >= STRIDE * o && u < STRIDE * o + 3 {
                    let t = 3 * i + u - STRIDE * o;
                    sums[t] = s.mul_add(z, gradient[o], sums[t]);
                }
            }
        }
    }
}
