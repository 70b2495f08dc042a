//! A run of several ranks has the weights, the losses and the counts of one process.

use std::collections::BTreeMap;
use std::path::Path;

use super::{RANDOM, finished, run, train, workplace};

/// Largest accepted difference of a weight after 20 steps whose float32 sums were added in another order.
const TOLERANCE: f32 = 1e-6;

/// Largest accepted difference of a weight on a GPU (`docs/gpu.md`).
#[cfg(feature = "wgpu")]
const ON_A_GPU: f32 = 1e-4;

/// The tensors in a file of the last checkpoint, by name.
fn tensors(run: &Path, file: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(run.join("checkpoints/last").join(file)).unwrap();
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let entries = header.as_object().unwrap().iter();
    let entries = entries.filter(|(name, _)| *name != "__metadata__");
    let values = entries.map(|(name, entry)| {
        let at = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
        let (chunks, _) = data[at(0)..at(1)].as_chunks::<4>();
        let values = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (name.clone(), values.collect())
    });
    values.collect()
}

/// The largest difference between two runs, over the tensors whose names `count` accepts. In a tensor with values above 1
/// the difference is relative to the largest value.
fn difference(runs: [&Path; 2], file: &str, count: impl Fn(&str) -> bool) -> f32 {
    let [one, other] = runs.map(|run| tensors(run, file));
    assert!(one.keys().eq(other.keys()));
    let pairs = one.iter().filter(|(name, _)| count(name));
    let differences = pairs.flat_map(|(name, values)| {
        let largest = values.iter().fold(1.0, |most: f32, x| most.max(x.abs()));
        let pairs = values.iter().zip(&other[name]);
        pairs.map(move |(a, b)| (a - b).abs() / largest)
    });
    differences.fold(0.0, f32::max)
}

/// Loss and number of records of each line of metrics.
fn metrics(run: &Path) -> Vec<(f64, u64)> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (
            line["loss"].as_f64().unwrap(),
            line["count"].as_u64().unwrap(),
        )
    });
    lines.collect()
}

fn assert_same_run(runs: [&Path; 2], what: &str) {
    // The optimizer's state is a sum of gradients. A step moves a weight by a two-hundredth of it.
    for (file, tolerance) in [
        ("model.safetensors", TOLERANCE),
        ("ema.safetensors", TOLERANCE),
        ("optimizer.safetensors", 10.0 * TOLERANCE),
    ] {
        let difference = difference(runs, file, |_| true);
        println!("{what}: {file} differs by {difference:e} at most");
        assert!(difference <= tolerance, "{what}: {file}, {difference:e}");
    }
    let [one, other] = runs.map(metrics);
    assert_eq!(one.len(), other.len());
    for ((loss, count), (other_loss, other_count)) in one.into_iter().zip(other) {
        assert_eq!(count, other_count);
        assert!((loss - other_loss).abs() < 1e-5, "{loss}, {other_loss}");
    }
}

#[test]
fn any_number_of_ranks_gives_the_weights_of_one_process() {
    for layout in ["standard", "seed"] {
        let model = format!("layout = \"{layout}\"\ndropout = 0.2");
        let folder = workplace(&model, RANDOM);
        let at = |name: &str| folder.path().join(name);
        finished(train(folder.path(), 1, "1", &[]));
        for ranks in [2, 4] {
            let out = ranks.to_string();
            let said = finished(train(folder.path(), ranks, &out, &[]));
            assert!(
                said.contains(&format!("cluster    {ranks} ranks on 1 machine")),
                "{said}"
            );
            assert_eq!(said.matches("done       ").count(), 1, "{said}");
            assert_same_run([&at("1"), &at(&out)], &format!("{layout}, {ranks} ranks"));
        }
    }
}

/// In bfloat16 the order of a sum sometimes decides which of two neighbours a value rounds to, and a network at the
/// start of training amplifies that. So the first step equals that of one process, and the later steps are close.
#[test]
fn ranks_in_bfloat16_have_the_first_loss_of_one_process_and_stay_close() {
    let folder = workplace("", "precision = \"bf16\"");
    let at = |name: &str| folder.path().join(name);
    for ranks in [1, 2] {
        finished(train(folder.path(), ranks, &ranks.to_string(), &[]));
    }
    let [one, two] = ["1", "2"].map(|run| metrics(&at(run)));
    assert_eq!(one.len(), two.len());
    let pairs = one.iter().zip(&two);
    let differences: Vec<f64> = pairs.map(|(a, b)| (a.0 - b.0).abs()).collect();
    let largest = differences.iter().fold(0.0, |most: f64, x| most.max(*x));
    println!(
        "bf16, 2 ranks: the first losses differ by {:e}, all by {largest:e} at most",
        differences[0]
    );
    assert!(differences[0] < 1e-6, "{differences:?}");
    assert!(largest < 0.03, "{differences:?}");
}

