//! Helpers shared by the tests of several modules.

#[path = "../tests/noise/mod.rs"]
mod noise;

use std::process::Command;

use burn::tensor::{DType, Tensor};
use shufflenet_ops::Isa;

pub use noise::noise;

/// `x` through bfloat16: it is rounded on its way forward, and its gradient on the way back.
pub fn through_bf16(x: Tensor<4>) -> Tensor<4> {
    x.cast(DType::BF16).cast(DType::F32)
}

/// `x` rounded to bfloat16 on its way forward; its gradient is not.
pub fn stored(x: Tensor<4>) -> Tensor<4> {
    let change = through_bf16(x.clone()) - x.clone();
    x + change.detach()
}

/// `x` whose gradient is rounded to bfloat16 on its way back; `x` is not.
pub fn gradient_stored(x: Tensor<4>) -> Tensor<4> {
    let rounded = through_bf16(x.clone());
    let change = x - rounded.clone();
    rounded + change.detach()
}

/// `tolerance` for the distance of kernels in bfloat16 from plain operations that round the values that the kernels
/// store. With AMX and AVX512-BF16 the kernels also round the weights and the gradient of a convolution's output. So
/// the input of a ReLU near zero may have another sign than in the plain operations, and its gradient is lost or gained
/// as a whole. This comparison then only shows that the right operands are multiplied: with other operands the distance
/// is above 1. The tests of `shufflenet-kernels` compare each product with the operands that it reads.
pub fn with_rounding(tolerance: f32) -> f32 {
    match Isa::detected() {
        Isa::Amx(_) | Isa::Avx512Bf16(_) => 0.5,
        _ => tolerance,
    }
}

/// Relative distance: the norm of the difference over the norm of `b`.
pub fn distance<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f32 {
    let norm = |x: Tensor<D>| x.powi_scalar(2).sum().sqrt().into_scalar::<f32>();
    norm(a.clone() - b.clone()) / norm(b.clone()).max(1e-6)
}

/// A process chooses its instruction set once. So this test program runs once more for each instruction set.
#[test]
fn every_instruction_set_passes_the_tests_of_the_kernels() {
    for isa in Isa::available() {
        let tests = ["unit::tests", "network::tests"];
        let run = Command::new(std::env::current_exe().unwrap())
            .args(tests)
            .env("SHUFFLENET_ISA", isa.name())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{}: {printed}", isa.name());
        assert!(printed.contains("the_stride_2_kernel_equals_the_plain_unit ... ok"));
        println!("networks on {}: tested in a process of its own", isa.name());
    }
}
