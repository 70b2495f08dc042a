//! The depthwise 3x3 convolution, padded by 1, of stride 1 or 2, one image at a time.
//!
//! ```text
//! y[o][p] = sum over i, j in 0..3 of w[i][j] * z[stride * o + i - 1][stride * p + j - 1]
//! ```
//!
//! per channel. An image is first copied into a scratch map with a border of zeros ([`crate::kernels::map`]),
//! so no kernel has to check for the image's edges.

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

/// The weight gradient. It adds `sum over o, p of z[stride o + i - 1][stride p + j - 1] * dy[o][p]` to
/// `out[3 i + j]`. `dy` is a map of the output's size with any border.
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

/// The input gradient. For stride 1 it is the convolution of `dy`, padded by 1, with the weights rotated
/// by 180 degrees. For stride 2 an input pixel meets one, two or four weights, depending on whether its
/// row and column are even; `dy` is then padded by 1 at its end only.
pub(crate) struct InputGradient<'a, T> {
    /// The input's height and width.
    pub size: [usize; 2],
    pub columns: usize,
    pub stride: usize,
    pub dy_shape: MapShape,
    pub dy: &'a [f32],
    pub weight: &'a [f32],
    /// The convolution's input as [`FillMap`](crate::kernels::map::FillMap) wrote it. If given, the
    /// gradient of the ReLU before the convolution is applied: it is zero where the input is.
    pub relu: Option<(&'a [f32], MapShape)>,
    pub out: &'a mut [T],
    pub out_stride: usize,
}

impl<T: Stored> Kernel for InputGradient<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [height, width] = self.size;
        let shape = self.dy_shape;
        assert!(shape.channels.is_multiple_of(S::LANES) && shape.channels >= self.columns);
        assert!(self.dy.len() >= shape.len() && self.weight.len() >= 9 * shape.channels);
        assert_eq!(shape.height, height.div_ceil(self.stride));
        assert_eq!(shape.width, width.div_ceil(self.stride));
        assert!(self.out.len() >= (height * width - 1) * self.out_stride + self.columns);
        if let Some((map, map_shape)) = self.relu {
            assert!(map_shape.channels == shape.channels && map.len() >= map_shape.len());
            assert!([map_shape.height, map_shape.width] == self.size);
        }
        match self.stride {
            1 => {
                assert!(shape.before == 1 && shape.after == 1);
                self.dense(s);
            }
            _ => {
                assert!(shape.after == 1);
                self.dealt(s);
            }
        }
    }
}

impl<T: Stored> InputGradient<'_, T> {
    /// Stores one pixel's gradient.
    ///
    /// # Safety
    /// The pixel is within the input, and `run` has checked everything.
    #[inline(always)]
    unsafe fn put<S: Simd>(&mut self, s: S, [y, x]: [usize; 2], column: usize, g: S::Vector) {
        let mut g = g;
        // SAFETY: the caller's promise; stores are cut to the existing channels.
        unsafe {
            if let Some((map, shape)) = self.relu {
                let z = s.load(map.as_ptr().add(shape.at(y, x) + column));
                g = s.where_positive(z, g);
            }
            let at = (y * self.size[1] + x) * self.out_stride + column;
            T::store_first(s, self.out.as_mut_ptr().add(at), self.columns - column, g);
        }
    }

    #[inline(always)]
    fn dense<S: Simd>(mut self, s: S) {
        let shape = self.dy_shape;
        for column in (0..self.columns).step_by(S::LANES) {
            // SAFETY: `run` has checked everything; every window is within map and border.
            unsafe {
                let weight = taps(s, self.weight, shape.channels, column, true);
                for y in 0..shape.height {
                    let line = self.dy.as_ptr().add(y * shape.row() + column);
                    let mut x = 0;
                    while x + STRIP <= shape.width {
                        let from = line.add(x * shape.channels);
                        let sums = window::<S, 1, STRIP>(s, from, &shape, &weight);
                        for (o, sum) in sums.into_iter().enumerate() {
                            self.put(s, [y, x + o], column, sum);
                        }
                        x += STRIP;
                    }
                    while x < shape.width {
                        let from = line.add(x * shape.channels);
                        let [sum] = window::<S, 1, 1>(s, from, &shape, &weight);
                        self.put(s, [y, x], column, sum);
                        x += 1;
                    }
                }
            }
        }
    }

    /// The gradient for stride 2. Input pixel `2 o - 1 + i` meets weight `i` of output `o`: an even row
    /// meets the middle weight of its own output, an odd row the last weight of its own output and the
    /// first of the next.
    #[inline(always)]
    fn dealt<S: Simd>(mut self, s: S) {
        let shape = self.dy_shape;
        let [height, width] = self.size;
        let zero = s.splat(0.0);
        for column in (0..self.columns).step_by(S::LANES) {
            // SAFETY: `run` has checked everything; the pixels after the last are the border's.
            unsafe {
                let w = taps(s, self.weight, shape.channels, column, false);
                for o in 0..shape.height {
                    for p in 0..shape.width {
                        let at = self.dy.as_ptr().add(shape.at(o, p) + column);
                        let here = s.load(at);
                        let right = s.load(at.add(shape.channels));
                        let below = s.load(at.add(shape.row()));
                        let across = s.load(at.add(shape.row() + shape.channels));
                        let [y, x] = [2 * o, 2 * p];
                        self.put(s, [y, x], column, s.mul_add(here, w[4], zero));
                        if x + 1 < width {
                            let g = s.mul_add(right, w[3], s.mul_add(here, w[5], zero));
                            self.put(s, [y, x + 1], column, g);
                        }
                        if y + 1 < height {
                            let g = s.mul_add(below, w[1], s.mul_add(here, w[7], zero));
                            self.put(s, [y + 1, x], column, g);
                        }
                        if x + 1 < width && y + 1 < height {
                            let g = s.mul_add(right, w[6], s.mul_add(here, w[8], zero));
                            let g = s.mul_add(across, w[0], s.mul_add(below, w[2], g));
                            self.put(s, [y + 1, x + 1], column, g);
                        }
                    }
                }
            }
        }
    }
}
