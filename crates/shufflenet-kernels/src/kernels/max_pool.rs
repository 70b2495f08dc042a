//! 3x3 max pooling of stride 2 after a ReLU, one image at a time.
//!
//! The map has no negative value, so padding with zeros gives the same maxima as padding with minus
//! infinity. The forward keeps which of the nine values each maximum was (the first of equals, as in
//! PyTorch). The backward adds the gradient to that value. A NaN that is not the first value of its window is lost; batch
//! norm, which comes before the pooling, makes its whole channel NaN.

use crate::kernels::map::MapShape;
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// Height or width after pooling, for a map padded by `padding` zeros on each side.
///
/// # Panics
/// If the padded map is smaller than a window.
pub(crate) const fn pooled(size: usize, padding: usize) -> usize {
    assert!(size + 2 * padding >= 3, "a map smaller than the 3x3 window");
    (size + 2 * padding - 3) / 2 + 1
}

/// Writes the maxima and their positions, `columns` per pixel.
pub(crate) struct MaxPool<'a, T> {
    pub shape: MapShape,
    pub columns: usize,
    pub map: &'a [f32],
    pub out: &'a mut [T],
    /// Position of each maximum in its window: 0 to 8, row by row.
    pub places: &'a mut [T],
}

/// Adds each maximum's gradient to its position in `map`, which has the shape of the forward's map.
pub(crate) struct MaxPoolGradient<'a, T> {
    pub shape: MapShape,
    pub columns: usize,
    pub dout: &'a [T],
    pub places: &'a [T],
    pub map: &'a mut [f32],
}

/// Height and width of the pooled map.
fn size(shape: &MapShape) -> [usize; 2] {
    [shape.height, shape.width].map(|size| (size + shape.before + shape.after - 3) / 2 + 1)
}

impl<T: Stored> Kernel for MaxPool<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { shape, columns, .. } = self;
        let [height, width] = size(&shape);
        assert!(self.map.len() >= shape.len() && shape.channels.is_multiple_of(S::LANES));
        assert!(columns <= shape.channels && self.out.len() >= height * width * columns);
        assert_eq!(self.out.len(), self.places.len());
        for y in 0..height {
            for x in 0..width {
                for column in (0..columns).step_by(S::LANES) {
                    // SAFETY: the window is within map and border, pixel and columns are within `out`
                    // and `places`, as asserted; stores are cut to the existing columns.
                    unsafe {
                        let corner = 2 * y * shape.row() + 2 * x * shape.channels + column;
                        let from = self.map.as_ptr().add(corner);
                        let (mut most, mut place) = (s.load(from), s.splat(0.0));
                        for t in 1..9 {
                            let at = t / 3 * shape.row() + t % 3 * shape.channels;
                            let z = s.load(from.add(at));
                            place = s.select_greater([z, most], s.splat(t as f32), place);
                            most = s.max(z, most);
                        }
                        let to = (y * width + x) * columns + column;
                        let (n, out) = (columns - column, self.out.as_mut_ptr());
                        T::store_first(s, out.add(to), n, most);
                        T::store_first(s, self.places.as_mut_ptr().add(to), n, place);
                    }
                }
            }
        }
    }
}

impl<T: Stored> Kernel for MaxPoolGradient<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { shape, columns, .. } = self;
        let [height, width] = size(&shape);
        assert!(self.map.len() >= shape.len() && shape.channels.is_multiple_of(S::LANES));
        assert!(columns <= shape.channels && self.dout.len() >= height * width * columns);
        assert_eq!(self.dout.len(), self.places.len());
        for y in 0..height {
            for x in 0..width {
                for column in (0..columns).step_by(S::LANES) {
                    // SAFETY: as in `MaxPool`.
                    unsafe {
                        let from = (y * width + x) * columns + column;
                        let n = columns - column;
                        let g = T::load_first(s, self.dout.as_ptr().add(from), n);
                        let place = T::load_first(s, self.places.as_ptr().add(from), n);
                        let corner = 2 * y * shape.row() + 2 * x * shape.channels + column;
                        let to = self.map.as_mut_ptr().add(corner);
                        for t in 0..9 {
                            let at = to.add(t / 3 * shape.row() + t % 3 * shape.channels);
                            let part = s.where_equal(place, s.splat(t as f32), g);
                            s.store(at, s.add(s.load(at), part));
                        }
                    }
                }
            }
        }
    }
}
