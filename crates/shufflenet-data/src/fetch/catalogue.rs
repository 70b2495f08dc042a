//! The data sets that can be fetched: their URLs and checksums.

/// A data set that `data fetch` can download.
pub(super) struct Set {
    pub name: &'static str,
    /// Name of the set's folder below the destination folder.
    pub folder: &'static str,
    pub source: Source,
    /// The files that the folder holds after fetching.
    pub files: &'static [File],
    /// Names of the classes for `classes.txt`, for a format without class names.
    pub classes: Option<&'static str>,
}

/// How a set is published.
pub(super) enum Source {
    /// All files in one `.tar.gz` with this MD5.
    Archive {
        url: &'static str,
        md5: &'static str,
    },
    /// Separate gzipped files, each at this URL followed by its name.
    Files { url: &'static str },
}

/// A file and its checksum.
pub(super) struct File {
    pub name: &'static str,
    /// MD5 of the file's content, unpacked if the file is gzipped.
    pub md5: Option<&'static str>,
    /// Size in bytes, if only the MD5 of the archive is published.
    pub size: Option<u64>,
}

const fn known(name: &'static str, md5: &'static str) -> File {
    File {
        name,
        md5: Some(md5),
        size: None,
    }
}

const fn sized(name: &'static str, size: Option<u64>) -> File {
    File {
        name,
        md5: None,
        size,
    }
}

pub(super) const SETS: [Set; 4] = [
    Set {
        name: "cifar10",
        folder: "cifar-10-batches-bin",
        source: Source::Archive {
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            md5: "c32a1d4ab5d03f1284b67883e8d87530",
        },
        files: &[
            known("data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
            known("data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692"),
            known("data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421"),
            known("data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb"),
            known("data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d"),
            known("test_batch.bin", "803d5f7f4d78ea53de84dbe85f74fb6d"),
            sized("batches.meta.txt", None),
        ],
        classes: None,
    },
    Set {
        name: "cifar100",
        folder: "cifar-100-binary",
        source: Source::Archive {
            url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            md5: "03b5dce01913d631647c71ecec9e9cb8",
        },
        files: &[
            sized("train.bin", Some(50_000 * 3074)),
            sized("test.bin", Some(10_000 * 3074)),
            sized("fine_label_names.txt", None),
            sized("coarse_label_names.txt", None),
        ],
        classes: None,
    },
    Set {
        name: "fashion-mnist",
        folder: "fashion-mnist",
        source: Source::Files {
            url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        },
        files: &[
            known(
                "train-images-idx3-ubyte.gz",
                "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            ),
            known(
                "train-labels-idx1-ubyte.gz",
                "9018921c3c673c538a1fc5bad174d6f9",
            ),
            known(
                "t10k-images-idx3-ubyte.gz",
                "8181f5470baa50b63fa0f6fddb340f0a",
            ),
            known(
                "t10k-labels-idx1-ubyte.gz",
                "15d484375f8d13e6eb1aabb0c3f46965",
            ),
        ],
        classes: Some(
            "T-shirt/top\nTrouser\nPullover\nDress\nCoat\nSandal\nShirt\nSneaker\nBag\nAnkle boot\n",
        ),
    },
    Set {
        name: "mnist",
        folder: "mnist",
        source: Source::Files {
            url: "https://ossci-datasets.s3.amazonaws.com/mnist/",
        },
        files: &[
            known(
                "train-images-idx3-ubyte.gz",
                "6bbc9ace898e44ae57da46a324031adb",
            ),
            known(
                "train-labels-idx1-ubyte.gz",
                "a25bea736e30d166cdddb491f175f624",
            ),
            known(
                "t10k-images-idx3-ubyte.gz",
                "2646ac647ad5339dbf082846283269ea",
            ),
            known(
                "t10k-labels-idx1-ubyte.gz",
                "27ae3e4e09519cfbb04c329615203637",
            ),
        ],
        classes: None,
    },
];
