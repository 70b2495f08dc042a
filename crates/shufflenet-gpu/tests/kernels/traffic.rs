//! Tests of the number of kernels in a network's step and of the bytes that they move. The step is rehearsed, not run.

use cubecl::prelude::Client;
use shufflenet_gpu::branch::Branch;
use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::conv_norm::{ConvNorm, Running};
use shufflenet_gpu::pointwise::{self, Columns};
use shufflenet_gpu::stem::{self, Stem};
use shufflenet_gpu::stored::Stored;
use shufflenet_gpu::traffic::{self, Moved, Traffic};
use shufflenet_gpu::unit::Unit;
use shufflenet_gpu::{head, stem_gradient};

use crate::host::{CONFIG, client, noise, upload};

/// A network of the standard layout (Ma et al., 2018, table 5) and its batch.
struct Network {
    stages: [usize; 3],
    last: usize,
    /// Number of images, and their height and width.
    images: [usize; 2],
    stride: usize,
    pool: Option<usize>,
    stored: Stored,
}

const STEM: usize = 24;
const UNITS: [usize; 3] = [4, 8, 4];

fn cifar(stages: [usize; 3], images: usize) -> Network {
    Network {
        stages,
        last: 1024,
        images: [images, 32],
        stride: 1,
        pool: None,
        stored: Stored::F32,
    }
}

const HALF: [usize; 3] = [48, 96, 192];
const WHOLE: [usize; 3] = [116, 232, 464];

/// A buffer whose content does not matter, because a rehearsal does not read it.
fn values(client: &Client, len: usize) -> Buffer {
    Buffer {
        len,
        ..Buffer::empty(client, 1)
    }
}

fn conv(client: &Client, weight: usize, outputs: usize) -> (ConvNorm, Running) {
    let [gamma, beta, mean, variance] = [(); 4].map(|()| values(client, outputs));
    let conv = ConvNorm {
        weight: values(client, weight),
        gamma,
        beta,
    };
    (conv, Running { mean, variance })
}

/// A branch of a unit and its running statistics. The branch may have a first 1x1 convolution.
fn branch(
    client: &Client,
    inputs: usize,
    outputs: usize,
    with_first: bool,
) -> (Branch, Vec<Running>) {
    let width = if with_first { outputs } else { inputs };
    let mut running = Vec::new();
    let mut of = |weight: usize, outputs: usize| {
        let (conv, of) = conv(client, weight, outputs);
        running.push(of);
        conv
    };
    let branch = Branch {
        pointwise1: with_first.then(|| of(outputs * inputs, outputs)),
        depthwise: of(9 * width, width),
        pointwise2: of(outputs * width, outputs),
    };
    (branch, running)
}

/// The traffic of a step in the stem, in the units and in the head.
fn of_step(network: &Network) -> [Traffic; 3] {
    let client = client();
    let [images, side] = network.images;
    let at = Stem {
        images,
        channels: 3,
        height: side,
        width: side,
        stride: network.stride,
        pool: network.pool,
        stored: network.stored,
    };
    let pixels = values(&client, images * 3 * side * side);
    let (first, before) = conv(&client, STEM * 27, STEM);
    let (x, of_stem) = traffic::rehearse(|| {
        let (x, _, saved) = stem::forward(&pixels, &at, &first, &before, CONFIG);
        stem_gradient::backward(&pixels, &at, None, &saved, &x);
        x
    });
    let [_, mut side, _] = at.output();
    let (x, of_units) = traffic::rehearse(|| {
        let (mut x, mut inputs) = (x, STEM);
        for (outputs, units) in network.stages.into_iter().zip(UNITS) {
            let half = outputs / 2;
            for number in 0..units {
                let (right, mut before) =
                    branch(&client, if number == 0 { inputs } else { half }, half, true);
                let unit = if number == 0 {
                    let (left, of_left) = branch(&client, inputs, half, false);
                    before.extend(of_left);
                    Unit::Downsample {
                        left,
                        right,
                        right_first: false,
                    }
                } else {
                    Unit::Basic {
                        left: half,
                        residual: false,
                        right,
                    }
                };
                let input = [images, side, side];
                let made = unit.forward(&x, input, &before, CONFIG);
                unit.backward(&x, input, &made.saved, &made.output);
                x = made.output;
                if number == 0 {
                    side = side.div_ceil(2);
                }
            }
            inputs = outputs;
        }
        x
    });
    let inputs = network.stages[2];
    let x = Columns {
        data: x,
        row: inputs,
        first: 0,
    };
    let (last, before) = conv(&client, network.last * inputs, network.last);
    let (_, of_head) = traffic::rehearse(|| {
        let size = [images, side * side];
        let (out, _, saved) = head::forward(&x, size, &last, &before, CONFIG);
        head::backward(&x, size, &last.weight, &saved, &out)
    });
    [of_stem, of_units, of_head]
}

