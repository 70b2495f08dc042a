//! Colour operations on u8 images, computed as torchvision's functional operations compute them on u8
//! tensors: in float32, truncated rather than rounded when converted back to pixels.

use crate::ImageShape;

/// torchvision's weights of red, green and blue in a grey value.
const LUMA: [f32; 3] = [0.2989, 0.587, 0.114];

/// Luma of each pixel of an RGB image; the unchanged values of a grey image.
fn grey(image: &[u8], shape: ImageShape) -> Vec<u8> {
    let plane = shape.plane();
    let [red, green, blue] = [0, 1, 2].map(|channel| image.get(channel * plane..).unwrap_or(&[]));
    if shape.channels != 3 {
        return image.to_vec();
    }
    let pixels = red.iter().zip(green).zip(blue).take(plane);
    let luma = |((&r, &g), &b): ((&u8, &u8), &u8)| {
        (LUMA[0] * f32::from(r) + LUMA[1] * f32::from(g) + LUMA[2] * f32::from(b)) as u8
    };
    pixels.map(luma).collect()
}

/// `ratio` times a pixel plus `1 - ratio` times another value.
fn blend(pixel: u8, other: f32, ratio: f64) -> u8 {
    let rest = (1.0 - ratio) as f32;
    // The cast saturates at 0 and 255.
    (ratio as f32 * f32::from(pixel) + rest * other) as u8
}

/// Scales the brightness: darker below 1, brighter above; 0 is black.
pub(super) fn brightness(image: &mut [u8], factor: f64) {
    let table: [u8; 256] = std::array::from_fn(|pixel| blend(pixel as u8, 0.0, factor));
    look_up(image, &table);
}

/// Moves pixels towards the mean grey below 1, away from it above.
pub(super) fn contrast(image: &mut [u8], shape: ImageShape, factor: f64) {
    let grey = grey(image, shape);
    let sum: u64 = grey.iter().map(|&pixel| u64::from(pixel)).sum();
    let mean = (sum as f64 / grey.len().max(1) as f64) as f32;
    let table: [u8; 256] = std::array::from_fn(|pixel| blend(pixel as u8, mean, factor));
    look_up(image, &table);
}

/// Moves pixels towards grey below 1, makes them more colourful above. A grey image stays as it is.
pub(super) fn saturation(image: &mut [u8], shape: ImageShape, factor: f64) {
    if shape.channels != 3 {
        return;
    }
    let grey = grey(image, shape);
    for plane in image.chunks_exact_mut(shape.plane()) {
        for (pixel, &grey) in plane.iter_mut().zip(&grey) {
            *pixel = blend(*pixel, grey.into(), factor);
        }
    }
}

/// Rotates the hue by `turn`, a part of the full circle from -0.5 to 0.5. A grey image stays as it is.
pub(super) fn hue(image: &mut [u8], shape: ImageShape, turn: f64) {
    let (red, rest) = image.split_at_mut(shape.plane());
    if shape.channels != 3 {
        return;
    }
    let (green, blue) = rest.split_at_mut(shape.plane());
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let rgb = [*red, *green, *blue].map(|value| f32::from(value) / 255.0);
        let [hue, saturation, value] = to_hsv(rgb);
        let turned = (hue + turn as f32).rem_euclid(1.0);
        let rgb = to_rgb([turned, saturation, value]);
        // torchvision's `convert_image_dtype` from float to u8.
        let [r, g, b] = rgb.map(|value| (value * (256.0 - 1e-3)) as u8);
        (*red, *green, *blue) = (r, g, b);
    }
}

fn to_hsv([red, green, blue]: [f32; 3]) -> [f32; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let range = most - least;
    if range == 0.0 {
        return [0.0, 0.0, most];
    }
    let [r, g, b] = [red, green, blue].map(|value| (most - value) / range);
    let hue = if most == red {
        b - g
    } else if most == green {
        2.0 + r - b
    } else {
        4.0 + g - r
    };
    [(hue / 6.0 + 1.0) % 1.0, range / most, most]
}

