//! Measures the mean and the standard deviation of a set's pixels.

use shufflenet_image::Normalization;

use crate::{DataError, Dataset};

/// Largest number of encoded images that are decoded to measure a mean and a deviation. A mean over 2,000
/// images is within about half a level of the mean over all images.
pub const MOST_DECODED: usize = 2000;

/// Measures mean and deviation over the records `indices`. Every pixel counts once, and the deviation
/// is the population's. A channel with a single value gets one pixel level, 1/255, as its deviation.
///
/// The sums are integers, so the result is the same in any order and on any machine. Of encoded images,
/// at most [`MOST_DECODED`] are measured, evenly spread over the records.
///
/// # Errors
/// The error of an encoded image that cannot be read.
///
/// # Panics
/// For an index that `dataset` does not have.
pub fn normalization_of(dataset: &Dataset, indices: &[u32]) -> Result<Normalization, DataError> {
    let step = match dataset.is_encoded() {
        true => indices.len().div_ceil(MOST_DECODED).max(1),
        false => 1,
    };
    let mut histograms = vec![[0u64; 256]; dataset.shape.channels];
    for &index in indices.iter().step_by(step) {
        let image = dataset.image(index as usize)?;
        let planes = image.chunks_exact(dataset.shape.plane());
        for (histogram, plane) in histograms.iter_mut().zip(planes) {
            for &pixel in plane {
                histogram[usize::from(pixel)] += 1;
            }
        }
    }
    let (mean, std) = histograms.iter().map(mean_and_deviation).unzip();
    Ok(Normalization { mean, std })
}

fn mean_and_deviation(histogram: &[u64; 256]) -> (f32, f32) {
    let (mut count, mut sum, mut squares) = (0u128, 0u128, 0u128);
    for (pixel, &times) in (0u128..).zip(histogram) {
        let times = u128::from(times);
        count += times;
        sum += pixel * times;
        squares += pixel * pixel * times;
    }
    let mean = sum as f64 / count.max(1) as f64;
    // Exactly n^2 times the variance.
    let spread = count * squares - sum * sum;
    let deviation = match spread {
        0 => 1.0,
        _ => (spread as f64).sqrt() / count as f64,
    };
    ((mean / 255.0) as f32, (deviation / 255.0) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_dataset;

    #[test]
    fn only_the_given_records_are_measured() {
        let dataset = random_dataset(20, 5);
        let records = [3, 4, 11];
        let measured = normalization_of(&dataset, &records).unwrap();
        for channel in 0..3 {
            let plane = dataset.shape.plane();
            let pixels = records.iter().flat_map(|&record| {
                dataset.image(record as usize).unwrap()[channel * plane..][..plane].to_vec()
            });
            let pixels: Vec<f64> = pixels.map(|pixel| f64::from(pixel) / 255.0).collect();
            let mean = pixels.iter().sum::<f64>() / pixels.len() as f64;
            let squares = pixels
                .iter()
                .map(|pixel| (pixel - mean).powi(2))
                .sum::<f64>();
            let std = (squares / pixels.len() as f64).sqrt();
            assert!((f64::from(measured.mean[channel]) - mean).abs() < 1e-7);
            assert!((f64::from(measured.std[channel]) - std).abs() < 1e-7);
        }
    }

    #[test]
    fn a_single_value_does_not_divide_by_zero() {
        let mut histogram = [0; 256];
        histogram[51] = 9;
        assert_eq!(mean_and_deviation(&histogram), (0.2, 1.0 / 255.0));
        assert_eq!(mean_and_deviation(&[0; 256]), (0.0, 1.0 / 255.0));
    }
}