/// The traffic of all parts together.
fn together(of: &[Traffic; 3]) -> Traffic {
    of.iter().fold(Traffic::default(), Traffic::with)
}

fn print(of: &[Traffic; 3]) {
    let line = |name: &str, moved: Moved| {
        println!(
            "  {name:<28} {:>4} launches {:.3} GB",
            moved.launches,
            moved.bytes() as f64 / 1e9
        );
    };
    for (part, traffic) in ["stem", "units", "head"].iter().zip(of) {
        line(part, traffic.total());
    }
    line("together", together(of).total());
    together(of)
        .by_kernel()
        .for_each(|(kernel, moved)| line(kernel, moved));
}

/// Gigabytes of a step.
fn gigabytes(of: &[Traffic; 3]) -> f64 {
    together(of).total().bytes() as f64 / 1e9
}

#[test]
fn a_step_of_512_images_moves_few_bytes() {
    let cases = [
        ("x0.5", HALF, Stored::F32, 6.2),
        ("x1.0", WHOLE, Stored::F32, 13.0),
        ("x0.5", HALF, Stored::Bf16, 3.3),
        ("x1.0", WHOLE, Stored::Bf16, 6.8),
    ];
    for (name, stages, stored, most) in cases {
        let network = |images| Network {
            stored,
            ..cifar(stages, images)
        };
        let step = of_step(&network(512));
        println!("{name}, cifar stem, 512 images of 32x32, {stored:?}");
        print(&step);
        let found = gigabytes(&step);
        assert!(found < most, "{name}: {found} GB");
        // Nearly all bytes are those of maps, whose size is proportional to the number of images.
        let half = gigabytes(&of_step(&network(256)));
        assert!(
            found < 2.0 * half && 1.8 * half < found,
            "{name}: {half} GB for half the images"
        );
    }
}

#[test]
fn every_published_network_launches_the_same_number_of_kernels() {
    let large = Network {
        images: [256, 224],
        stride: 2,
        pool: Some(1),
        ..cifar(WHOLE, 256)
    };
    for network in [cifar(HALF, 512), cifar(WHOLE, 512), large] {
        let launches = of_step(&network).map(|traffic| traffic.total().launches);
        assert_eq!(launches, [7, 13 * 15 + 3 * 23, 7]);
    }
}

/// The launch is a 1x1 convolution of 10 pixels, from 8 channels to 12.
#[test]
fn the_traffic_of_a_launch_follows_from_its_shape() {
    let client = client();
    let x = Columns {
        data: values(&client, 80),
        row: 8,
        first: 0,
    };
    let weight = values(&client, 96);
    let ((y, _), traffic) = traffic::rehearse(|| pointwise::forward(&x, 10, 8, None, &weight));
    assert_eq!(y.len, 120);
    // The convolution also writes one row of partial sums: count, mean, and sum of squared differences.
    let expected = Moved {
        launches: 1,
        read: 4 * (80 + 96),
        written: 4 * (120 + 36),
    };
    assert_eq!(traffic.by_kernel().collect::<Vec<_>>(), [("1x1", expected)]);
}

#[test]
fn a_rehearsal_counts_the_traffic_of_a_launch() {
    let client = client();
    let x = Columns {
        data: upload(&client, &noise(37 * 8, 1)),
        row: 8,
        first: 0,
    };
    let weight = upload(&client, &noise(96, 2));
    let work = || drop(pointwise::forward(&x, 37, 8, None, &weight));
    let ((), rehearsed) = traffic::rehearse(work);
    let observation = traffic::observe();
    work();
    // Other tests of the process may launch kernels at the same time, so the observed traffic may be larger.
    let seen = observation.take();
    let of = |traffic: &Traffic| traffic.by_kernel().find(|(kernel, _)| *kernel == "1x1");
    let (seen, rehearsed) = (of(&seen).unwrap().1, of(&rehearsed).unwrap().1);
    assert!(seen.read >= rehearsed.read && seen.launches >= rehearsed.launches);
}
