#!/usr/bin/env python3
"""Writes the fixtures with which the tests compare the Rust networks with PyTorch's.

    python scripts/parity_fixtures.py --listing LISTING.md [CASE...]

Needs torch and torchvision. `reference_networks.py` builds the networks. LISTING.md is the markdown
file that lists the seed layout in PyTorch; its SHA-256 is recorded. For each case two files go to
`crates/shufflenet-train/tests/fixtures`: CASE.json with the configuration, the scalars and the norms, and
CASE.safetensors with whole tensors. The parameters' names go to `crates/shufflenet-model/tests/fixtures`.

Weights, images, labels and dropout masks come from a formula that both sides compute bit for bit, so the
fixtures have only results. With 32-bit wrapping arithmetic,

    key    = fnv1a(name) ^ salt                            FNV-1a of the tensor's name in UTF-8
    h(i)   = murmur3_finalizer(key + i * 0x9e3779b9)       i: row-major index in PyTorch's shape
    s(i)   = (h(i) >> 8) / 2^23 - 1                        in [-1, 1), exact

and a value, which is computed in float64 and rounded once to float32, is

    convolution and linear weights     s * sqrt(3 / fan_in)  fan_in: product of all dimensions but the first
    gamma, running variance            1 + s / 4
    beta                               1.5 + s / 2
    running mean, the linear bias      s / 10
    images (name "images")             2 s
    labels (name "labels")             h mod classes
    mask (name "dropout")              1 / (1 - p) where (s + 1) / 2 >= p, else 0

Beta is that large so that a ReLU passes most of its input. If ReLUs cut off half of their input, a random
network of this depth amplifies rounding a hundredfold in training mode.

The reference is PyTorch in float64 on those float32 values. A test must not fail because of float32's
rounding alone. So the salt is the first for which
- the error of PyTorch's float32 against its float64 is within a tenth of every tolerance (it is recorded), and
- no input of a ReLU is so close to zero that twice the rounding error of its tensor changes its sign. One
  such change moves a gradient by more than its tolerance.
"""

import argparse
import hashlib
import json
import math
import struct
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

from reference_networks import build, is_counter, totals

REPOSITORY = Path(__file__).resolve().parent.parent
FIXTURES = REPOSITORY / "crates/shufflenet-train/tests/fixtures"
NAMES = REPOSITORY / "crates/shufflenet-model/tests/fixtures/names.json"

TOLERANCES = {
    "evaluation_logits": 1e-5,
    "training_logits": 1e-5,
    "training_loss": 1e-5,
    "gradient_norms": 1e-4,
    "gradients": 1e-4,
    "running_statistics": 1e-5,
    "losses": 1e-4,
}
# The rate is so low that a changed sign at a ReLU in a later step hardly affects the losses. The decay is so strong
# that it affects them.
RATE, MOMENTUM, DECAY, STEPS = 0.0002, 0.9, 0.5, 5

CUSTOM = {"widths": [16, 40, 72, 136, 200], "repeats": [2, 3, 1]}
SWITCHES = {
    # 0.25 divides 48, 96 and 192. 0.21875 of 48 is 10.5, which rounds to the even 10.
    "split": {"split_ratio": 0.25},
    "split-tie": {"split_ratio": 0.21875},
    "se": {"squeeze_excitation": True, "repeats": [1, 2, 1]},
    "dropout": {"dropout": 0.3},
    "custom": CUSTOM,
    "all": CUSTOM
    | {"split_ratio": 0.375, "residual": True, "squeeze_excitation": True, "input_channels": 5},
}


def cases():
    """Name, [model] table, image size and batch of each case. Sizes are not square and not powers of two, so that
    a transposed map or a wrongly rounded size is found."""
    for layout in ("standard", "seed"):
        own_stem = {"standard": "imagenet", "seed": "seed"}[layout]
        base = {"layout": layout, "scale": 0.5, "stem": "cifar", "classes": 10}
        for scale in (0.5, 1.0, 1.5, 2.0):
            yield f"{layout}-{scale}", base | {"scale": scale}, (16, 12), 4
        yield f"{layout}-{own_stem}-stem", base | {"stem": own_stem}, (64, 44), 4
        residual = {"residual": layout == "standard"}
        channels = {"input_channels": {"standard": 1, "seed": 4}[layout]}
        for name, edit in (SWITCHES | {"residual": residual, "channels": channels}).items():
            # The norm in squeeze-and-excitation is over the batch only, and a small batch amplifies rounding.
            squeezing = "squeeze_excitation" in edit
            size, batch = ((12, 8), 16) if squeezing else ((16, 12), 4)
            yield f"{layout}-{name}", base | {"classes": 3} | edit, size, batch


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


