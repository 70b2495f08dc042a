//! Tests that every configuration in `configs/` can be read, and is for data that a README describes.

use std::path::{Path, PathBuf};

use shufflenet_train::experiment::settings;

#[test]
fn every_configuration_in_configs_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let files = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let zoo = folder.join("zoo");
    let (mut all, mut seen) = (files(&folder), Vec::new());
    all.retain(|file| *file != zoo);
    for file in all.into_iter().chain(files(&zoo)) {
        let experiment = settings::load(&file, &[]).unwrap();
        let root = experiment.data.root;
        let known = [
            "data/fashion-mnist-small",
            "data/cifar-10-batches-bin",
            "data/cifar-100-binary",
            "photos",
        ];
        assert!(
            known.iter().any(|known| root == Path::new(known)),
            "{root:?}"
        );
        seen.push(experiment.name);
    }
    seen.sort();
    let expected = [
        "cifar10-coffee",
        "cifar10-x1_0",
        "cifar10-x1_0-alone",
        "cifar100-x0_5",
        "cifar100-x1_0",
        "photos",
        "quickstart",
        "scale0_5",
        "scale0_5-augmented",
        "scale1",
        "scale1_5",
        "scale2",
        "seed-scale1",
    ];
    assert_eq!(seen, expected);
}
