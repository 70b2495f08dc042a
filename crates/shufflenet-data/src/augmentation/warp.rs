//! Shears, translations and rotations of images. Each pixel of the result is the nearest pixel of the
//! source, or black outside the source, as torchvision's `affine` and `rotate` compute it on tensors.

use crate::ImageShape;

/// The source position of a result pixel, both relative to the image's centre:
/// `x' = a x + b y + c`, `y' = d x + e y + f`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine([f64; 6]);

impl Affine {
    /// Shifts each row by `slope` times its distance from the first row.
    pub(super) fn shear_x(slope: f64, shape: ImageShape) -> Self {
        let middle = shape.height as f64 * 0.5;
        Self([1.0, slope, slope * middle, 0.0, 1.0, 0.0])
    }

    /// Shifts each column by `slope` times its distance from the first column.
    pub(super) fn shear_y(slope: f64, shape: ImageShape) -> Self {
        let middle = shape.width as f64 * 0.5;
        Self([1.0, 0.0, 0.0, slope, 1.0, slope * middle])
    }

    /// Moves the image to the right by `x` and down by `y` pixels.
    pub(super) fn translate(x: f64, y: f64) -> Self {
        Self([1.0, 0.0, -x, 0.0, 1.0, -y])
    }

    /// Rotates counterclockwise around the centre.
    pub(super) fn rotate(degrees: f64) -> Self {
        let (sin, cos) = (-degrees).to_radians().sin_cos();
        Self([cos, sin, 0.0, -sin, cos, 0.0])
    }

    /// Applies the map to `image`, C x H x W.
    pub(super) fn apply(self, image: &mut [u8], shape: ImageShape) {
        let ImageShape { height, width, .. } = shape;
        let Self(theta) = self;
        let half = [width, height].map(|side| side as f32 * 0.5);
        // torchvision's grid: the matrix is first scaled to -1..1, in float32.
        let scaled: [f32; 6] = std::array::from_fn(|i| theta[i] as f32 / half[i / 3]);
        let source = |x: usize, y: usize| {
            let x = x as f32 + 0.5 - half[0];
            let y = y as f32 + 0.5 - half[1];
            let place = |axis: usize, side: usize| {
                let [a, b, c] = [0, 1, 2].map(|i| scaled[axis * 3 + i]);
                let grid = c + (b * y + a * x);
                let place = ((grid + 1.0) * side as f32 - 1.0) / 2.0;
                let place = place.round_ties_even();
                (place >= 0.0 && place < side as f32).then_some(place as usize)
            };
            Some(place(1, height)? * width + place(0, width)?)
        };
        let places: Vec<Option<usize>> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| source(x, y))
            .collect();
        for plane in image.chunks_exact_mut(shape.plane()) {
            let before = plane.to_vec();
            for (pixel, place) in plane.iter_mut().zip(&places) {
                *pixel = place.map_or(0, |place| before[place]);
            }
        }
    }
}
