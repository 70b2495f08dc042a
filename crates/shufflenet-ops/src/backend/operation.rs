//! An operation as both the kernels of the CPU and those of a GPU compute it.

use std::fmt;

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use shufflenet_kernels::Precision;

use crate::backend::extension::RunningTensors;

/// Kind of an operation, with its parameters that are no tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Stem {
        stride: usize,
        pool: Option<usize>,
        /// What the output is stored as.
        precision: Precision,
    },
    Basic {
        left_channels: usize,
        residual: bool,
    },
    Downsample {
        right_first: bool,
    },
    Head,
    /// The input stored as `precision`, on a GPU. Flex leaves that to Burn.
    Cast {
        #[cfg_attr(
            not(feature = "gpu"),
            expect(dead_code, reason = "only a GPU reads it")
        )]
        precision: Precision,
    },
}

/// The constants of the batch norms.
#[derive(Clone, Copy, Debug)]
pub struct NormConfig {
    /// Added to the variance under the square root.
    pub epsilon: f64,
    /// Weight of the batch in the running statistics.
    pub momentum: f64,
}

/// An operation with its tensors, in the order of its node's parents: the input, then weight, gamma
/// and beta of each convolution. A unit has the right branch's three convolutions, then the left
/// branch's two.
pub(crate) struct Operation<B: Backend> {
    pub kind: Kind,
    pub tensors: Vec<FloatTensor<B>>,
}

/// Result of the forward.
pub(crate) struct Forward<B: HasKernels> {
    pub output: FloatTensor<B>,
    /// The running statistics after the batch, in the order of the convolutions.
    pub running: Vec<RunningTensors<B>>,
    /// What the backward needs besides the tensors.
    pub saved: B::Saved,
}

/// A backend with kernels for the parts of the network.
pub(crate) trait HasKernels: Backend {
    /// What an operation keeps for its backward.
    type Saved: Send + Sync + 'static;

    /// The operation with its tensors in the order of memory that the kernels read.
    fn operation(kind: Kind, tensors: Vec<FloatTensor<Self>>) -> Operation<Self>;

    /// Computes the output. `running` has the running statistics before the batch, in the order of the convolutions.
    fn forward(
        operation: &Operation<Self>,
        running: Vec<RunningTensors<Self>>,
        config: NormConfig,
    ) -> Forward<Self>;

    /// The gradients in the order of the tensors, from the output's gradient. A stem computes the gradient of
    /// its images only if `for_input` is set.
    fn backward(
        operation: &Operation<Self>,
        saved: &Self::Saved,
        output: FloatTensor<Self>,
        for_input: bool,
    ) -> Vec<Option<FloatTensor<Self>>>;
}

impl<B: Backend> Clone for Operation<B> {
    fn clone(&self) -> Self {
        Self {
            kind: self.kind,
            tensors: self.tensors.clone(),
        }
    }
}

impl<B: Backend> fmt::Debug for Operation<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

/// The type of a tensor of this precision.
pub(crate) const fn dtype(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
    }
}
