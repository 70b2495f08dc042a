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
//! column is settled when the chain is built ([`columns`]), and a 1x1 convolution reads the columns
//! that its unit's right side names.
//!
//! **One pass per unit.** A depthwise convolution is the only layer that looks at neighbours. All
//! between two of them belongs to single pixels: depthwise, 1x1 and the next unit's 1x1 run as one
//! pass ([`pass`]) over as many parts of the image as there are threads. With as many images as
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

/// A unit of the chain, its convolutions in the order of the data.
pub enum Unit {
    /// Figure 3 (c) of the paper.
    Basic {
        /// Channels passed on.
        left_channels: usize,
        /// Whether the right side's input is added to what became of it.
        residual: bool,
        /// 1x1, depthwise 3x3, 1x1.
        right: [Folded; 3],
    },
    /// Figure 3 (d).
    Downsample {
        /// 1x1, depthwise 3x3 of stride 2, 1x1.
        right: [Folded; 3],
        /// Depthwise 3x3 of stride 2, 1x1.
        left: [Folded; 2],
        /// Whether the right branch comes first in the concatenation.
        right_first: bool,
    },
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
    /// A downsampling unit first.
    pub units: Vec<Unit>,
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
    /// Where the parts do not fit each other, or the first unit does not downsample.
    pub fn new(parts: Parts) -> Self {
        let isa = Isa::detected();
        let stem = Stem::new(isa, &parts);
        let mut columns: Vec<usize> = (0..stem.outputs()).collect();
        let mut stages: Vec<Stage> = Vec::new();
        for unit in &parts.units {
            match unit {
                Unit::Downsample {
                    right,
                    left,
                    right_first,
                } => {
                    let downsample = Downsample::new(isa, &columns, right, left);
                    columns = downsample.columns(*right_first);
                    stages.push(Stage {
                        row: downsample.row(),
                        downsample,
                        units: Vec::new(),
                    });
                }
                Unit::Basic {
                    left_channels,
                    residual,
                    right,
                } => {
                    let stage = stages.last_mut();
                    let Some(stage) = stage else {
                        panic!("the first unit of a chain downsamples")
                    };
                    let (passed, read) = columns.split_at(*left_channels);
                    let basic = Basic::new(isa, read, right, *residual, stage.row);
                    columns = basic.columns(passed);
                    stage.row += isa.padded(basic.outputs());
                    stage.units.push(basic);
                }
            }
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
        // On a thread of the pool: each pass would wake it up and wait for it from any other.
        rayon::scope(|_| run::batch(self, images, size))
    }
}
