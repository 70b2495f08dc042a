//! Inference on the CPU: a chain of convolutions whose weights are folded and packed once.
//!
//! Training and inference have different needs. In training a batch norm needs the whole batch
//! before the next layer can run, weights change in every step, and the backward needs every
//! convolution's output. In inference a batch norm is a factor and a term that are folded into the
//! weights before it
//!
//! ```text
//! norm(w x) = (g w) x + b,    g = gamma / sqrt(variance + epsilon),    b = beta - g mean
//! ```
//!
//! and an image can go through all layers while it is in the cache. So this module uses no tensor
//! library: it takes pixels and returns logits.
//!
//! **Split, concatenation and shuffle move no data.** A stage keeps its pixels as rows that are wide
//! enough for the outputs of all its units, and each unit appends its columns. The column of each
//! channel is decided when the chain is built (`columns.rs`). A 1x1 convolution reads the columns of
//! its unit's right side.
//!
//! **One pass per unit.** A depthwise convolution is the only layer that reads neighbouring pixels. All
//! layers between two of them work on single pixels. So depthwise, 1x1 and the next unit's 1x1 run as
//! one pass (`pass.rs`) over as many parts of the image as there are threads. With at least as many
//! images as threads, each thread takes whole images instead. Neither choice changes a bit of the
//! result.
//!
//! **Precision.** What one pass leaves for later ones, rows and maps, is stored as float32 or bfloat16. All else is
//! float32: weights, sums, what stays within a pass, the head's averages and the logits. A value is rounded once, when it
//! is stored. On AMX and AVX512-BF16 the products of bfloat16 round their operands, too (`pointwise.rs`).

mod branch;
mod columns;
mod depthwise;
mod folded;
mod maps;
mod parts;
mod pass;
mod place;
mod pointwise;
mod product;
mod reading;
mod run;
mod runs;
mod site;
mod softmax;
mod stem;
mod units;
mod weights;

pub use folded::{Folded, FrozenNorm};
pub use parts::{BasicParts, LayerNames, Parts, StageParts};
pub use softmax::softmax;

use half::bf16;

use crate::precision::Precision;
use crate::simd::Isa;
use pointwise::Pointwise;
use reading::Reading;
use stem::Stem;
use units::{Basic, Downsample};
use weights::Weights;

/// A network, ready to classify.
pub struct Chain {
    isa: Isa,
    precision: Precision,
    stem: Stem,
    stages: Vec<Stage>,
    head: Pointwise,
    /// What the head reads of the last stage's rows.
    last: Reading,
    classifier: Weights,
}

/// Units that share a map size. Their rows, one for each pixel, have the columns of every unit.
struct Stage {
    downsample: Downsample,
    units: Vec<Basic>,
    /// Number of columns of a row.
    row: usize,
}

impl Chain {
    /// Packs the weights for this processor. Activations will be stored in `precision`.
    ///
    /// # Panics
    /// If the parts do not fit each other.
    pub fn new(parts: &Parts<Folded>, precision: Precision) -> Self {
        Self::on(Isa::detected(), parts, precision)
    }

    fn on(isa: Isa, parts: &Parts<Folded>, precision: Precision) -> Self {
        let stem = Stem::new(isa, parts);
        let mut columns: Vec<usize> = (0..stem.outputs()).collect();
        let mut stages = Vec::new();
        for parts in &parts.stages {
            let downsample = Downsample::new((isa, precision), &columns, &parts.right, &parts.left);
            columns = downsample.columns(parts.right_first);
            let mut row = downsample.row();
            let mut units = Vec::new();
            for parts in &parts.units {
                let (passed, read) = columns.split_at(parts.left_channels);
                let unit = Basic::new((isa, precision), read, &parts.right, parts.residual, row);
                columns = unit.columns(passed);
                row += isa.padded(unit.outputs());
                units.push(unit);
            }
            stages.push(Stage {
                downsample,
                units,
                row,
            });
        }
        let pooled: Vec<usize> = (0..parts.head.outputs()).collect();
        let (last, head) = pointwise::reading(isa, precision, &parts.head, &columns);
        Self {
            isa,
            precision,
            stem,
            stages,
            head,
            last,
            classifier: Weights::new(isa, &parts.classifier, &pooled),
        }
    }

    /// Number of channels of an image.
    pub fn input_channels(&self) -> usize {
        self.stem.channels()
    }

    /// Number of logits of an image.
    pub fn classes(&self) -> usize {
        self.classifier.outputs()
    }

    /// Computes the logits of a batch, image by image.
    ///
    /// # Shapes
    /// - `images`: `[batch, input_channels, height, width]`
    /// - `size`: batch, height and width
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    /// If the length of `images` differs from `size`, or the images are too small for the stem.
    pub fn run(&self, images: &[f32], size: [usize; 3]) -> Vec<f32> {
        match self.precision {
            Precision::F32 => run::batch::<f32>(self, images, size),
            Precision::Bf16 => run::batch::<bf16>(self, images, size),
        }
    }
}

#[cfg(test)]
mod tests;
