#!/usr/bin/env python3
"""Writes the fixtures that hold the Rust networks to PyTorch's: `tests/parity.rs` reads them.

    python scripts/parity_fixtures.py --listing LISTING.md --out crates/shufflenet-model/tests/fixtures

Needs torch and torchvision (the standard layout's reference), and for the seed layout the markdown
file that lists the network in PyTorch. That listing is executed from memory, its one in-place
addition (which autograd refuses on the output of a ReLU) made out of place; nothing of it is copied,
but its SHA-256 is recorded.

Weights, images and labels come from a formula that both sides compute to the last bit, so the
fixtures hold results only. With 32-bit wrapping arithmetic,

    key    = fnv1a(name) ^ salt                            FNV-1a of the tensor's name in UTF-8
    h(i)   = murmur3_finalizer(key + i * 0x9e3779b9)       i: row-major index in PyTorch's shape
    s(i)   = (h(i) >> 8) / 2^23 - 1                        in [-1, 1), exact

and a value is, computed in float64 and rounded once to float32,

    convolution and linear weights     s * sqrt(3 / fan_in)  fan_in: product of all dimensions but the first
    gamma, running variance            1 + s / 4
    beta                               1 + s / 2
    running mean, the linear bias      s / 10
    images (name "images")             2 s
    labels (name "labels")             h mod classes

Beta is that large so that a ReLU passes most of its input: with half of it cut off, a random network
of this depth amplifies rounding a hundredfold in training mode, and no salt would do.

The reference is PyTorch in float64 on those float32 values. PyTorch's own float32 error against it is
recorded, and the salt is the first for which that error is below a tenth of the test's tolerance: a
test must not fail for the reference's rounding.
"""

import argparse
import hashlib
import json
import math
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

TOLERANCE = 1e-5
CLASSES = 10
BATCH = 4
# Channels recorded of each running statistic.
CHANNELS = 24

# layout, scale, stem, image size. Every layout's narrowest two on the CIFAR stem; each pooled stem once.
CASES = [
    ("standard", 0.5, "cifar", 32),
    ("standard", 1.0, "cifar", 32),
    ("standard", 0.5, "imagenet", 64),
    ("seed", 0.5, "cifar", 32),
    ("seed", 1.0, "cifar", 32),
    ("seed", 0.5, "seed", 64),
]


def hashed(name, count, salt):
    key = 0x811C9DC5
    for byte in name.encode():
        key = (key ^ byte) * 0x01000193 & 0xFFFFFFFF
    h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(key ^ salt)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h


def signed(name, count, salt):
    return (hashed(name, count, salt) >> np.uint32(8)).astype(np.float64) / 2**23 - 1


def filled(name, shape, salt):
    s = signed(name, math.prod(shape), salt)
    if name == "images":
        values = 2 * s
    elif len(shape) > 1:
        values = s * math.sqrt(3 / math.prod(shape[1:]))
    elif name.endswith(("running_var", "weight")):
        values = 1 + s / 4
    elif name.endswith("running_mean") or name == "fc.bias":
        values = s / 10
    else:
        values = 1 + s / 2
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def standard(scale):
    build = {
        0.5: torchvision.models.shufflenet_v2_x0_5,
        1.0: torchvision.models.shufflenet_v2_x1_0,
    }[scale]
    network = build(num_classes=CLASSES)
    return network, network.conv1[0]


def seed(scale, listing):
    blocks = re.findall(r"```python\n(.*?)```", listing.read_text(), flags=re.S)
    code, patched = re.subn(r"\bout \+= right\b", "out = out + right", "\n".join(blocks))
    if patched != 1:
        raise SystemExit(f"{listing}: {patched} in-place additions where 1 was expected")
    scope = {"torch": torch, "nn": nn, "OrderedDict": OrderedDict}
    exec(compile(code, str(listing), "exec"), scope)  # pylint: disable=exec-used
    network = scope["ShuffleNetV2"](scale=scale, num_classes=CLASSES)
    return network, network.conv1


def build(layout, scale, stem, listing):
    network, first = standard(scale) if layout == "standard" else seed(scale, listing)
    if stem == "cifar":
        first.stride = (1, 1)
        network.maxpool = nn.Identity()
    return network


def is_counter(name):
    return name.endswith("num_batches_tracked")


def run(network, salt, size, dtype):
    """Everything the fixture compares, computed in `dtype`."""
    state = {
        name: value if is_counter(name) else filled(name, tuple(value.shape), salt)
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    network.to(dtype)
    images = filled("images", (BATCH, 3, size, size), salt).to(dtype)
    labels = torch.from_numpy((hashed("labels", BATCH, salt) % CLASSES).astype(np.int64))
    with torch.no_grad():
        network.eval()
        result = {"evaluation_logits": network(images)}
        network.train()
        result["training_logits"] = network(images)
        result["training_loss"] = nn.functional.cross_entropy(result["training_logits"], labels)
    after = network.state_dict()
    means = [name for name in after if name.endswith("running_mean")]
    for name in (means[0], means[-1]):
        for statistic in (name, name.replace("running_mean", "running_var")):
            result[statistic] = after[statistic][:CHANNELS]
    return {name: value.to(torch.float64).flatten() for name, value in result.items()}


def fixture(layout, scale, stem, size, listing):
    for salt in range(1000):
        exact = run(build(layout, scale, stem, listing), salt, size, torch.float64)
        rounded = run(build(layout, scale, stem, listing), salt, size, torch.float32)
        errors = {
            name: float((rounded[name] - value).norm() / value.norm())
            for name, value in exact.items()
        }
        if max(errors.values()) < TOLERANCE / 10:
            break
    else:
        raise SystemExit(f"{layout} {scale}: no salt keeps PyTorch's float32 error small enough")
    return {
        "layout": layout,
        "scale": scale,
        "stem": stem,
        "height": size,
        "width": size,
        "batch": BATCH,
        "classes": CLASSES,
        "salt": salt,
        "reference": {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__ if layout == "standard" else None,
            "listing_sha256": hashlib.sha256(listing.read_bytes()).hexdigest()
            if layout == "seed"
            else None,
        },
        "pytorch_float32_error": errors,
        "expected": {name: value.tolist() for name, value in exact.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--listing", type=Path, required=True, help="markdown file with the seed network")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the fixtures to")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = {}
    for layout, scale, stem, size in CASES:
        result = fixture(layout, scale, stem, size, arguments.listing)
        path = arguments.out / f"{layout}-{scale}-{stem}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        worst = max(result["pytorch_float32_error"].values())
        print(f"{path}: salt {result['salt']}, PyTorch's float32 error {worst:.1e} at most")
        network = build(layout, scale, stem, arguments.listing)
        names[layout] = [name for name in network.state_dict() if not is_counter(name)]
    (arguments.out / "names.json").write_text(json.dumps(names, indent=0) + "\n")


if __name__ == "__main__":
    main()
