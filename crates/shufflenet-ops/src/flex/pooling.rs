//! 3x3 max pooling of stride 2 behind a ReLU, one image at a time.
//!
//! The map it reads holds no negative value, so a border of zeros is as good as one of minus
//! infinity. Forward keeps, for each maximum, which of the nine it was (the first of equals, as in
//! PyTorch); backward hands its gradient there.

use super::map::MapShape;
use super::simd::{Kernel, Simd};

/// Height or width after pooling, for a map padded by `padding` zeros on each side.
pub(crate) const fn pooled(size: usize, padding: usize) -> usize {
    (size + 2 * padding - 3) / 2 + 1
}

/// Writes maxima and where they were, `columns` a pixel.
pub(crate) struct MaxPool<'a> {
    pub shape: MapShape,
    pub columns: usize,
    pub map: &'a [f32],
    pub out: &'a mut [f32],
    /// 0 to 8, row by row of the window.
    pub places: &'a mut [f32],
}

/// Adds each maximum's gradient to its place in `map`, which has the shape of the forward's.
pub(crate) struct MaxPoolGradient<'a> {
    pub shape: MapShape,
    pub columns: usize,
    pub dout: &'a [f32],
    pub places: &'a [f32],
    pub map: &'a mut [f32],
}

/// Height and width of the pooled map.
fn size(shape: &MapShape) -> [usize; 2] {
    [shape.height, shape.width].map(|size| (size + shape.before + shape.after - 3) / 2 + 1)
}

impl Kernel for MaxPool<'_> {
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
                    // SAFETY: the window lies within map and border, pixel and columns within `out`
                    // and `places`, as asserted; what is stored is cut to the columns there are.
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
                        s.store_first(self.out.as_mut_ptr().add(to), columns - column, most);
                        s.store_first(self.places.as_mut_ptr().add(to), columns - column, place);
                    }
                }
            }
        }
    }
}

impl Kernel for MaxPoolGradient<'_> {
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
                        let g = s.load_first(self.dout.as_ptr().add(from), columns - column);
                        let place = s.load_first(self.places.as_ptr().add(from), columns - column);
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
