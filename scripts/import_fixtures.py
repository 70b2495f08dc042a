#!/usr/bin/env python3
"""Writes weight files as people have them, with the logits that PyTorch computes from them.

    python scripts/import_fixtures.py

Needs torch, torchvision and numpy. The files go to `crates/shufflenet-model/tests/fixtures/import`, and the tests in
`crates/shufflenet-model/tests/import` read them: one narrow network beside objects of every type that a checkpoint may
have, as a whole module, as parameters, as NumPy arrays, with tensors of unsupported types, and a TorchScript archive.
`megvii.json` has the logits of Megvii's network. The class `Megvii` below is our own description of that network, and
the formula of `parity_fixtures.py` fills its weights from their names.
"""

import argparse
import datetime
import enum
import http
import json
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

import reference_networks
from exchange_with_pytorch import randomise
from parity_fixtures import filled

OUT = Path(__file__).resolve().parent.parent / "crates/shufflenet-model/tests/fixtures/import"
NARROW = {"layout": "standard", "scale": 1.0, "widths": [4, 8, 8, 8, 8], "repeats": [1, 1, 1]}
NARROW |= {"stem": "cifar", "classes": 3}


class Averages(OrderedDict):
    """A class that the reader of the file does not have."""


class Phase(enum.Enum):
    WARMUP = 1


def strange(state):
    """The state with tensors of every memory layout, and beside it objects of every type."""
    state = OrderedDict(state)
    state["conv1.0.weight"] = state["conv1.0.weight"].to(memory_format=torch.channels_last)
    state["fc.weight"] = state["fc.weight"].t().contiguous().t()
    # Views of one storage, with offsets.
    names = [name for name in state if name.endswith("running_mean")]
    flat = torch.cat([torch.full((3,), 9.0), *(state[name] for name in names)])
    place = 3
    for name in names:
        size = len(state[name])
        state[name] = flat[place : place + size]
        place += size
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], 0.1, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    circle = []
    circle.append(circle)
    return {
        "state_dict": state,
        "confusion": {(0, 1): 3, (1, 0): torch.zeros(2)},
        "optimizer": optimizer.state_dict(),
        "sparse": torch.eye(3).to_sparse(),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "quantized": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
        "expanded": torch.zeros(1).expand(10**9),
        "scalar": np.float64(1.5),
        "array": np.arange(3.0),
        "texts": np.array(["a", "b"]),
        "namespace": argparse.Namespace(lr=0.1),
        "averages": Averages(a=1),
        "enum": http.HTTPStatus.OK,
        "phase": Phase.WARMUP,
        "path": Path("runs/1"),
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "large": 2**100,
        "type": torch.float16,
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "date": datetime.datetime(2018, 7, 30),
        "function": nn.functional.relu,
        "slice": slice(1, 2),
        "parameter": parameter,
        "circle": circle,
    }


def newer():
    """Tensors of types that the older format does not have."""
    return {
        "float8": torch.zeros(2).to(torch.float8_e4m3fn),
        "meta": torch.zeros(2, device="meta"),
        "csr": torch.eye(3).to_sparse_csr(),
    }


def people():
    network = randomise(reference_networks.build(NARROW, None), seed=2)
    state = network.state_dict()
    legacy = {"_use_new_zipfile_serialization": False}
    torch.save(strange(state) | newer(), OUT / "strange.pth")
    torch.save(strange(state), OUT / "strange-legacy.pth", **legacy)
    torch.save(network, OUT / "whole.pth")
    parts = dict(network.named_parameters()) | dict(network.named_buffers())
    torch.save(parts, OUT / "parameters.pth", **legacy)
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    arrays["fc.weight"] = np.asfortranarray(arrays["fc.weight"])
    (OUT / "arrays.pkl").write_bytes(pickle.dumps({"model": arrays}, 4))
    types = dict(state)
    types["conv5.0.weight"] = state["conv5.0.weight"].to(torch.complex64)
    types["stage3.1.branch2.0.weight"] = state["stage3.1.branch2.0.weight"].to_sparse()
    types["stage4.1.branch2.0.weight"] = state["stage4.1.branch2.0.weight"].to(torch.float8_e4m3fn)
    torch.save(types, OUT / "types.pth")
    torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1, 1)), OUT / "script.pt")
    images = (torch.arange(2 * 3 * 16 * 16) % 23 / 11.0 - 1).reshape(2, 3, 16, 16)
    with torch.no_grad():
        return network(images).flatten().tolist()


class MegviiUnit(nn.Module):
    """A unit that shuffles at its start: even channels are passed on, odd channels are transformed."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride = stride
        middle = outputs // 2
        self.branch_main = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
            nn.Conv2d(middle, outputs - inputs, 1, bias=False),
            nn.BatchNorm2d(outputs - inputs),
            nn.ReLU(),
        )
        if stride == 2:
            self.branch_proj = nn.Sequential(
                nn.Conv2d(inputs, inputs, 3, 2, 1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.Conv2d(inputs, inputs, 1, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU(),
            )

    def forward(self, x):
        if self.stride == 2:
            return torch.cat([self.branch_proj(x), self.branch_main(x)], 1)
        return torch.cat([x[:, 0::2], self.branch_main(x[:, 1::2])], 1)


class Megvii(nn.Module):
    """ShuffleNetV2 with the names and the order of https://github.com/megvii-model/ShuffleNet-Series."""

    def __init__(self, widths, classes):
        super().__init__()
        channels, *stages, last = widths
        self.first_conv = nn.Sequential(
            nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        units = []
        for outputs, count in zip(stages, (4, 8, 4), strict=True):
            units.append(MegviiUnit(channels, outputs, 2))
            units += [MegviiUnit(outputs // 2, outputs, 1) for _ in range(count - 1)]
            channels = outputs
        self.features = nn.Sequential(*units)
        self.conv_last = nn.Sequential(
            nn.Conv2d(channels, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU()
        )
        self.classifier = nn.Sequential(nn.Linear(last, classes, bias=False))

    def forward(self, x):
        x = self.conv_last(self.features(self.maxpool(self.first_conv(x))))
        return self.classifier(x.mean((2, 3)))


def megvii():
    """The logits in float64, so that a test measures only the rounding of the other side."""
    salt, size = 0, 64
    network = Megvii([24, 48, 96, 192, 1024], 10)
    state = network.state_dict()
    shapes = {name: list(value.shape) for name, value in state.items() if value.is_floating_point()}
    weights = {name: filled(name, tuple(shape), salt) for name, shape in shapes.items()}
    network.load_state_dict(state | weights)
    network.double().eval()
    images = filled("images", (2, 3, size, size), salt).double()
    with torch.no_grad():
        logits = network(images)
    return {"size": size, "salt": salt, "shapes": shapes, "logits": logits.flatten().tolist()}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "expected.json").write_text(json.dumps(people()) + "\n")
    (OUT / "megvii.json").write_text(json.dumps(megvii(), indent=0) + "\n")


if __name__ == "__main__":
    main()
