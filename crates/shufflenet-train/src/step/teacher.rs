//! Trained networks that teach the one in training ([`crate::recipe::distill`] has the formula): what they make of the
//! pixels that the student sees.
//!
//! On the CPU a teacher is a chain of folded, packed weights ([`Inference`]), as in evaluation. Each image goes through it by
//! itself, so neither threads, ranks nor micro-batches change a bit of its logits.

use burn::tensor::Tensor;
use shufflenet_model::Inference;

use crate::recipe::distill::Law;

/// A network ready to teach.
pub struct Member {
    /// The network. Its classes are in the student's order.
    pub network: Inference,
    /// Factor and term, `[1, channels, 1, 1]`, that make its pixels of the student's. `None`: they are normalised alike.
    pub conversion: Option<[Tensor<4>; 2]>,
}

/// One or several networks that teach together, at least one.
pub struct Teacher {
    members: Vec<Member>,
    classes: usize,
    /// The loss.
    pub law: Law,
}

/// What a teacher says of the images of a batch.
#[derive(Clone, Debug)]
pub struct Lesson {
    law: Law,
    /// The teacher's probabilities, `[batch, classes]`.
    targets: Tensor<2>,
    /// Factor of an image's gradient.
    factor: f64,
}

impl Teacher {
    /// The teacher of `classes` classes that `members` are together.
    pub fn new(members: Vec<Member>, classes: usize, law: Law) -> Self {
        Self {
            members,
            classes,
            law,
        }
    }

    /// The mean of the members' logits, `[batch, classes]`, for pixels as the student sees them, `[batch, channels, height,
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

    /// The lesson on a part of the images of an optimizer step, which counts for `share` of them. The part is of a batch of
    /// `whole` images.
    pub fn lesson(&self, pixels: &Tensor<4>, share: f64, whole: usize) -> Lesson {
        Lesson {
            law: self.law,
            targets: self.law.targets(self.logits(pixels)),
            factor: self.law.weight * share / whole.max(1) as f64,
        }
    }
}

impl Lesson {
    /// The teacher's part of the loss's gradient by the student's logits, `[batch, classes]`.
    pub fn gradient(&self, logits: Tensor<2>) -> Tensor<2> {
        self.law.gradient(logits, self.targets.clone()) * self.factor
    }
}
