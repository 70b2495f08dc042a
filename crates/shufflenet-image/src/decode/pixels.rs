//! From the values of a file to RGB: the steps that several formats share.

use image::RgbImage;

use super::MOST_PIXELS;

pub(super) fn check_size((width, height): (u32, u32)) -> Result<(), String> {
    match u64::from(width) * u64::from(height) {
        0 => Err(format!("an image of {width}x{height} pixels")),
        1..=MOST_PIXELS => Ok(()),
        _ => Err(format!(
            "an image of {width}x{height} pixels, more than 100 million"
        )),
    }
}

pub(super) fn picture(width: u32, height: u32, rgb: Vec<u8>) -> Result<RgbImage, String> {
    let found = rgb.len();
    RgbImage::from_raw(width, height, rgb)
        .ok_or_else(|| format!("{found} bytes of pixels for {width}x{height}"))
}

/// Converts grey values to RGB.
pub(super) fn spread(grey: &[u8]) -> Vec<u8> {
    grey.iter().flat_map(|&value| [value; 3]).collect()
}

/// The upper byte of each 16-bit value, which is what an 8-bit screen shows.
pub(super) fn upper_bytes(values: &[u8]) -> Vec<u8> {
    let pairs = values.as_chunks::<2>().0.iter();
    pairs
        .map(|&pair| (u16::from_ne_bytes(pair) >> 8) as u8)
        .collect()
}

/// Blends grey or RGB with alpha (`N` = 2 or 4 values per pixel) with white.
pub(super) fn on_white<const N: usize>(values: &[u8]) -> Vec<u8> {
    let over = |value: u8, alpha: u8| {
        let sum = u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
        // Rounded division by 255.
        let sum = sum + 128;
        ((sum + (sum >> 8)) >> 8) as u8
    };
    let pixels = values.as_chunks::<N>().0.iter();
    let rgb = pixels.flat_map(|pixel| {
        let (first, alpha) = (pixel[0], pixel[N - 1]);
        let color = match N {
            2 => [first; 3],
            _ => [first, pixel[1 % N], pixel[2 % N]],
        };
        color.map(|value| over(value, alpha))
    });
    rgb.collect()
}

/// Undoes the multiplication of the colours by alpha, the last of `N` values a pixel, as Pillow does.
pub(super) fn unpremultiply<const N: usize>(mut values: Vec<u8>) -> Vec<u8> {
    for pixel in values.as_chunks_mut::<N>().0 {
        let alpha = u32::from(pixel[N - 1]);
        if alpha == 0 || alpha == 255 {
            continue;
        }
        for value in pixel.iter_mut().take(N - 1) {
            *value = (255 * u32::from(*value) / alpha).min(255) as u8;
        }
    }
    values
}

/// Converts ink to RGB without a colour profile, as Pillow does.
pub(super) fn cmyk_to_rgb(values: &[u8]) -> Vec<u8> {
    let pixels = values.as_chunks::<4>().0.iter();
    let rgb = pixels.flat_map(|&[cyan, magenta, yellow, black]| {
        let paper = 255 - i32::from(black);
        [cyan, magenta, yellow].map(|ink| {
            let sum = i32::from(ink) * paper + 128;
            let ink = ((sum >> 8) + sum) >> 8;
            (paper - ink).clamp(0, 255) as u8
        })
    });
    rgb.collect()
}

/// Converts YCbCr to RGB by the equations of JFIF.
pub(super) fn ycbcr_to_rgb(values: &[u8]) -> Vec<u8> {
    let pixels = values.as_chunks::<3>().0.iter();
    let rgb = pixels.flat_map(|&[luma, blue, red]| {
        let (luma, blue, red) = (
            f32::from(luma),
            f32::from(blue) - 128.0,
            f32::from(red) - 128.0,
        );
        let green = luma - 0.344_136 * blue - 0.714_136 * red;
        [luma + 1.402 * red, green, luma + 1.772 * blue].map(|value| value.round() as u8)
    });
    rgb.collect()
}
