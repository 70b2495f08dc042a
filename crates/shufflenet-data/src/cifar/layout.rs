//! The files of CIFAR-10 and CIFAR-100, in both versions.

use super::python::{self, Python};

/// The files of one of the two sets and the format of a record.
pub(super) struct Layout {
    pub train: &'static [&'static str],
    pub test: &'static [&'static str],
    /// File with the names of the classes, one per line.
    pub names: &'static str,
    pub classes: usize,
    /// Bytes of labels before the pixels. `label` is the index of the byte that is used.
    pub label_bytes: usize,
    pub label: usize,
    /// Records of the longest official file: the largest number read from one file.
    pub records: usize,
    pub folder: &'static str,
    pub archive: &'static str,
    pub python: Python,
    pub advice: &'static str,
}

/// The two versions in which the sets are published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Binary,
    Python,
}

pub(super) const TEN: Layout = Layout {
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    names: "batches.meta.txt",
    classes: 10,
    label_bytes: 1,
    label: 0,
    records: 10_000,
    folder: "cifar-10-batches-bin",
    archive: "cifar-10-binary.tar.gz",
    python: python::TEN,
    advice: "`python3 scripts/fetch_cifar10.py` or `shufflenet data fetch cifar10` gets the complete \
             CIFAR-10 into data/cifar-10-batches-bin",
};

pub(super) const HUNDRED_FINE: Layout = Layout {
    train: &["train.bin"],
    test: &["test.bin"],
    names: "fine_label_names.txt",
    classes: 100,
    label_bytes: 2,
    label: 1,
    records: 50_000,
    folder: "cifar-100-binary",
    archive: "cifar-100-binary.tar.gz",
    python: python::HUNDRED_FINE,
    advice: "`shufflenet data fetch cifar100` gets it into data/cifar-100-binary",
};

pub(super) const HUNDRED_COARSE: Layout = Layout {
    names: "coarse_label_names.txt",
    classes: 20,
    label: 0,
    python: python::HUNDRED_COARSE,
    ..HUNDRED_FINE
};