def filled(name, shape, salt, dropout=0.0):
    s = signed(name, math.prod(shape), salt)
    if name == "images":
        values = 2 * s
    elif name == "dropout":
        values = np.where((s + 1) / 2 >= dropout, 1 / (1 - dropout), 0)
    elif len(shape) > 1:
        values = s * math.sqrt(3 / math.prod(shape[1:]))
    elif name.endswith(("running_var", "weight")):
        values = 1 + s / 4
    elif name.endswith("running_mean") or name == "fc.bias":
        values = s / 10
    else:
        values = 1.5 + s / 2
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def recorded_whole(names):
    """The gradients that are stored as whole tensors: of the stem, a depthwise convolution, a widening 1x1
    convolution, a gamma per stage, fc, and the first squeeze-and-excitation block, if there is one."""
    if "conv1.0.weight" in names:
        wanted = ["conv1.0.weight", "stage3.1.branch2.3.weight", "stage2.0.branch1.2.weight"]
        wanted += [f"stage{stage}.0.branch2.6.weight" for stage in (2, 3, 4)]
    else:
        stage = "shuffles.ShuffleConvs_{0}.".format
        wanted = ["conv1.weight", stage(1) + "ShuffleUnit1_0.conv2.weight"]
        wanted += [stage(0) + "ShuffleUnit0_0.conv1.weight"]
        wanted += [stage(i) + "DownsampleUnit.bn3r.weight" for i in range(3)]
    wanted += ["fc.weight", "fc.bias"]
    squeezing = [name for name in names if "SE_opr" in name]
    return wanted + squeezing[:4]


