//! The random window of an image that training uses.
//!
//! torchvision's `RandomResizedCrop(s)`: a window of 8 to 100 % of the area and a ratio of 3:4 to 4:3, drawn uniformly
//! in area and in the logarithm of the ratio (Szegedy et al. 2014).

use rand_chacha::ChaCha8Rng;
use shufflenet_image::Window;

use crate::random::{below, fraction};

/// A random window of an image of this width and height. If ten draws do not fit, it is the largest central window with
/// an allowed ratio.
pub(crate) fn random_window((width, height): (u32, u32), random: &mut ChaCha8Rng) -> Window {
    let (image_width, image_height) = (f64::from(width), f64::from(height));
    let area = image_width * image_height;
    for _ in 0..10 {
        let target = area * (0.08 + 0.92 * fraction(random));
        let ratio = ((2.0 * fraction(random) - 1.0) * (4.0f64 / 3.0).ln()).exp();
        let w = (target * ratio).sqrt().round_ties_even();
        let h = (target / ratio).sqrt().round_ties_even();
        if (1.0..=image_width).contains(&w) && (1.0..=image_height).contains(&h) {
            let left = below(random, width - w as u32 + 1);
            let top = below(random, height - h as u32 + 1);
            return Window {
                left: left.into(),
                top: top.into(),
                width: w,
                height: h,
            };
        }
    }
    let ratio = (image_width / image_height).clamp(0.75, 4.0 / 3.0);
    let w = image_width
        .min((image_height * ratio).round_ties_even())
        .max(1.0);
    let h = image_height
        .min((image_width / ratio).round_ties_even())
        .max(1.0);
    Window {
        left: ((image_width - w) / 2.0).floor(),
        top: ((image_height - h) / 2.0).floor(),
        width: w,
        height: h,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_are_inside_the_image(width in 1u32..3000, height in 1u32..3000, seed: u64) {
            let mut random = stream(seed, Purpose::Crop, 0, 0);
            let window = random_window((width, height), &mut random);
            let fits = |start: f64, length: f64, side: u32| {
                start >= 0.0 && length > 0.0 && start + length <= f64::from(side) * (1.0 + 1e-12)
            };
            prop_assert!(fits(window.left, window.width, width));
            prop_assert!(fits(window.top, window.height, height));
        }
    }
}
