"""Writes crates/shufflenet-data/tests/fixtures/torchvision.bin.gz: the results of torchvision's u8 tensor operations
on one small image. These are each operation of TrivialAugment (wide) at every magnitude and with both signs, the
steps of colour jitter, mixup and cutmix. `crates/shufflenet-data/tests/torchvision.rs` reads the file.

Needs PyTorch and torchvision. The first line of the file has the versions that made it.

    python scripts/augmentation_fixtures.py
"""

import gzip
import json
import pathlib

import torch
import torchvision
from torchvision.transforms import InterpolationMode, autoaugment, functional
from torchvision.transforms.v2 import CutMix, MixUp

OUT = pathlib.Path(__file__).parent.parent / "crates/shufflenet-data/tests/fixtures/torchvision.bin.gz"
CHANNELS, HEIGHT, WIDTH, BINS = 3, 11, 14, 31


def image():
    """A slope with noise, by the formula of the Rust test. The channels differ, and values cover the whole range."""
    values = []
    for i in range(CHANNELS * HEIGHT * WIDTH):
        noise = (i * 2654435761 % 2**32) >> 24
        values.append((noise // 2 + i * 37 % 128) % 256)
    return torch.tensor(values, dtype=torch.uint8).reshape(CHANNELS, HEIGHT, WIDTH)


def operations(cases, pixels):
    """Every operation at every magnitude."""
    policy = autoaugment.TrivialAugmentWide(num_magnitude_bins=BINS)
    rand = autoaugment.RandAugment(num_magnitude_bins=BINS)
    wide = policy._augmentation_space(BINS)
    narrow = rand._augmentation_space(BINS, (HEIGHT, WIDTH))
    source = image()
    for name, (magnitudes, signed) in wide.items():
        bins = range(BINS) if magnitudes.ndim > 0 else [0]
        for bin in bins:
            magnitude = float(magnitudes[bin]) if magnitudes.ndim > 0 else 0.0
            rand_magnitude = float(narrow[name][0][bin]) if magnitudes.ndim > 0 else 0.0
            for sign in [1.0, -1.0] if signed and bin > 0 else [1.0]:
                result = autoaugment._apply_op(source, name, sign * magnitude, InterpolationMode.NEAREST, None)
                cases.append(
                    {"operation": name, "bin": bin, "sign": sign, "wide": magnitude, "rand": rand_magnitude}
                )
                pixels.extend(result.flatten().tolist())


def jitter(cases, pixels):
    """The steps of colour jitter."""
    source = image()
    for name, function, factors in [
        ("jitter_brightness", functional.adjust_brightness, [0.0, 0.4, 1.0, 1.7]),
        ("jitter_contrast", functional.adjust_contrast, [0.0, 0.4, 1.0, 1.7]),
        ("jitter_saturation", functional.adjust_saturation, [0.0, 0.4, 1.0, 1.7]),
        ("jitter_hue", functional.adjust_hue, [-0.5, -0.13, 0.0, 0.2, 0.5]),
    ]:
        for factor in factors:
            cases.append({"operation": name, "bin": 0, "sign": 1.0, "wide": factor, "rand": 0.0})
            pixels.extend(function(source, factor).flatten().tolist())


def mixes():
    """Boxes and shares of cutmix, and one batch through mixup and cutmix."""
    boxes = []
    for seed in range(40):
        torch.manual_seed(seed)
        cutmix = CutMix(alpha=1.0, num_classes=4)
        share = float(cutmix._dist.sample(()))
        torch.manual_seed(seed)
        state = {}

        def remember(high, size):
            value = torch.Tensor.int(torch.floor(torch.rand(size) * high))
            state.setdefault("middle", []).append(int(value))
            return value

        real, torch.randint = torch.randint, remember
        params = cutmix.make_params([torch.zeros(2, CHANNELS, HEIGHT, WIDTH)])
        torch.randint = real
        boxes.append(
            {"share": share, "middle": state["middle"], "box": params["box"], "adjusted": params["lam_adjusted"]}
        )
    batch = torch.arange(3 * CHANNELS * HEIGHT * WIDTH, dtype=torch.float32).reshape(3, CHANNELS, HEIGHT, WIDTH) / 64
    labels = torch.tensor([2, 0, 3])
    mixup = MixUp(alpha=1.0, num_classes=4)
    params = {"labels": labels, "batch_size": 3, "lam": 0.3}
    mixed = mixup.transform(batch, params)
    targets = mixup.transform(labels, params)
    cutmix = CutMix(alpha=1.0, num_classes=4)
    params = {"labels": labels, "batch_size": 3, "box": (2, 3, 9, 8), "lam_adjusted": 1 - 35 / (HEIGHT * WIDTH)}
    cut = cutmix.transform(batch, params)
    cut_targets = cutmix.transform(labels, params)
    return {
        "boxes": boxes,
        "labels": labels.tolist(),
        "mixup": {"pixels": mixed.flatten().tolist(), "targets": targets.flatten().tolist()},
        "cutmix": {"pixels": cut.flatten().tolist(), "targets": cut_targets.flatten().tolist()},
    }


def main():
    cases, pixels = [], []
    operations(cases, pixels)
    jitter(cases, pixels)
    header = {
        "reference": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "shape": [CHANNELS, HEIGHT, WIDTH],
        "cases": cases,
        **mixes(),
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    with gzip.GzipFile(OUT, "wb", compresslevel=9, mtime=0) as file:
        file.write(text + b"\n" + bytes(pixels))
    print(f"{OUT}: {len(cases)} cases, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
