#!/usr/bin/env python3
"""Writes weight files as PyTorch saves them, with the logits that PyTorch computes from them.

    python scripts/exchange_fixtures.py --listing LISTING.md

Needs torch, torchvision and safetensors. `reference_networks.py` builds the networks, which are narrow, so that
the files are small. The files go to `crates/shufflenet-model/tests/fixtures/exchange`, and
`crates/shufflenet-model/tests/state_dict.rs` reads them: networks in each format that PyTorch saves, and one network in
a training checkpoint as torchvision's scripts write it, beside a moving average and an optimizer.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import reference_networks
from exchange_with_pytorch import randomise

OUT = Path(__file__).resolve().parent.parent / "crates/shufflenet-model/tests/fixtures/exchange"
NARROW = {"scale": 1.0, "widths": [4, 8, 16, 24, 16], "repeats": [1, 2, 1], "stem": "cifar", "classes": 5}
CASES = {
    "standard": {"layout": "standard"} | NARROW,
    "seed": {"layout": "seed"} | NARROW,
    "split": {"layout": "standard", "split_ratio": 0.25, "squeeze_excitation": True, "residual": False}
    | NARROW
    | {"widths": [4, 16, 16, 24, 16]},
}


def write(name, model, listing):
    network = randomise(reference_networks.build(model, listing), seed=1)
    state = network.state_dict()
    if name != "split":
        torch.save(state, OUT / f"{name}.pth")
    if name != "seed":
        save_file(state, OUT / f"{name}.safetensors")
    if name == "standard":
        torch.save(state, OUT / "standard-legacy.pth", _use_new_zipfile_serialization=False)
        save_file({key: half(tensor) for key, tensor in state.items()}, OUT / "half.safetensors")
        nested(network, state)
    images = (torch.arange(2 * 3 * 16 * 16) % 23 / 11.0 - 1).reshape(2, 3, 16, 16)
    with torch.no_grad():
        return {"model": model, "logits": network(images).flatten().tolist()}


def half(tensor):
    return tensor.half() if tensor.is_floating_point() else tensor


def nested(network, state):
    """A checkpoint as torchvision's training script writes it: the model wrapped for several devices, its average, an optimizer."""
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    wrapped = {f"module.{key}": tensor for key, tensor in state.items()}
    average = {key: tensor * 0 + 1 for key, tensor in wrapped.items()}
    checkpoint = {
        "model": wrapped,
        "model_ema": average,
        "optimizer": optimizer.state_dict(),
        "epoch": 7,
        "args": argparse.Namespace(lr=0.1),
    }
    torch.save(checkpoint, OUT / "checkpoint.pth")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listing", type=Path, required=True, help="markdown file with the seed network")
    listing = parser.parse_args().listing
    OUT.mkdir(parents=True, exist_ok=True)
    expected = {name: write(name, model, listing) for name, model in CASES.items()}
    (OUT / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


if __name__ == "__main__":
    main()
