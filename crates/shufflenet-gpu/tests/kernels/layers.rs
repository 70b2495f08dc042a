//! The reference in float64 of several convolutions with batch norm, one after the other, forward and backward.

use cubecl::prelude::Client;
use shufflenet_gpu::conv_norm::ConvNorm;
use shufflenet_gpu::stored::Stored;

use crate::host::{
    AT_ONCE, Norm, depthwise, depthwise_backward, noise, product, product_backward, relu, rounded,
    upload, widened,
};

/// A convolution with batch norm. A 1x1 convolution also has a ReLU.
pub struct Layer {
    pub depthwise: bool,
    inputs: usize,
    weight: Vec<f32>,
    pub gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Layer {
    pub fn new(inputs: usize, outputs: usize, depthwise: bool, seed: u64) -> Self {
        let values = if depthwise { 9 } else { inputs };
        Self {
            depthwise,
            inputs,
            weight: noise(outputs * values, seed),
            gamma: noise(outputs, seed + 1),
            beta: noise(outputs, seed + 2),
        }
    }

    pub fn upload(&self, client: &Client) -> ConvNorm {
        let [weight, gamma, beta] =
            [&self.weight, &self.gamma, &self.beta].map(|values| upload(client, values));
        ConvNorm {
            weight,
            gamma,
            beta,
        }
    }
}

/// A layer's input, its convolution's output, and the norm of this output.
pub struct Trace {
    z: Vec<f64>,
    shape: [usize; 3],
    stride: usize,
    pub y: Vec<f64>,
    pub norm: Norm,
}

/// The values as a map stores them.
pub fn as_stored(values: &[f64], stored: Stored) -> Vec<f64> {
    match stored {
        Stored::F32 => values.to_vec(),
        Stored::Bf16 => {
            let narrow: Vec<f32> = values.iter().map(|x| *x as f32).collect();
            widened(&rounded(&narrow, stored))
        }
    }
}

/// The traces of the layers and the output of the last layer. The depthwise convolution has the stride. Each convolution's
/// output is stored, and so rounded.
pub fn forward(
    layers: &[Layer],
    x: Vec<f64>,
    shape: [usize; 3],
    stride: usize,
    stored: Stored,
) -> (Vec<Trace>, Vec<f64>) {
    let (mut traces, mut z, mut shape) = (Vec::new(), x, shape);
    for layer in layers {
        let y = match layer.depthwise {
            true => depthwise(&z, shape, stride, &layer.weight),
            false => product(&z, &layer.weight, layer.inputs),
        };
        let y = as_stored(&y, stored);
        let norm = Norm::of(&y, &layer.gamma, &layer.beta, AT_ONCE.epsilon);
        let normed = norm.apply(&y);
        let out = match layer.depthwise {
            true => normed,
            false => relu(&normed),
        };
        traces.push(Trace {
            z,
            shape,
            stride,
            y,
            norm,
        });
        z = out;
        if layer.depthwise {
            let [images, height, width] = shape;
            shape = [images, height.div_ceil(stride), width.div_ceil(stride)];
        }
    }
    (traces, z)
}

/// The gradients of the input, and of weight, gamma and beta of each layer. The gradient of each norm's output is
/// stored, and so rounded.
pub fn backward(
    layers: &[Layer],
    traces: &[Trace],
    dout: Vec<f64>,
    stored: Stored,
) -> (Vec<f64>, Vec<[Vec<f64>; 3]>) {
    let (mut g, mut gradients) = (dout, Vec::new());
    for (layer, trace) in layers.iter().zip(traces).rev() {
        if !layer.depthwise {
            let normed = trace.norm.apply(&trace.y);
            let behind = g.iter_mut().zip(normed).filter(|(_, z)| *z <= 0.0);
            behind.for_each(|(g, _)| *g = 0.0);
        }
        let g_stored = as_stored(&g, stored);
        let [dy, dgamma, dbeta] = trace.norm.backward(&trace.y, &g_stored);
        let [dz, dw] = match layer.depthwise {
            true => depthwise_backward(&dy, &trace.z, trace.shape, trace.stride, &layer.weight),
            false => product_backward(&dy, &trace.z, &layer.weight, layer.inputs),
        };
        gradients.insert(0, [dw, dgamma, dbeta]);
        g = dz;
    }
    (g, gradients)
}