def run(model, size, batch, salt, dtype, listing):
    """All quantities that are compared, in `dtype`, and the inputs of every ReLU of the first step."""
    network = build(model, listing)
    state = {
        name: value if is_counter(name) else filled(name, tuple(value.shape), salt)
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    network.to(dtype)
    shape = (batch, model.get("input_channels", 3), *size)
    images = filled("images", shape, salt).to(dtype)
    labels = hashed("labels", batch, salt) % model["classes"]
    labels = torch.from_numpy(labels.astype(np.int64))
    network.eval()
    with torch.no_grad():
        result = {"evaluation_logits": network(images)}
    network.train()
    if model.get("dropout"):
        mask = filled("dropout", (batch, network.fc.in_features), salt, model["dropout"]).to(dtype)
        network.fc.register_forward_pre_hook(lambda _fc, inputs: inputs[0] * mask)
    optimizer = torch.optim.SGD(
        network.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True
    )
    relu_inputs, losses = [], []
    hooks = [
        layer.register_forward_pre_hook(lambda _relu, inputs: relu_inputs.append(inputs[0].double().clone()))
        for layer in network.modules()
        if isinstance(layer, nn.ReLU)
    ]
    for step in range(STEPS):
        logits = network(images)
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            for hook in hooks:
                hook.remove()
            result |= {"training_logits": logits.detach(), "training_loss": loss.detach()}
            result["gradients"] = {
                name: parameter.grad.double().clone()
                for name, parameter in network.named_parameters()
            }
            result["running_statistics"] = {
                name: value.double().clone()
                for name, value in network.state_dict().items()
                if "running_" in name
            }
        losses.append(loss.detach())
        optimizer.step()
    result["losses"] = torch.stack(losses)
    return result, [x.detach() for x in relu_inputs]


def relative(actual, expected):
    return float((actual.double() - expected).norm() / expected.norm())


def zero_by_construction(name, gradients):
    """Whether this is the beta of a depthwise convolution's norm. The norm after the next 1x1 convolution subtracts
    what this beta adds. So its gradient is only rounding, and its error is relative to the gradient of its gamma."""
    return float(gradients[name].norm()) < 1e-10


def errors(rounded, exact):
    """The largest error of PyTorch's float32 against its float64, for each quantity."""
    worst = {
        key: relative(rounded[key], exact[key])
        for key in ("evaluation_logits", "training_logits", "training_loss")
    }
    gradients = exact["gradients"]

    def norm_error(name):
        scale = name.replace(".bias", ".weight") if zero_by_construction(name, gradients) else name
        difference = rounded["gradients"][name].norm() - gradients[name].norm()
        return abs(float(difference / gradients[scale].norm()))

    worst["gradient_norms"] = max(map(norm_error, gradients))
    worst["gradients"] = max(
        relative(rounded["gradients"][name], gradients[name]) for name in recorded_whole(gradients)
    )
    worst["running_statistics"] = max(
        relative(rounded["running_statistics"][name], value)
        for name, value in exact["running_statistics"].items()
    )
    worst["losses"] = float(((rounded["losses"].double() - exact["losses"]) / exact["losses"]).abs().max())
    return worst


def flips(rounded, exact):
    """The number of ReLU inputs whose sign could change by twice the rounding error of their tensor."""
    count = 0
    for a, b in zip(rounded, exact, strict=True):
        reach = 2 * (a - b).abs().max()
        count += int(((b.abs() < reach) & (b != 0)).sum())
    return count


def find(name, model, size, batch, listing):
    for salt in range(300):
        exact, exact_inputs = run(model, size, batch, salt, torch.float64, listing)
        rounded, inputs = run(model, size, batch, salt, torch.float32, listing)
        found, flipped = errors(rounded, exact), flips(inputs, exact_inputs)
        if flipped == 0 and all(found[key] < tolerance / 10 for key, tolerance in TOLERANCES.items()):
            return salt, exact, found
    raise SystemExit(f"{name}: no salt fits; the last had {flipped} changed signs and {found}")


def write_safetensors(path, tensors):
    header, offset, blobs = {}, 0, []
    for name, tensor in sorted(tensors.items()):
        blob = tensor.detach().numpy().astype("<f4").tobytes()
        span = [offset, offset + len(blob)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": span}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write(name, model, size, batch, listing):
    salt, exact, found = find(name, model, size, batch, listing)
    network = build(model, listing)
    parameters, multiply_adds = totals(network, (model.get("input_channels", 3), *size))
    gradients = exact["gradients"]
    is_seed = model["layout"] == "seed"
    sha256 = hashlib.sha256(listing.read_bytes()).hexdigest()
    fixture = {
        "model": model,
        "height": size[0],
        "width": size[1],
        "batch": batch,
        "salt": salt,
        "reference": {"torch": torch.__version__}
        | ({"listing_sha256": sha256} if is_seed else {"torchvision": torchvision.__version__}),
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "optimizer": {"learning_rate": RATE, "momentum": MOMENTUM, "weight_decay": DECAY},
        "pytorch_float32_error": {key: float(f"{value:.2g}") for key, value in found.items()},
        "training_loss": float(exact["training_loss"]),
        "losses": exact["losses"].tolist(),
        "gradient_norms": {
            key: 0.0 if zero_by_construction(key, gradients) else float(f"{float(value.norm()):.9g}")
            for key, value in gradients.items()
        },
    }
    whole = {f"gradient/{key}": gradients[key] for key in recorded_whole(gradients)}
    whole |= {f"running/{key}": value for key, value in exact["running_statistics"].items()}
    whole |= {key: exact[key] for key in ("evaluation_logits", "training_logits")}
    FIXTURES.mkdir(parents=True, exist_ok=True)
    (FIXTURES / f"{name}.json").write_text(json.dumps(fixture, indent=1) + "\n")
    write_safetensors(FIXTURES / f"{name}.safetensors", whole)
    worst = max(found[key] / tolerance for key, tolerance in TOLERANCES.items())
    print(f"{name}: salt {salt}, PyTorch's float32 error at most {worst:.3f} of the tolerance", flush=True)


def write_names(listing):
    """The names in weight files by layout, also with other repeats and with squeeze-and-excitation."""
    entries = []
    for layout in ("standard", "seed"):
        for edit in ({}, CUSTOM, {"squeeze_excitation": True}):
            model = {"layout": layout, "scale": 0.5, "stem": "cifar", "classes": 10} | edit
            names = [name for name in build(model, listing).state_dict() if not is_counter(name)]
            entries.append({"model": model, "names": names})
    NAMES.write_text(json.dumps(entries, indent=0) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listing", type=Path, required=True, help="markdown file with the seed network")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="write only these cases")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, model, size, batch in cases():
        if not arguments.cases or name in arguments.cases:
            write(name, model, size, batch, arguments.listing)
    write_names(arguments.listing)


if __name__ == "__main__":
    main()
