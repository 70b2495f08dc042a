//! Normalisation of pixels: `(pixel / 255 - mean) / std`, per channel.

use serde::{Deserialize, Serialize};

use crate::ValueError;

/// Mean and standard deviation of each channel, for pixels scaled to 0..1. In an experiment: without this section, those of
/// the training images are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Mean of each channel, 0 to 1, which is subtracted from the scaled pixels. One number per channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, above 0 and at most 1, by which the result is divided. One
    /// number per channel.
    pub std: Vec<f32>,
}

impl Normalization {
    /// The normalisation that leaves pixels at 0..1.
    pub fn identity(channels: usize) -> Self {
        Self {
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
        }
    }

    /// Checks that the normalisation fits images of `channels` channels and that its deviations can be
    /// divided by.
    ///
    /// # Errors
    /// [`ValueError`] for another number of channels, or a value out of range.
    pub fn check(&self, channels: usize) -> Result<(), ValueError> {
        let ranges = [
            ("mean", &self.mean, 0.0..=1.0, "0 to 1"),
            (
                "std",
                &self.std,
                f32::MIN_POSITIVE..=1.0,
                "more than 0, to 1",
            ),
        ];
        let count = match channels {
            1 => "1 value,".into(),
            _ => format!("{channels} values, one per channel, each"),
        };
        for (name, values, range, text) in ranges {
            if values.len() != channels || !values.iter().all(|value| range.contains(value)) {
                return Err(ValueError::new(
                    format!("data.normalization.{name}"),
                    format!("{values:?}"),
                    format!("{count} {text} (pixels are scaled to 0..1)"),
                ));
            }
        }
        Ok(())
    }

    /// The normalised value of each pixel value, by channel: the arithmetic of torchvision's `ToTensor` and
    /// `Normalize`, in f32, computed once.
    pub fn tables(&self) -> Vec<[f32; 256]> {
        let channels = self.mean.iter().zip(&self.std);
        let table = |(&mean, &std): (&f32, &f32)| {
            std::array::from_fn(|pixel| (pixel as f32 / 255.0 - mean) / std)
        };
        channels.map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "data.normalization.std is [0.0]; accepted: 1 value, more than 0, to 1 \
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