/// Each rank runs the teacher on its own images, mixed as one process would mix them.
#[test]
fn ranks_with_a_teacher_give_the_weights_of_one_process() {
    let folder = workplace("", RANDOM);
    let at = |name: &str| folder.path().join(name);
    let short = ["--set", "train.max_steps=5", "--set", "train.seed=1"];
    finished(train(folder.path(), 1, "teacher", &short));
    let taught = [
        "--set",
        "distill.from=teacher",
        "--set",
        "distill.kind=standardized",
        "--set",
        "distill.temperature=2",
    ];
    for ranks in [1, 2] {
        let said = finished(train(folder.path(), ranks, &ranks.to_string(), &taught));
        let line =
            "teacher    standardized, temperature 2, loss 0.1 by the labels and 0.9 by the teacher";
        assert_eq!(said.matches(line).count(), 1, "{said}");
    }
    assert_same_run([&at("1"), &at("2")], "a teacher, 2 ranks");
}

#[test]
fn batch_norms_of_plain_operations_are_synchronised_too() {
    // Each case has a seed with which no input of a ReLU changes its sign. (Tests of shufflenet-model cover the networks
    // on `ndarray` over ranks.)
    let mut cases = vec![("squeeze_excitation = true", "flex", 5)];
    if cfg!(feature = "ndarray") {
        cases.push(("", "ndarray", 2));
    }
    for (model, device, seed) in cases {
        let folder = workplace(model, RANDOM);
        let at = |name: &str| folder.path().join(name);
        let seed = format!("train.seed={seed}");
        // `ndarray` is slow.
        let short = ["--set", "train.max_steps=8"];
        for ranks in [1, 2] {
            let extra = [&["--device", device, "--set", &seed][..], &short].concat();
            finished(train(folder.path(), ranks, &ranks.to_string(), &extra));
        }
        assert_same_run([&at("1"), &at("2")], &format!("{device}, {model}"));
    }
}

/// Two processes share one adapter, which `SHUFFLENET_TEST_DEVICE` names. The batch norms of one process are in
/// kernels, and those of several processes in Burn's operations. So the runs differ by rounding.
#[cfg(feature = "wgpu")]
#[test]
fn ranks_on_a_gpu_give_the_weights_of_one_process_up_to_rounding() {
    let adapter = std::env::var("SHUFFLENET_TEST_DEVICE").expect("SHUFFLENET_TEST_DEVICE");
    let folder = workplace("", RANDOM);
    let at = |name: &str| folder.path().join(name);
    for ranks in [1, 2] {
        let extra = ["--device", &adapter, "--set", "train.max_steps=5"];
        finished(train(folder.path(), ranks, &ranks.to_string(), &extra));
    }
    let runs = [&*at("1"), &*at("2")];
    for file in ["model.safetensors", "ema.safetensors"] {
        let difference = difference(runs, file, |_| true);
        println!("2 ranks on {adapter}: {file} differs by {difference:e} at most");
        assert!(difference <= ON_A_GPU, "{file}, {difference:e}");
    }
    let [one, two] = runs.map(metrics);
    assert_eq!(one.len(), two.len());
    for ((loss, count), (other_loss, other_count)) in one.into_iter().zip(two) {
        assert_eq!(count, other_count);
        assert!((loss - other_loss).abs() < 1e-4, "{loss}, {other_loss}");
    }
}

#[test]
fn ranks_with_their_own_batch_norms_equal_accumulated_batches_of_one_process() {
    // The records divide evenly into batches of 32 and of 8.
    let folder = workplace("", "");
    let at = |name: &str| folder.path().join(name);
    let limit = "data.limit=384";
    let alone = [
        "--set",
        limit,
        "--set",
        "train.batch_size=8",
        "--set",
        "train.accumulate=4",
    ];
    finished(train(folder.path(), 1, "1", &alone));
    let apart = ["--set", limit, "--set", "cluster.sync_batch_norm=false"];
    finished(train(folder.path(), 4, "4", &apart));
    let learned = |name: &str| !name.contains("running");
    let weights = difference([&at("1"), &at("4")], "model.safetensors", learned);
    println!("each rank's own norms: weights differ by {weights:e} at most");
    assert!(weights <= TOLERANCE, "{weights:e}");

    // The number of ranks is then a part of the experiment.
    let more = ["--resume", "--set", "train.max_steps=25"];
    let more = [&more[..], &apart].concat();
    let refused = run(train(folder.path(), 2, "4", &more));
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(errors.contains("the number of ranks"), "{errors}");
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_run_resumes_with_another_number_of_ranks() {
    let folder = workplace("dropout = 0.2", RANDOM);
    let at = |name: &str| folder.path().join(name);
    // Every batch has at least one image for each of eight ranks.
    let keys = ["schedule.kind=constant", "train.drop_last=true"];
    let same: Vec<&str> = keys.into_iter().flat_map(|key| ["--set", key]).collect();
    finished(train(folder.path(), 1, "whole", &same));
    for (ranks, steps) in [(4, 6), (1, 11), (2, 16), (8, 20)] {
        let until = format!("train.max_steps={steps}");
        let extra = [&same[..], &["--resume", "--set", &until]].concat();
        finished(train(folder.path(), ranks, "moved", &extra));
    }
    let difference = difference([&at("whole"), &at("moved")], "model.safetensors", |_| true);
    println!("4, 1, 2 and 8 ranks: weights differ by {difference:e} at most");
    assert!(difference <= TOLERANCE, "{difference:e}");
}
