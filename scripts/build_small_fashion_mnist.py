#!/usr/bin/env python3
"""Makes the bundled images and the CIFAR-format test fixture from the official Fashion-MNIST files.

  build_small_fashion_mnist.py SOURCE          write data/fashion-mnist-small and the fixture
  build_small_fashion_mnist.py --check SOURCE  compare the existing files with what SOURCE gives
  build_small_fashion_mnist.py --verify        check the existing files by the checksums below, without SOURCE

SOURCE is a folder with the four official files (train-images-idx3-ubyte.gz ...). They are in
https://github.com/zalandoresearch/fashion-mnist and in Debian's package dataset-fashion-mnist (`apt-get
install dataset-fashion-mnist` puts them into /usr/share/datasets/fashion-mnist). The script checks the MD5
of their decompressed content. Training images come from the official training files, and test images from
the official test files: the first images of each class, in file order. Training images that also occur
among the test images are left out. Python's standard library is enough.
"""
import gzip
import hashlib
import pathlib
import struct
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "data" / "fashion-mnist-small"
FIXTURE = ROOT / "crates" / "shufflenet-data" / "tests" / "fixtures" / "cifar10-format"
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
TRAIN_PER_CLASS, TEST_PER_CLASS = 1200, 250
FIXTURE_TRAIN, FIXTURE_TEST = 20, 30
PIXELS = 28 * 28

# MD5 of the decompressed official files. Debian has compressed them again, so its .gz files have other checksums.
SOURCE_MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
# MD5 of the decompressed output files. The compressed bytes may differ between versions of zlib.
MADE_MD5 = {
    "data/fashion-mnist-small/train-images-idx3-ubyte.gz": "5898a87a40d3b539f67be0175583e77d",
    "data/fashion-mnist-small/train-labels-idx1-ubyte.gz": "d9e104eba715236b7fc611b9c86f5d7c",
    "data/fashion-mnist-small/t10k-images-idx3-ubyte.gz": "1301bb13185bbdf5c8914c4721473577",
    "data/fashion-mnist-small/t10k-labels-idx1-ubyte.gz": "d54be20fd4ec99a6156d32b52eec94cb",
    "data/fashion-mnist-small/classes.txt": "acef38a7b7d68f4e57175ff454a2de8f",
    "crates/shufflenet-data/tests/fixtures/cifar10-format/data_batch_1.bin": "d004ed5c2fe8bb7dd69200b4de064591",
    "crates/shufflenet-data/tests/fixtures/cifar10-format/data_batch_2.bin": "8711cfb1800a63b8ea39e8d58fa16be7",
    "crates/shufflenet-data/tests/fixtures/cifar10-format/data_batch_3.bin": "1884dc919b76109305b1f0f04cee3624",
    "crates/shufflenet-data/tests/fixtures/cifar10-format/data_batch_4.bin": "14f93edb06589baf3ad041879801a852",
    "crates/shufflenet-data/tests/fixtures/cifar10-format/data_batch_5.bin": "d2e1e09fb6a23489dfd3983ca3ad9d73",
    "crates/shufflenet-data/tests/fixtures/cifar10-format/test_batch.bin": "405e4426d2a5d5ce19b16f3f7d6a27da",
    "crates/shufflenet-data/tests/fixtures/cifar10-format/batches.meta.txt": "acef38a7b7d68f4e57175ff454a2de8f",
}


def md5(data):
    return hashlib.md5(data).hexdigest()


def content(path):
    """The decompressed bytes of a file."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        sys.exit(f"{path}: cannot be read: {error}")


def official(folder, name):
    path = folder / f"{name}.gz"
    data = content(path)
    if md5(data) != SOURCE_MD5[name]:
        sys.exit(f"{path}: MD5 of its content is {md5(data)}, expected {SOURCE_MD5[name]}, the official file's")
    return data


def images_and_labels(folder, part):
    images = official(folder, f"{part}-images-idx3-ubyte")[16:]
    labels = official(folder, f"{part}-labels-idx1-ubyte")[8:]
    return [(images[i * PIXELS : (i + 1) * PIXELS], label) for i, label in enumerate(labels)]


def first_of_each_class(records, per_class):
    taken = [0] * len(CLASSES)
    chosen = []
    for image, label in records:
        if taken[label] < per_class:
            taken[label] += 1
            chosen.append((image, label))
    return chosen


def idx_files(part, records):
    count, images, labels = len(records), [image for image, _ in records], [label for _, label in records]
    return {
        BUNDLE / f"{part}-images-idx3-ubyte.gz": struct.pack(">4I", 2051, count, 28, 28) + b"".join(images),
        BUNDLE / f"{part}-labels-idx1-ubyte.gz": struct.pack(">2I", 2049, count) + bytes(labels),
    }


def cifar_record(image, label):
    """A 28x28 grey image on black 32x32, with three channels of different brightness."""
    blank = bytes(32)
    rows = [bytes(2) + image[y * 28 : y * 28 + 28] + bytes(2) for y in range(28)]
    plane = b"".join([blank, blank, *rows, blank, blank])
    channels = [bytes(value * tint // 4 for value in plane) for tint in (4, 3, 2)]
    return bytes([label]) + b"".join(channels)


def fixture_files(train, test):
    batches = {
        f"data_batch_{batch + 1}.bin": train[batch * FIXTURE_TRAIN : (batch + 1) * FIXTURE_TRAIN] for batch in range(5)
    }
    batches["test_batch.bin"] = test[:FIXTURE_TEST]
    return {FIXTURE / name: b"".join(cifar_record(*record) for record in part) for name, part in batches.items()}


def make(source):
    """{path: content before compression} of every file."""
    test = first_of_each_class(images_and_labels(source, "t10k"), TEST_PER_CLASS)
    seen = {image for image, _ in test}
    train = images_and_labels(source, "train")
    train = first_of_each_class([record for record in train if record[0] not in seen], TRAIN_PER_CLASS)
    names = ("\n".join(CLASSES) + "\n").encode()
    return {
        **idx_files("train", train),
        **idx_files("t10k", test),
        BUNDLE / "classes.txt": names,
        **fixture_files(train, test),
        FIXTURE / "batches.meta.txt": names,
    }


def check(expected):
    """Compares the existing files with {path: MD5 of the content}."""
    for path, expected_md5 in expected.items():
        found = md5(content(path))
        if found != expected_md5:
            sys.exit(f"{path}: MD5 of its content is {found}, expected {expected_md5}")
    print(f"{len(expected)} files have the expected content")


def write(files):
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)
        print(f'    "{path.relative_to(ROOT)}": "{md5(data)}",')


def main(arguments):
    match arguments:
        case ["--verify"]:
            check({ROOT / name: expected for name, expected in MADE_MD5.items()})
        case ["--check", source]:
            check({path: md5(data) for path, data in make(pathlib.Path(source)).items()})
        case [source] if not source.startswith("-"):
            write(make(pathlib.Path(source)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
