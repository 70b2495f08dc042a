"""The networks in PyTorch, with every switch: the reference of the Rust networks.

The standard layout is torchvision's class. The seed layout is a listing in the user's markdown file. The
script executes it from memory, and no part of it is copied here. Its one in-place addition is made out of
place, because autograd refuses it on the output of a ReLU. Switches that neither network has are added
by subclasses and hooks, so that everything else stays the original.

`model` is always the dictionary of a configuration file's `[model]` table.
"""

import functools
import re
from collections import OrderedDict

import torch
from torch import nn
from torchvision.models import shufflenetv2

# Paper, table 5.
WIDTHS = {
    0.5: [24, 48, 96, 192, 1024],
    1.0: [24, 116, 232, 464, 1024],
    1.5: [24, 176, 352, 704, 1024],
    2.0: [24, 244, 488, 976, 2048],
}
# What torchvision's unit does.
TORCHVISIONS = {"split_ratio": 0.5, "residual": False, "squeeze_excitation": False}


class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation of ShuffleNetV2+ by the paper's authors, with their names."""

    def __init__(self, channels):
        super().__init__()
        self.SE_opr = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 4, 1, bias=False),
            nn.BatchNorm2d(channels // 4),
            nn.ReLU(),
            nn.Conv2d(channels // 4, channels, 1, bias=False),
        )

    def forward(self, x):
        return x * nn.functional.hardsigmoid(self.SE_opr(x))


class Unit(shufflenetv2.InvertedResidual):
    """torchvision's unit with a split of any ratio, a residual sum and squeeze-and-excitation."""

    def __init__(self, inputs, outputs, stride, *, split_ratio, residual, squeeze_excitation):
        super().__init__(inputs, outputs, stride)
        right = outputs // 2
        if stride == 1:
            self.left = round(split_ratio * inputs)
            self.residual = residual
            right = outputs - self.left
            widened = shufflenetv2.InvertedResidual(2 * right, 2 * right, 1)
            self.branch2 = widened.branch2
        if squeeze_excitation:
            self.branch2.append(SqueezeExcitation(right))

    def forward(self, x):
        if self.stride > 1:
            return super().forward(x)
        left, right = x[:, : self.left], x[:, self.left :]
        out = self.branch2(right)
        if self.residual:
            out = out + right
        return shufflenetv2.channel_shuffle(torch.cat((left, out), 1), 2)


def standard(model):
    settings = {key: model.get(key, default) for key, default in TORCHVISIONS.items()}
    unit = shufflenetv2.InvertedResidual
    if settings != TORCHVISIONS:
        unit = functools.partial(Unit, **settings)
    repeats = model.get("repeats", [3, 7, 3])
    widths = model.get("widths") or WIDTHS[model["scale"]]
    # torchvision's repeats include the stride-2 unit.
    network = shufflenetv2.ShuffleNetV2(
        [repeat + 1 for repeat in repeats], widths, model["classes"], unit
    )
    channels = model.get("input_channels", 3)
    if channels != 3:
        network.conv1[0] = nn.Conv2d(channels, widths[0], 3, 2, 1, bias=False)
    return network, network.conv1[0]


def listed_classes(listing):
    """The listing's classes, patched, as a namespace."""
    blocks = re.findall(r"```python\n(.*?)```", listing.read_text(), flags=re.S)
    code, patched = re.subn(r"\bout \+= right\b", "out = out + right", "\n".join(blocks))
    if patched != 1:
        raise SystemExit(f"{listing}: {patched} in-place additions where 1 was expected")
    scope = {"torch": torch, "nn": nn, "OrderedDict": OrderedDict}
    exec(compile(code, str(listing), "exec"), scope)  # pylint: disable=exec-used
    return scope


def seed(model, listing):
    scope = listed_classes(listing)
    basic, down = scope["BasicUnit"], scope["DownsampleUnit"]
    # The network leaves its units' split ratio (and the shuffle's groups) at their defaults.
    basic.__init__.__defaults__ = (model.get("split_ratio", 0.5), 2)
    channels = model.get("input_channels", 3)

    class Network(scope["ShuffleNetV2"]):
        """The listing's network, with widths and repeats set before its stages are made."""

        def _make_shuffles(self):
            self.c = model.get("widths") or self.c
            self.n = model.get("repeats", self.n)
            self.conv1 = nn.Conv2d(channels, self.c[0], 3, 2, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(self.c[0])
            return super()._make_shuffles()

    network = Network(scale=model["scale"], in_channels=channels, num_classes=model["classes"])
    for unit in network.modules():
        if isinstance(unit, basic) and not model.get("residual", True):
            unit.outplanes = None  # A unit adds its input if this equals the number of its inputs.
        if model.get("squeeze_excitation") and isinstance(unit, (basic, down)):
            append_squeeze_excitation(unit, unit.bn3 if isinstance(unit, basic) else unit.bn3r)
    return network, network.conv1


def append_squeeze_excitation(unit, norm):
    """Adds a block after `norm`, the right branch's last norm, with a ReLU between them. The block comes before the
    residual sum. The listing's own ReLU after it then changes nothing."""
    unit.se = SqueezeExcitation(norm.num_features)
    norm.register_forward_hook(lambda _norm, _inputs, output: unit.se(unit.activation(output)))


def build(model, listing):
    network, first = standard(model) if model["layout"] == "standard" else seed(model, listing)
    stem = model["stem"]
    if stem == "cifar":
        first.stride = (1, 1)
        network.maxpool = nn.Identity()
    elif stem != {"standard": "imagenet", "seed": "seed"}[model["layout"]]:
        raise ValueError(f"the {model['layout']} layout's reference has no {stem} stem")
    return network


def is_counter(name):
    return name.endswith("num_batches_tracked")


def totals(network, shape):
    """Parameters, and multiply-adds of convolutions and linear layers for one image."""
    multiply_adds = 0

    def count(layer, _inputs, output):
        nonlocal multiply_adds
        positions = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        multiply_adds += layer.weight.numel() * positions

    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network.eval()(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return sum(parameter.numel() for parameter in network.parameters()), multiply_adds
