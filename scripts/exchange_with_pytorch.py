#!/usr/bin/env python3
"""Moves networks between PyTorch and this project and prints the difference of the logits.

    cargo build --release
    python scripts/exchange_with_pytorch.py [--listing LISTING.md] [--onnx-check BINARY]

Needs torch, torchvision, safetensors, onnxruntime, numpy and Pillow. For every width PyTorch saves a
network with seeded random weights and running statistics as .pth (zip), .pth (legacy) and safetensors.
`import` reads each file, and both `predict` and PyTorch classify the same PNG images. Then `export` writes
two files. A new network in PyTorch loads the safetensors file strictly, and the tensors are compared. The
ONNX file runs in ONNX Runtime and, with --onnx-check, in tract. `--listing` does the same with the seed
layout, from the markdown file that lists it. An error is the largest difference of a logit as a fraction
of the largest logit. The exit code is 1 if an error is above the tolerance.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import reference_networks

TOLERANCE = 1e-5
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
IMAGES = 4
FORMS = ["pth", "legacy", "safetensors"]


def cases(listing):
    for scale in (0.5, 1.0, 1.5, 2.0):
        yield {"layout": "standard", "scale": scale, "stem": "imagenet", "classes": 1000}, 224
    yield {"layout": "standard", "scale": 1.0, "stem": "cifar", "classes": 10}, 32
    if listing:
        for scale in (0.5, 1.0, 1.5, 2.0):
            yield {"layout": "seed", "scale": scale, "stem": "seed", "classes": 10}, 224
        yield {"layout": "seed", "scale": 1.0, "stem": "cifar", "classes": 100}, 32


def randomise(network, seed):
    """Weights as large as a trained network's, and running statistics that differ from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.dim() > 1:
                fan_in = tensor[0].numel()
                tensor.copy_(noise * (2 / fan_in) ** 0.5)
            elif name.endswith("weight"):
                tensor.copy_(1 + 0.2 * noise)
            else:
                tensor.copy_(0.2 * noise)
    return network.eval()


def error(found, expected):
    assert np.isfinite(found).all(), "a logit is infinite or NaN"
    return float(np.abs(found - expected).max() / np.abs(expected).max())


class Workplace:
    """A folder in which the binary runs."""

    def __init__(self, folder, binary, onnx_check):
        self.folder, self.binary, self.onnx_check = folder, binary, onnx_check

    def run(self, *arguments):
        done = subprocess.run([self.binary, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"exit code {done.returncode} of: {' '.join(map(str, arguments))}")
        return done.stdout

    def images(self, size):
        """PNG files, and their pixels after PyTorch's transforms."""
        generator = np.random.default_rng(size)
        paths, pixels = [], []
        for index in range(IMAGES):
            image = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
            paths.append(self.folder / f"{size}-{index}.png")
            Image.fromarray(image).save(paths[-1])
            pixels.append(image.transpose(2, 0, 1))
        scaled = torch.from_numpy(np.stack(pixels)).float() / 255
        return paths, (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]

    def logits(self, checkpoint, paths):
        lines = self.run("predict", "--checkpoint", checkpoint, "--json", "--logits", *paths).splitlines()
        return np.array([json.loads(line)["logits"] for line in lines], dtype=np.float32)

    def tract(self, name, pixels, ours):
        if not self.onnx_check:
            return None
        save_file({"images": pixels.contiguous(), "logits": torch.from_numpy(ours)}, self.folder / f"{name}.safetensors")
        done = subprocess.run([self.onnx_check, self.folder], stdout=subprocess.PIPE, text=True, check=False)
        line = next((line for line in done.stdout.splitlines() if line.startswith(name)), None)
        return float(line.split()[-1]) if line else sys.exit(f"no answer from {self.onnx_check}")

    def case(self, model, size, listing):
        name = f"{model['layout']}-{model['scale']}-{model['stem']}"
        network = randomise(reference_networks.build(model, listing), seed=int(model["scale"] * 10))
        state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
        paths, pixels = self.images(size)
        with torch.no_grad():
            expected = network(pixels).numpy()
        row = {"network": name}
        for form in FORMS:
            file = self.folder / f"{name}-{form}"
            if form == "safetensors":
                save_file(state, file)
            else:
                torch.save(network.state_dict(), file, _use_new_zipfile_serialization=form == "pth")
            checkpoint = self.folder / f"{name}-{form}-imported"
            mean, std = (",".join(map(str, values)) for values in (MEAN, STD))
            self.run(
                *("import", "--weights", file, "--stem", model["stem"]),
                # No resize, so that the pixels are PyTorch's.
                *("--set", f"data.options.size={size}", "--set", f"data.options.resize={size}"),
                *("--mean", mean, "--std", std, "--out", checkpoint),
            )
            ours = self.logits(checkpoint, paths)
            row[form] = error(ours, expected)
        exported = self.folder / f"{name}-exported"
        self.run("export", "--checkpoint", checkpoint, "--format", "safetensors", "--out", exported)
        back = reference_networks.build(model, listing)
        back.load_state_dict(load_file(exported), strict=True)
        floats = [key for key in state if state[key].is_floating_point()]
        row["tensors that came back other"] = sum(not torch.equal(back.state_dict()[key], state[key]) for key in floats)
        onnx = self.folder / f"{name}.onnx"
        self.run("export", "--checkpoint", checkpoint, "--format", "onnx", "--out", onnx)
        session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"images": pixels.numpy()})
        row["ONNX Runtime to ours"] = error(found, ours)
        row["tract to ours"] = self.tract(name, pixels, ours)
        onnx.unlink()
        return row


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listing", type=Path, metavar="LISTING.md")
    parser.add_argument("--onnx-check", metavar="BINARY")
    parser.add_argument("--binary", default="target/release/shufflenet")
    arguments = parser.parse_args()
    worst = 0.0
    head = None
    with tempfile.TemporaryDirectory() as folder:
        workplace = Workplace(Path(folder), arguments.binary, arguments.onnx_check)
        for model, size in cases(arguments.listing):
            row = workplace.case(model, size, arguments.listing)
            if not head:
                head = list(row)
                print(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
            cells = [f"{value:.1e}" if isinstance(value, float) else str(value) for value in row.values()]
            print(f"| {' | '.join(cells)} |", flush=True)
            worst = max([worst, *(value for value in row.values() if isinstance(value, (int, float)))])
    print(f"\nworst {worst:.1e}, {TOLERANCE:.0e} is accepted")
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