fn to_rgb([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    let sector = (hue * 6.0).floor();
    let part = hue * 6.0 - sector;
    let cut = |x: f32| x.clamp(0.0, 1.0);
    let p = cut(value * (1.0 - saturation));
    let q = cut(value * (1.0 - saturation * part));
    let t = cut(value * (1.0 - saturation * (1.0 - part)));
    match sector as i32 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

/// Keeps the `bits` highest bits of each value.
pub(super) fn posterize(image: &mut [u8], bits: u32) {
    let mask = 0xffu8.checked_shl(8u32.saturating_sub(bits)).unwrap_or(0);
    image.iter_mut().for_each(|pixel| *pixel &= mask);
}

/// Inverts values of at least `threshold`.
pub(super) fn solarize(image: &mut [u8], threshold: f64) {
    for pixel in image {
        if f64::from(*pixel) >= threshold {
            *pixel = 255 - *pixel;
        }
    }
}

/// Stretches the values of each channel to the full range.
pub(super) fn autocontrast(image: &mut [u8], shape: ImageShape) {
    for plane in image.chunks_exact_mut(shape.plane()) {
        let least = plane.iter().copied().min().unwrap_or(0);
        let most = plane.iter().copied().max().unwrap_or(0);
        if least == most {
            continue;
        }
        // PyTorch divides a number by a tensor by multiplying with the reciprocal.
        let scale = f32::from(most - least).recip() * 255.0;
        for pixel in plane {
            *pixel = (f32::from(*pixel - least) * scale) as u8;
        }
    }
}

/// Equalises the histogram of each channel.
pub(super) fn equalize(image: &mut [u8], shape: ImageShape) {
    for plane in image.chunks_exact_mut(shape.plane()) {
        let mut counts = [0usize; 256];
        plane
            .iter()
            .for_each(|&pixel| counts[usize::from(pixel)] += 1);
        let last = counts.iter().rev().find(|&&count| count > 0).unwrap_or(&0);
        let step = (plane.len() - last) / 255;
        if step == 0 {
            continue;
        }
        let mut below = 0;
        let table: [u8; 256] = std::array::from_fn(|value| {
            let level = if value == 0 {
                0
            } else {
                (below + step / 2) / step
            };
            below += counts[value];
            level.min(255) as u8
        });
        look_up(plane, &table);
    }
}

/// Blurs below 1, sharpens above: moves each pixel towards or away from the weighted mean of its 3x3
/// neighbourhood, in which the pixel itself has weight five. Pixels at the edge have no full neighbourhood
/// and stay as they are.
pub(super) fn sharpness(image: &mut [u8], shape: ImageShape, factor: f64) {
    let ImageShape { height, width, .. } = shape;
    if height <= 2 || width <= 2 {
        return;
    }
    for plane in image.chunks_exact_mut(shape.plane()) {
        let source = plane.to_vec();
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let inside = (1..height - 1).contains(&y) && (1..width - 1).contains(&x);
                let blurred = match inside {
                    true => blurred(&source, y * width + x, width),
                    false => f32::from(*pixel),
                };
                *pixel = blend(*pixel, blurred, factor);
            }
        }
    }
}

/// The weighted mean of the nine pixels around `place`, rounded because it is a pixel of the blurred image.
fn blurred(plane: &[u8], place: usize, width: usize) -> f32 {
    let (one, five) = (1.0f32 / 13.0, 5.0f32 / 13.0);
    let mut sum = 0.0;
    for (start, weights) in [
        (place - width - 1, [one; 3]),
        (place - 1, [one, five, one]),
        (place + width - 1, [one; 3]),
    ] {
        for (weight, &value) in weights.iter().zip(&plane[start..]) {
            sum += weight * f32::from(value);
        }
    }
    sum.round_ties_even()
}

fn look_up(image: &mut [u8], table: &[u8; 256]) {
    image
        .iter_mut()
        .for_each(|pixel| *pixel = table[usize::from(*pixel)]);
}
