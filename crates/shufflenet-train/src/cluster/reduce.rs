//! Sums over the ranks in a step: gradients, losses and hits.
//!
//! Gradients are one float32 message. Buckets that are sent while the backward still runs would save little time
//! for these networks (`docs/cluster.md` has the measurement).

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{ExecutionError, Tensor, TensorData};

use super::Cluster;
use crate::error::TrainError;
use crate::evaluation::tally::Tally;
use crate::recipe::optimizer::gradients::Gradients;
use crate::step::classifier::Classifier;

impl Cluster {
    /// The sum of all ranks' gradients.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub(crate) fn sum_gradients(&self, gradients: Gradients) -> Result<Gradients, TrainError> {
        let Some(link) = &self.link else {
            return Ok(gradients);
        };
        let mut values = Vec::new();
        for row in gradients.rows() {
            values.extend(row.clone().try_into_data()?.iter::<f32>());
        }
        link.sum_f32(&mut values);
        let mut rest = &*values;
        let summed = |row: &Tensor<1>| {
            let (own, behind) = rest.split_at(row.dims()[0]);
            rest = behind;
            Tensor::from_data(TensorData::new(own.to_vec(), row.dims()), &row.device())
        };
        let rows = gradients.rows().iter().map(summed).collect();
        Ok(gradients.with_rows(rows))
    }

    /// `classifier` with the mean of all ranks' running statistics, if each rank normalises its own share of a batch.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub(crate) fn average_statistics(
        &self,
        classifier: Classifier,
    ) -> Result<Classifier, TrainError> {
        let Some(link) = &self.link else {
            return Ok(classifier);
        };
        // `valid` makes Burn write the latest running statistics into the module.
        drop(classifier.valid());
        let mut statistics = Statistics {
            values: Vec::new(),
            failure: None,
        };
        classifier.visit(&mut statistics);
        if let Some(error) = statistics.failure {
            return Err(error.into());
        }
        let mut values = statistics.values;
        link.sum_f64(&mut values);
        let ranks = link.ranks() as f64;
        let means = values.into_iter().map(|sum| (sum / ranks) as f32);
        let mut means: Vec<f32> = means.rev().collect();
        Ok(classifier.map(&mut Means(&mut means)))
    }

    /// The sum of all ranks' tallies. The same message stops all ranks if one was asked to stop.
    pub(crate) fn sum_tally(&self, tally: Tally) -> Tally {
        let Some(link) = &self.link else {
            return tally;
        };
        let [top1, top5, count] = [tally.top1, tally.top5, tally.count].map(|n| n as f64);
        let asked = f64::from(u8::from(self.asked.should_stop()));
        let mut sums = [tally.loss, top1, top5, count, asked];
        link.sum_f64(&mut sums);
        let [loss, top1, top5, count, asked] = sums;
        if asked > 0.0 {
            self.agreed.stop(None);
        }
        Tally {
            loss,
            top1: top1 as u64,
            top5: top5 as u64,
            count: count as u64,
        }
    }

    /// Replaces values by their sums over the ranks.
    pub(crate) fn sum(&self, values: &mut [f64]) {
        if let Some(link) = &self.link {
            link.sum_f64(values);
        }
    }
}

/// The tensors without a gradient, in the order of the network's fields: running statistics, and frozen parameters, whose
/// mean over the ranks is their value.
struct Statistics {
    values: Vec<f64>,
    failure: Option<ExecutionError>,
}

impl ModuleVisitor for Statistics {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if tensor.is_require_grad() {
            return;
        }
        match tensor.inner().try_into_data() {
            Ok(data) => self.values.extend(data.iter::<f32>().map(f64::from)),
            Err(error) => self.failure = Some(error),
        }
    }
}

/// New values of these tensors, in reverse order.
struct Means<'a>(&'a mut Vec<f32>);

impl ModuleMapper for Means<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.val().is_require_grad() {
            return param;
        }
        param.map(|tensor| {
            let (shape, device) = (tensor.shape(), tensor.device());
            let rest = self.0.len().saturating_sub(shape.num_elements());
            let values: Vec<f32> = self.0.drain(rest..).rev().collect();
            Tensor::from_data(TensorData::new(values, shape), &device)
        })
    }
}
