//! Inference on the CPU: a chain of convolutions whose weights are folded and packed once.
//!
//! Training and inference want different things. In training a batch norm needs the whole batch
//! before anything behind it can run, weights change at every step, and everything is kept for the
//! backward. In inference a batch norm is a factor and a term that go into the weights before it
//!
//! ```text
//! norm(w x) = (g w) x + b,    g = gamma / sqrt(variance + epsilon),    b = beta - g mean
//! ```
//!
//! and an image can go through all layers while it is in the cache. So there is no tensor library
//! here: pixels in, logits out.
//!
//! **Split, concatenation and shuffle move nothing.** A stage keeps its pixels as rows that are wide
//! enough for what all of its units give; each unit appends its columns. Which channel lies in which
//! column is settled when the chain is built (`columns.rs`), and a 1x1 convolution reads the columns
//! that its unit's right side names.
//!
//! **One pass per unit.** A depthwise convolution is the only layer that looks at neighbours. All
//! between two of them belongs to single pixels: depthwise, 1x1 and the next unit's 1x1 run as one
//! pass (`pass.rs`) over as many parts of the image as there are threads. With as many images as
//! threads, each thread takes whole images instead. Neither choice changes a bit of the result.

mod columns;
mod depthwise;
mod pass;
mod product;
mod run;
mod stem;
mod units;
mod weights;

pub use weights::{Folded, FrozenNorm};

use crate::flex::simd::Isa;
use product::Weights;
use stem::Stem;
use units::{Basic, Downsample};

/// The stride-1 unit, figure 3 (c) of the paper.
pub struct BasicParts {
    /// Channels passed on.
    pub left_channels: usize,
    /// Whether the right side's input is added to what became of it.
    pub residual: bool,
    /// 1x1, depthwise 3x3, 1x1.
    pub right: [Folded; 3],
}

/// A stride-2 unit, figure 3 (d), and the units behind it.
pub struct StageParts {
    /// 1x1, depthwise 3x3 of stride 2, 1x1.
    pub right: [Folded; 3],
    /// Depthwise 3x3 of stride 2, 1x1.
    pub left: [Folded; 2],
    /// Whether the right branch comes first in the concatenation.
    pub right_first: bool,
    /// The stride-1 units.
    pub units: Vec<BasicParts>,
}

/// What a chain is made of, in the order of the data.
pub struct Parts {
    /// Channels of an image.
    pub input_channels: usize,
    /// Dense 3x3 convolution padded by 1, and ReLU.
    pub stem: Folded,
    /// Its stride.
    pub stem_stride: usize,
    /// Padding of the 3x3 max pooling of stride 2 behind it, where there is one.
    pub pool: Option<usize>,
    /// Each halves the map.
    pub stages: Vec<StageParts>,
    /// The last 1x1 convolution and ReLU, averaged over the map.
    pub head: Folded,
    /// The linear classifier on that.
    pub classifier: Folded,
}

/// A network, ready to classify.
pub struct Chain {
    isa: Isa,
    stem: Stem,
    stages: Vec<Stage>,
    head: Weights,
    classifier: Weights,
}

/// Units that share a map size: a row for each pixel, with every unit's columns.
struct Stage {
    downsample: Downsample,
    units: Vec<Basic>,
    /// Columns of a row.
    row: usize,
}

impl Chain {
    /// Packs the weights for this processor.
    ///
    /// # Panics
    /// Where the parts do not fit each other.
    pub fn new(parts: &Parts) -> Self {
        let isa = Isa::detected();
        let stem = Stem::new(isa, parts);
        let mut columns: Vec<usize> = (0..stem.outputs()).collect();
        let mut stages = Vec::new();
        for parts in &parts.stages {
            let downsample = Downsample::new(isa, &columns, &parts.right, &parts.left);
            columns = downsample.columns(parts.right_first);
            let mut row = downsample.row();
            let mut units = Vec::new();
            for parts in &parts.units {
                let (passed, read) = columns.split_at(parts.left_channels);
                let unit = Basic::new(isa, read, &parts.right, parts.residual, row);
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
        Self {
            isa,
            stem,
            stages,
            head: Weights::new(isa, &parts.head, &columns),
            classifier: Weights::new(isa, &parts.classifier, &pooled),
        }
    }

    /// Channels of the images.
    pub fn input_channels(&self) -> usize {
        self.stem.channels()
    }

    /// Logits of each image.
    pub fn classes(&self) -> usize {
        self.classifier.outputs()
    }

    /// Logits of a batch, one after the other.
    ///
    /// # Shapes
    /// - `images`: `[batch, input_channels, height, width]`, the three numbers but the channels in
    ///   `size`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    /// Where `images` is not as long as `size` says, or too small for the stem.
    pub fn run(&self, images: &[f32], size: [usize; 3]) -> Vec<f32> {
        run::batch(self, images, size)
    }
}
