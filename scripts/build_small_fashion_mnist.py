#!/usr/bin/env python3
"""Makes the bundled images and the CIFAR-format test fixture out of the official Fashion-MNIST files.

  build_small_fashion_mnist.py SOURCE    write data/fashion-mnist-small and the fixture
  build_small_fashion_mnist.py --verify  check the committed files against the sums recorded below

SOURCE holds the four official files (train-images-idx3-ubyte.gz ...), as in
https://github.com/zalandoresearch/fashion-mnist or in Debian's package dataset-fashion-mnist; they are
checked by the MD5 of their decompressed content. Training images come from the official training files,
test images from the official test files: the first so many of each class, in file order. Training
images that also occur among the test images are left out. Python's standard library is enough.
"""
import gzip
import hashlib
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "data" / "fashion-mnist-small"
FIXTURE = ROOT / "crates" / "shufflenet-data" / "tests" / "fixtures" / "cifar10-format"
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
TRAIN_PER_CLASS, TEST_PER_CLASS = 1200, 250
FIXTURE_TRAIN, FIXTURE_TEST = 20, 30
PIXELS = 28 * 28

# Of the decompressed official files.
SOURCE_MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
# Of the decompressed files of the bundle: gzip's own bytes may differ between zlib versions.
BUNDLE_MD5 = {
    "train-images-idx3-ubyte": "5898a87a40d3b539f67be0175583e77d",
    "train-labels-idx1-ubyte": "d9e104eba715236b7fc611b9c86f5d7c",
    "t10k-images-idx3-ubyte": "1301bb13185bbdf5c8914c4721473577",
    "t10k-labels-idx1-ubyte": "d54be20fd4ec99a6156d32b52eec94cb",
}


def md5(data):
    return hashlib.md5(data).hexdigest()


def read(folder, name, sums):
    path = folder / f"{name}.gz"
    data = gzip.decompress(path.read_bytes())
    if md5(data) != sums[name]:
        sys.exit(f"{path}: MD5 of its content is {md5(data)}, expected {sums[name]}")
    return data


def images_and_labels(folder, part):
    images = read(folder, f"{part}-images-idx3-ubyte", SOURCE_MD5)[16:]
    labels = read(folder, f"{part}-labels-idx1-ubyte", SOURCE_MD5)[8:]
    return [(images[i * PIXELS : (i + 1) * PIXELS], label) for i, label in enumerate(labels)]


def first_of_each_class(records, per_class):
    taken = [0] * len(CLASSES)
    chosen = []
    for image, label in records:
        if taken[label] < per_class:
            taken[label] += 1
            chosen.append((image, label))
    return chosen


def write_idx(part, records):
    files = {
        f"{part}-images-idx3-ubyte": struct.pack(">4I", 2051, len(records), 28, 28) + b"".join(i for i, _ in records),
        f"{part}-labels-idx1-ubyte": struct.pack(">2I", 2049, len(records)) + bytes(label for _, label in records),
    }
    for name, data in files.items():
        (BUNDLE / f"{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        print(f"{name}: {len(records)} records, MD5 {md5(data)}")


def cifar_record(image, label):
    """A 28x28 grey image on black 32x32, its three channels at different brightness."""
    blank = bytes(32)
    rows = [bytes(2) + image[y * 28 : y * 28 + 28] + bytes(2) for y in range(28)]
    plane = b"".join([blank, blank, *rows, blank, blank])
    channels = [bytes(value * tint // 4 for value in plane) for tint in (4, 3, 2)]
    return bytes([label]) + b"".join(channels)


def write_fixture(train, test):
    FIXTURE.mkdir(parents=True, exist_ok=True)
    for batch in range(5):
        part = train[batch * FIXTURE_TRAIN : (batch + 1) * FIXTURE_TRAIN]
        (FIXTURE / f"data_batch_{batch + 1}.bin").write_bytes(b"".join(cifar_record(*r) for r in part))
    (FIXTURE / "test_batch.bin").write_bytes(b"".join(cifar_record(*r) for r in test[:FIXTURE_TEST]))
    (FIXTURE / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n")


def main(arguments):
    if arguments == ["--verify"]:
        for name in BUNDLE_MD5:
            read(BUNDLE, name, BUNDLE_MD5)
        print(f"{BUNDLE.relative_to(ROOT)}: the four files are as made")
        return
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    source = pathlib.Path(arguments[0])
    test = first_of_each_class(images_and_labels(source, "t10k"), TEST_PER_CLASS)
    seen = {image for image, _ in test}
    train = images_and_labels(source, "train")
    train = first_of_each_class([r for r in train if r[0] not in seen], TRAIN_PER_CLASS)
    BUNDLE.mkdir(parents=True, exist_ok=True)
    write_idx("train", train)
    write_idx("t10k", test)
    (BUNDLE / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    write_fixture(train, test)


if __name__ == "__main__":
    main(sys.argv[1:])
