//! From an image of any size to the square that the network sees.
//!
//! Evaluation uses torchvision's `Resize(r)` and `CenterCrop(s)`: the shorter side becomes `r` pixels, and
//! the central `s` x `s` pixels are kept ([`Window::central`]). Training draws its windows (`shufflenet-data`).
//! Both are a [`Window`] of the image and one resize by Pillow's antialiased bilinear filter ([`cut`]). Pixels
//! outside the window are never computed, so an image of 1 x 65,535 pixels costs no more than any other.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// A rectangle of an image, in pixels; edges may be fractional.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Distance of the window's left edge from the image's.
    pub left: f64,
    /// Distance of the window's upper edge from the image's.
    pub top: f64,
    /// Width of the window.
    pub width: f64,
    /// Height of the window.
    pub height: f64,
}

impl Window {
    /// The window that remains after resizing the shorter side to `resize` and cropping the central `size`
    /// x `size`.
    pub fn central((width, height): (u32, u32), resize: u32, size: u32) -> Self {
        let short = u64::from(width.min(height)).max(1);
        let resized = |side: u32| u64::from(side) * u64::from(resize) / short;
        let place = |side: u32| {
            let resized = resized(side).max(1) as f64;
            let scale = f64::from(side) / resized;
            // Python's `round`, which torchvision uses here, rounds halves to even.
            let start = ((resized - f64::from(size)) / 2.0).round_ties_even();
            (start * scale, f64::from(size) * scale)
        };
        let ((left, width), (top, height)) = (place(width), place(height));
        Self {
            left,
            top,
            width,
            height,
        }
    }
}

/// Cuts `window` out of `picture` and resizes it to `channels` x `size` x `size` values: the red, green and
/// blue plane, or one grey plane.
///
/// # Errors
/// The resizer's error message.
pub fn cut(
    picture: &RgbImage,
    window: Window,
    size: u32,
    channels: usize,
) -> Result<Vec<u8>, String> {
    let (width, height) = picture.dimensions();
    let source = TypedImageRef::<U8x3>::from_buffer(width, height, picture.as_raw())
        .map_err(|error| error.to_string())?;
    let mut square = TypedImage::<U8x3>::new(size, size);
    // Rounding may put an edge slightly outside the image.
    let inside = |start: f64, length: f64, side: u32| length.min(f64::from(side) - start);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(
            window.left,
            window.top,
            inside(window.left, window.width, width),
            inside(window.top, window.height, height),
        );
    // Typed for this pixel format, because `resize` would compile the resizer for fourteen formats.
    Resizer::new()
        .resize_typed(&source, &mut square, &options)
        .map_err(|error| error.to_string())?;
    let pixels = square.pixels();
    if channels == 1 {
        return Ok(pixels.iter().map(|pixel| grey(&pixel.0)).collect());
    }
    let mut planes = Vec::with_capacity(3 * pixels.len());
    for channel in 0..3 {
        planes.extend(pixels.iter().map(|pixel| pixel.0[channel]));
    }
    Ok(planes)
}

/// Luma of ITU-R 601, computed as Pillow's `convert("L")` does.
fn grey(&[red, green, blue]: &[u8; 3]) -> u8 {
    let weighted = 19595 * u32::from(red) + 38470 * u32::from(green) + 7471 * u32::from(blue);
    ((weighted + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_inside(window: Window, (width, height): (u32, u32)) -> bool {
        let Window {
            left,
            top,
            width: w,
            height: h,
        } = window;
        let fits = |start: f64, length: f64, side: u32| {
            start >= 0.0 && length > 0.0 && start + length <= f64::from(side) * (1.0 + 1e-12)
        };
        fits(left, w, width) && fits(top, h, height)
    }

    proptest! {
        #[test]
        fn windows_lie_on_the_image(width in 1u32..3000, height in 1u32..3000, size in 1u32..300) {
            let image = (width, height);
            prop_assert!(is_inside(Window::central(image, size + size / 7, size), image));
        }

        #[test]
        fn a_view_has_its_size_whatever_the_image(
            width in 1u32..50, height in 1u32..50, size in 1u32..40,
        ) {
            let picture = RgbImage::from_pixel(width, height, image::Rgb([10, 200, 30]));
            let part = Window { left: 0.3, top: 0.6, width: 0.5, height: 0.4 };
            for window in [Window::central((width, height), size, size), part] {
                let view = cut(&picture, window, size, 3).unwrap();
                let plane = (size * size) as usize;
                prop_assert_eq!(view.len(), 3 * plane);
                // An image of one colour keeps that colour.
                prop_assert!(view[..plane].iter().all(|&red| red == 10));
                prop_assert_eq!(cut(&picture, window, size, 1).unwrap(), vec![124; plane]);
            }
        }
    }

    #[test]
    fn the_longest_image_costs_no_more_than_its_window() {
        let picture = RgbImage::new(1, 65_535);
        let window = Window::central((1, 65_535), 256, 224);
        assert_eq!(cut(&picture, window, 224, 3).unwrap().len(), 3 * 224 * 224);
    }

    #[test]
    fn an_image_of_the_size_asked_for_is_not_touched() {
        let picture = RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let view = cut(&picture, Window::central((8, 8), 8, 8), 8, 3).unwrap();
        for (place, pixel) in picture.pixels().enumerate() {
            assert_eq!([view[place], view[64 + place], view[128 + place]], pixel.0);
        }
    }
}
