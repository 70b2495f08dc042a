//! Tests of each kernel alone, and of whole units, against the same equations in float64 on the host.
//!
//! The tests run on a software adapter (`.ci/gpu`). Their cases are small and difficult: widths that are not a multiple
//! of a vector, a prime number of pixels, channels that begin in the middle of a map, a mean far from zero.

#![expect(clippy::unwrap_used, reason = "a test that cannot read a device fails")]
#![expect(clippy::print_stdout, reason = "--nocapture shows the counted figures")]

mod bfloat16;
mod clip;
mod cross_entropy;
mod depthwise;
mod depthwise_gradient;
mod flat;
mod head;
mod host;
mod join;
mod launches;
mod layers;
mod max_pool;
mod pointwise;
mod pointwise_backward;
mod stem;
mod traffic;
mod unit;
