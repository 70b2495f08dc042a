//! Normalisation of pixels: `(pixel / 255 - mean) / std`, per channel.

use serde::{Deserialize, Serialize};

use crate::{DataError, Dataset};

/// Mean and standard deviation of each channel, for pixels scaled to 0..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Mean of each channel, 0 to 1, which is subtracted from the scaled pixels. One number per channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, above 0 and at most 1, by which the result is divided. One
    /// number per channel.
    pub std: Vec<f32>,
}

/// Largest number of encoded images that are decoded to measure a mean and a deviation. A mean over 2,000
/// images is within about half a level of the mean over all images.
pub const MOST_DECODED: usize = 2000;

impl Normalization {
    /// The normalisation that leaves pixels at 0..1.
    pub fn identity(channels: usize) -> Self {
        Self {
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
        }
    }

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
    pub fn of(dataset: &Dataset, indices: &[u32]) -> Result<Self, DataError> {
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
        Ok(Self { mean, std })
    }

    /// Checks that the normalisation fits images of `channels` channels and that its deviations can be
    /// divided by.
    ///
    /// # Errors
    /// [`DataError::Value`] for another number of channels, or a value out of range.
    pub fn check(&self, channels: usize) -> Result<(), DataError> {
        let ranges = [
            ("mean", &self.mean, 0.0..=1.0, "0 to 1"),
            (
                "std",
                &self.std,
                f32::MIN_POSITIVE..=1.0,
                "more than 0, to 1",
            ),
        ];
        for (name, values, range, text) in ranges {
            if values.len() != channels || !values.iter().all(|value| range.contains(value)) {
                return Err(DataError::value(
                    format!("data.normalization.{name}"),
                    format!("{values:?}"),
                    format!(
                        "{channels} values, one a channel, each {text} (pixels are scaled to 0..1)"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The normalised value of each pixel value, by channel: the arithmetic of torchvision's `ToTensor` and
    /// `Normalize`, in f32, computed once.
    pub(crate) fn tables(&self) -> Vec<[f32; 256]> {
        let channels = self.mean.iter().zip(&self.std);
        let table = |(&mean, &std): (&f32, &f32)| {
            std::array::from_fn(|pixel| (pixel as f32 / 255.0 - mean) / std)
        };
        channels.map(table).collect()
    }
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
    fn measured_over_the_given_records_alone() {
        let dataset = random_dataset(20, 5);
        let records = [3, 4, 11];
        let measured = Normalization::of(&dataset, &records).unwrap();
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

    #[test]
    fn normalised_pixels_lead_back_to_their_levels() {
        let normalization = Normalization {
            mean: vec![0.4914, 0.0],
            std: vec![0.247, 1.0],
        };
        let tables = normalization.tables();
        for (channel, table) in tables.iter().enumerate() {
            for (pixel, value) in table.iter().enumerate() {
                let back = value * normalization.std[channel] + normalization.mean[channel];
                assert_eq!((back * 255.0).round() as usize, pixel);
            }
        }
        assert_eq!(tables[1], Normalization::identity(1).tables()[0]);
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        assert!(Normalization::identity(3).check(3).is_ok());
        let refusal = |mean: &[f32], std: &[f32]| {
            let normalization = Normalization {
                mean: mean.to_vec(),
                std: std.to_vec(),
            };
            normalization.check(1).unwrap_err().to_string()
        };
        assert_eq!(
            refusal(&[0.5], &[0.0]),
            "data.normalization.std is [0.0], expected 1 values, one a channel, each more than 0, to 1 \
             (pixels are scaled to 0..1)"
        );
        assert!(
            refusal(&[0.5, 0.5], &[0.2, 0.2]).starts_with("data.normalization.mean is [0.5, 0.5]")
        );
        assert!(refusal(&[125.3], &[0.2]).contains("0 to 1"));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.5] {
            assert!(refusal(&[0.5], &[bad]).starts_with("data.normalization.std is"));
            assert!(refusal(&[bad], &[0.5]).starts_with("data.normalization.mean is"));
        }
    }
}
