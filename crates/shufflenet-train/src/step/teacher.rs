//! The teacher's part of distillation: inference of trained networks on the student's pixels
//! ([`crate::recipe::distill`] has the formula).
//!
//! On the CPU a teacher is a chain of folded, packed weights ([`Inference`]), as in evaluation. It computes each image
//! separately, so its logits do not depend on threads, ranks or micro-batches.

use burn::tensor::Tensor;
use shufflenet_model::Inference;

use crate::recipe::distill::DistillLoss;

/// A network ready to teach.
pub struct Member {
    /// The network. Its classes are in the student's order.
    pub network: Inference,
    /// Factor and term, `[1, channels, 1, 1]`, that convert the student's pixels. `None`: the normalisation is the same.
    pub conversion: Option<[Tensor<4>; 2]>,
}

/// One or several networks that teach together, at least one.
pub struct Teacher {
    members: Vec<Member>,
    classes: usize,
    /// The loss.
    pub loss: DistillLoss,
}

/// The teacher's part of the loss for the images of a batch.
#[derive(Clone, Debug)]
pub struct TeacherLoss {
    loss: DistillLoss,
    /// The teacher's probabilities, `[batch, classes]`.
    targets: Tensor<2>,
    /// Factor of an image's gradient.
    factor: f64,
}

impl Teacher {
    /// One teacher of `classes` classes from `members`.
    pub fn new(members: Vec<Member>, classes: usize, loss: DistillLoss) -> Self {
        Self {
            members,
            classes,
            loss,
        }
    }

    /// The mean of the members' logits, `[batch, classes]`, for the student's pixels, `[batch, channels, height,
    /// width]`, on the teacher's device.
    pub fn logits(&self, pixels: &Tensor<4>) -> Tensor<2> {
        let [images, ..] = pixels.dims();
        let none = Tensor::zeros([images, self.classes], &pixels.device());
        let sum = self.members.iter().fold(none, |sum, member| {
            let pixels = pixels.clone();
            let seen = match member.conversion.clone() {
                Some([factor, term]) => pixels * factor + term,
                None => pixels,
            };
            sum + member.network.forward(seen)
        });
        sum / self.members.len() as f64
    }

    /// The teacher's part of the loss for a part of an optimizer step, which has `share` of the step's images. The part
    /// belongs to a batch of `whole` images.
    pub fn loss_of(&self, pixels: &Tensor<4>, share: f64, whole: usize) -> TeacherLoss {
        TeacherLoss {
            loss: self.loss,
            targets: self.loss.targets(self.logits(pixels)),
            factor: self.loss.weight * share / whole.max(1) as f64,
        }
    }
}

impl TeacherLoss {
    /// The teacher's part of the gradient of the loss with respect to the student's logits, `[batch, classes]`.
    pub fn gradient(&self, logits: Tensor<2>) -> Tensor<2> {
        self.loss.gradient(logits, self.targets.clone()) * self.factor
    }
}
