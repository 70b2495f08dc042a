//! Reads the network's float tensors by their names, and writes them.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

use crate::names::names;
use crate::network::ShuffleNetV2;

/// A float tensor of the network.
pub(crate) struct Entry {
    pub id: ParamId,
    /// Path of the field, for example `stem.conv.weight`.
    pub path: String,
    /// Name of the tensor in weight files.
    pub file: String,
    /// Shape of the tensor in Burn.
    pub shape: Vec<usize>,
    pub values: Tensor<1>,
}

impl Entry {
    pub fn is_trainable(&self) -> bool {
        !self.path.ends_with(".running_mean") && !self.path.ends_with(".running_var")
    }
}

/// Every float tensor of the network, with its names.
pub(crate) fn entries(network: &ShuffleNetV2) -> Vec<Entry> {
    let names = names(network.config()).into_iter();
    let mut collector = Collector {
        path: Vec::new(),
        names: names.map(|name| (name.path, name.file)).collect(),
        entries: Vec::new(),
    };
    // A visitor of a training network sees the running statistics from before the last step's update. The
    // inference network has the updated ones, and the same ids.
    network.valid().visit(&mut collector);
    collector.entries
}

struct Collector {
    path: Vec<String>,
    names: HashMap<String, String>,
    entries: Vec<Entry>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let values = param.val();
        self.entries.push(Entry {
            id: param.id,
            // A test checks that the table has every path. A path missing from it would be its own name.
            file: self.names.get(&path).unwrap_or(&path).clone(),
            path,
            shape: values.dims().to_vec(),
            values: values.reshape([-1]),
        });
    }
}

/// Replaces the tensors of `network` at the given paths by values in Burn's shapes. Other tensors stay as
/// they are.
pub(crate) fn put(network: ShuffleNetV2, tensors: HashMap<String, TensorData>) -> ShuffleNetV2 {
    // Unshared, so that a clone that the caller keeps does not get these running statistics, too.
    network.unshare().map(&mut Loader {
        path: Vec::new(),
        tensors,
    })
}

/// Puts each tensor at its path.
struct Loader {
    path: Vec<String>,
    tensors: HashMap<String, TensorData>,
}

impl ModuleMapper for Loader {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = self.tensors.remove(&self.path.join(".")) else {
            return param;
        };
        let (id, device) = (param.id, param.lazy_device());
        param.transform_for_load(Tensor::from_data(data, &device), id)
    }
}
