//! Tests of gathering tensors into one buffer and splitting them again.

use shufflenet_gpu::arena::{Arena, padded};
use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::flat::{MOST_SOURCES, gather, len, split};

use crate::host::{client, download, noise, upload};

/// Lengths of tensors, some of them next to the alignment.
const LENS: [usize; 9] = [1, 63, 64, 65, 200, 24, 128, 7, 1000];

fn uploaded() -> Vec<Buffer> {
    let client = client();
    let values = LENS.iter().enumerate();
    let values = values.map(|(seed, &len)| upload(&client, &noise(len, seed as u64)));
    values.collect()
}

#[test]
fn gathered_tensors_follow_one_another_with_zeros_between() {
    let tensors = uploaded();
    const { assert!(LENS.len() > MOST_SOURCES, "more than one launch") };
    let flat = gather(&tensors);
    assert_eq!(flat.len, len(LENS));
    let found = download(&flat);
    let mut start = 0;
    for tensor in &tensors {
        let (values, gap) = found[start..start + padded(tensor.len)].split_at(tensor.len);
        assert_eq!(values, download(tensor));
        assert!(gap.iter().all(|&x| x == 0.0));
        start += padded(tensor.len);
    }
}

#[test]
fn splitting_gives_the_gathered_tensors() {
    let tensors = uploaded();
    let parts = split(&gather(&tensors), &LENS);
    for (part, tensor) in parts.iter().zip(&tensors) {
        assert_eq!(download(part), download(tensor));
    }
}

#[test]
fn parts_of_arenas_are_gathered_in_any_order() {
    let client = client();
    // The second arena has no room for its last tensor.
    let arenas = [Arena::new(&client, LENS), Arena::new(&client, [64, 64, 64])];
    let flats = [gather(&uploaded()), gather(&uploaded())];
    let mut tensors: Vec<Buffer> = flats.iter().flat_map(|flat| split(flat, &LENS)).collect();
    tensors.reverse();
    tensors.extend(
        arenas
            .iter()
            .flat_map(|arena| LENS[..4].iter().map(|&len| arena.take(len))),
    );
    let count = 2 * LENS.len();
    let found = gather(&tensors);
    let lens: Vec<usize> = tensors.iter().map(|tensor| tensor.len).collect();
    for (part, tensor) in split(&found, &lens).iter().zip(&tensors).take(count) {
        assert_eq!(download(part), download(tensor));
    }
}
