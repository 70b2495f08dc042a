//! Fine-tuning: starting from another task's weights and freezing parts of a network.
//!
//! A checkpoint of other classes provides everything except the classifier. A checkpoint trained on colour images fits
//! a network for greyscale images: the stem's kernels are summed over the colours. The sum gives the same features for
//! a grey image, whose colour channels are all equal.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::float16::widened;
use crate::names::names;
use crate::network::ShuffleNetV2;
use crate::weights::{WeightsError, load_safetensors, to_safetensors};

impl ShuffleNetV2 {
    /// Excludes from training every parameter whose name in weight files satisfies `is_frozen`. A batch
    /// norm with a frozen weight normalises by its running statistics and does not update them.
    pub fn freeze_parts(self, is_frozen: impl Fn(&str) -> bool) -> Self {
        let names = names(self.config()).into_iter();
        let frozen = names.filter(|name| is_frozen(&name.file) && !name.path.contains(".running_"));
        let mut freezer = Freezer {
            path: Vec::new(),
            frozen: frozen.map(|name| name.path).collect(),
        };
        self.map(&mut freezer)
    }
}

/// Marks parameters by their paths.
struct Freezer {
    path: Vec<String>,
    frozen: HashSet<String>,
}

impl ModuleMapper for Freezer {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.frozen.contains(&self.path.join(".")) {
            true => param.set_require_grad(false),
            false => param,
        }
    }

    /// The only flags in the network are those of batch norms, next to their weights.
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let path = self.path.join(".");
        let gamma = path.replace(".training", ".gamma");
        match self.frozen.contains(&gamma) {
            true => flag.with_value(false),
            false => flag,
        }
    }
}

/// Where the classifier of a network comes from that starts from another task's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassifierStart<'a> {
    /// From its initial values: the classes are others.
    Fresh,
    /// From the file: class `i` is the file's class `rows[i]`.
    Rows(&'a [usize]),
}

/// Loads a safetensors file into `network`, except a classifier that keeps its initial values. The file may have a stem
/// for colour images if the network takes greyscale images. Also returns a description of that adaptation.
///
/// # Errors
/// Errors are those of [`load_safetensors`], for everything that does not fit.
pub fn load_for_fine_tuning(
    network: ShuffleNetV2,
    bytes: &[u8],
    classifier: ClassifierStart,
) -> Result<(ShuffleNetV2, Vec<String>), WeightsError> {
    let paths: HashMap<String, String> = names(network.config())
        .into_iter()
        .map(|name| (name.file, name.path))
        .collect();
    let (own, file) = (to_safetensors(&network)?, widened(bytes)?);
    let (own, file) = (
        SafeTensors::deserialize(&own)?,
        SafeTensors::deserialize(&file)?,
    );
    let mut adapted = Vec::new();
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        let path = paths.get(name).map_or("", String::as_str);
        let ours = own.tensor(name).ok();
        let mut dtype = view.dtype();
        let (shape, values) = match (ours, view.shape()) {
            (Some(ours), _) if path.starts_with("classifier.") => match classifier {
                ClassifierStart::Fresh => {
                    dtype = ours.dtype();
                    (ours.shape().to_vec(), Cow::Owned(ours.data().to_vec()))
                }
                ClassifierStart::Rows(rows) => take_rows(&view, rows),
            },
            (Some(ours), &[outputs, colours, ..])
                if path == "stem.conv.weight"
                    && ours.shape() != view.shape()
                    && ours.shape().get(1) == Some(&1)
                    && view.dtype() == Dtype::F32 =>
            {
                adapted.push(format!("`{name}` is added up over {colours} colours"));
                let summed = sum_over_colours(view.data(), outputs, colours);
                (ours.shape().to_vec(), Cow::Owned(summed))
            }
            _ => (view.shape().to_vec(), Cow::Borrowed(view.data())),
        };
        tensors.push((name, dtype, shape, values));
    }
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, values)| {
            Ok((*name, TensorView::new(*dtype, shape.clone(), values)?))
        })
        .collect::<Result<Vec<_>, WeightsError>>()?;
    let fitting = safetensors::serialize(views, None)?;
    adapted.sort();
    Ok((load_safetensors(network, &fitting)?, adapted))
}

/// The `rows` of a tensor, in their order. A row that the tensor lacks is left out, and the shape shows that.
fn take_rows<'a>(view: &TensorView<'a>, rows: &[usize]) -> (Vec<usize>, Cow<'a, [u8]>) {
    let mut shape = view.shape().to_vec();
    let count = shape.first().copied().unwrap_or(0);
    let size = view.data().len() / count.max(1);
    let row = |&row: &usize| view.data().get(row * size..(row + 1) * size);
    let taken: Vec<&[u8]> = rows.iter().filter_map(row).collect();
    if let Some(first) = shape.first_mut() {
        *first = taken.len();
    }
    (shape, Cow::Owned(taken.concat()))
}

/// Sums little-endian float32 kernels of shape `[outputs, colours, ...]` over the colours.
fn sum_over_colours(bytes: &[u8], outputs: usize, colours: usize) -> Vec<u8> {
    let (values, _) = bytes.as_chunks::<4>();
    let kernel = values.len() / (outputs * colours).max(1);
    let value = |place: usize| values.get(place).map_or(0.0, |x| f32::from_le_bytes(*x));
    let mut summed = Vec::with_capacity(outputs * kernel * 4);
    for output in 0..outputs {
        for pixel in 0..kernel {
            let of = |colour: usize| value((output * colours + colour) * kernel + pixel);
            let sum: f32 = (0..colours).map(of).sum();
            summed.extend(sum.to_le_bytes());
        }
    }
    summed
}
