//! From bytes to what a network takes: `(pixel / 255 - mean) / std`, per channel.

use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::error::DataError;

/// Mean and standard deviation of each channel, of pixels scaled to 0..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// One a channel.
    pub mean: Vec<f32>,
    /// One a channel, positive.
    pub std: Vec<f32>,
}

impl Normalization {
    /// Leaves pixels at 0..1.
    pub fn identity(channels: usize) -> Self {
        Self {
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
        }
    }

    /// Measured over all pixels of the given records, from whole-number sums: the same everywhere.
    /// A channel that does not vary gets the deviation of one grey level.
    pub fn of(dataset: &Dataset, records: &[u32]) -> Self {
        let shape = dataset.shape;
        let mut sums = vec![(0u64, 0u64); shape.channels];
        for &record in records {
            let planes = dataset.image(record as usize).chunks_exact(shape.plane());
            for ((sum, squares), plane) in sums.iter_mut().zip(planes) {
                for &pixel in plane {
                    *sum += u64::from(pixel);
                    *squares += u64::from(pixel) * u64::from(pixel);
                }
            }
        }
        let count = (records.len() * shape.plane()).max(1) as f64;
        let moments = sums.iter().map(|&(sum, squares)| {
            let mean = sum as f64 / count;
            let variance = (squares as f64 / count - mean * mean).max(0.0);
            let std = if variance > 0.0 { variance.sqrt() } else { 1.0 };
            ((mean / 255.0) as f32, (std / 255.0) as f32)
        });
        let (mean, std) = moments.unzip();
        Self { mean, std }
    }

    /// Refuses what does not fit images of `channels` channels.
    ///
    /// # Errors
    /// [`DataError::Setting`].
    pub fn check(&self, channels: usize) -> Result<(), DataError> {
        let lengths = self.mean.len() == channels && self.std.len() == channels;
        let finite = self.mean.iter().all(|mean| mean.is_finite());
        let positive = self.std.iter().all(|std| std.is_finite() && *std > 0.0);
        if lengths && finite && positive {
            return Ok(());
        }
        Err(DataError::Setting {
            key: "data.normalization",
            found: format!("mean {:?}, std {:?}", self.mean, self.std),
            accepted: format!("{channels} numbers each, those of std positive"),
        })
    }

    /// The value of each of the 256 pixel values, for each channel.
    pub(crate) fn tables(&self) -> Vec<[f32; 256]> {
        let table = |(mean, std): (&f32, &f32)| {
            std::array::from_fn(|pixel| (pixel as f32 / 255.0 - mean) / std)
        };
        self.mean.iter().zip(&self.std).map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ImageShape;

    fn dataset(pixels: &[u8]) -> Dataset {
        let shape = ImageShape {
            channels: 2,
            height: 1,
            width: 2,
        };
        let labels = vec![0; pixels.len() / 4];
        let names = vec!["only".into()];
        Dataset::new("t".into(), shape, names, pixels.into(), labels, Path::new("t")).unwrap()
    }

    #[test]
    fn measured_per_channel_over_the_given_records() {
        let data = dataset(&[0, 255, 7, 7, 9, 9, 9, 9]);
        let measured = Normalization::of(&data, &[0]);
        assert_eq!(measured.mean, [0.5, 7.0 / 255.0]);
        assert_eq!(measured.std, [0.5, 1.0 / 255.0]);
    }

    #[test]
    fn normalised_pixels_have_mean_0_and_deviation_1() {
        let pixels: Vec<u8> = (0..400).map(|i| (i * i % 251) as u8).collect();
        let data = dataset(&pixels);
        let records: Vec<u32> = (0..100).collect();
        let tables = Normalization::of(&data, &records).tables();
        let values = |channel: usize| {
            let images = (0..100).map(|i| data.image(i));
            let planes = images.flat_map(move |image| &image[2 * channel..2 * channel + 2]);
            planes.map(|&p| f64::from(tables[channel][p as usize])).collect::<Vec<_>>()
        };
        for channel in 0..2 {
            let values = values(channel);
            let mean = values.iter().sum::<f64>() / 200.0;
            let variance = values.iter().map(|v| v * v).sum::<f64>() / 200.0;
            assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn wrong_counts_and_deviations_are_refused() {
        assert!(Normalization::identity(3).check(3).is_ok());
        for (channels, std) in [(1, 1.0), (3, 0.0), (3, f32::NAN)] {
            let bad = Normalization {
                mean: vec![0.0; 3],
                std: vec![std; 3],
            };
            let line = bad.check(channels).unwrap_err().to_string();
            assert!(line.contains("data.normalization"), "{line}");
        }
    }
}
