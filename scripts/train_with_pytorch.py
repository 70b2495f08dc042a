#!/usr/bin/env python3
"""Trains one of this project's configurations in PyTorch: the same network, recipe, images and epochs.

    recipe="--config configs/cifar10-coffee.toml --set train.precision=f32"
    python scripts/train_with_pytorch.py $recipe --out eager.jsonl
    python scripts/train_with_pytorch.py $recipe --out compiled.jsonl --compile

The binary resolves the configuration, so that the defaults are the binary's. A setting that this script does not
support is refused. Random numbers are PyTorch's, so a seed gives another run than in the binary. Normalised images
are in memory, and a batch is cropped and mirrored as a whole, which takes little time.

The output has the lines of a run's metrics.jsonl: training with its speed, then the test set, for each epoch (for
the moving average, if there is one). As in a run, the speed excludes evaluation. It also excludes compilation, which
runs on images that are not trained on.

Needs CIFAR-10 (scripts/fetch_cifar10.py), a release build, and torch and torchvision in the Python that runs it.
"""

import argparse
import copy
import json
import math
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from compare_with_pytorch import ROOT, Workload, flush_subnormals, standard_network

RECORD = 1 + 3 * 32 * 32
TRAIN = [f"data_batch_{number}.bin" for number in range(1, 6)]
TEST = ["test_batch.bin"]
# The keys that a configuration must have. The others have the binary's defaults.
REQUIRED = """
[data]
format = "cifar10"
root = "data/cifar-10-batches-bin"
normalization = { mean = [0, 0, 0], std = [1, 1, 1] }
"""
# Keys that do not affect the weights.
INDIFFERENT = ("name", "data.workers", "data.options", "train.evaluate_every", "train.log_every", "checkpoint")


class Settings:
    """An experiment's settings by key. It remembers which keys were read."""

    def __init__(self, binary, config, overrides):
        self.values = self.resolved(binary, config, overrides)
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "defaults.toml"
            plain.write_text(REQUIRED, encoding="utf-8")
            self.defaults = self.resolved(binary, plain, [])
        self.followed = set()

    @staticmethod
    def resolved(binary, config, overrides):
        command = [binary, "train", "--print-config", "--config", config]
        command += [f"--set={pair}" for pair in overrides]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"train_with_pytorch: {done.stderr.strip()}")
        return dict(leaves(tomllib.loads(done.stdout)))

    def __call__(self, key, default=None):
        self.followed.add(key)
        return self.values.get(key, default)

    def refuse_the_rest(self):
        for key, value in self.values.items():
            known = key in self.followed or key.startswith(INDIFFERENT)
            if not known and self.defaults.get(key) != value:
                sys.exit(f"train_with_pytorch: does not follow {key} = {value!r}")


def leaves(table, prefix=""):
    for key, value in table.items():
        # An empty table is a choice, too: `trivial_augment = {}` switches it on.
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def read(settings, names):
    """Normalised images, `[count, 3, 32, 32]`, and labels of official binary files."""
    folder = ROOT / settings("data.root")
    data = bytearray(b"".join((folder / name).read_bytes() for name in names))
    records = torch.frombuffer(data, dtype=torch.uint8).view(-1, RECORD)
    mean, std = (torch.tensor(settings(f"data.normalization.{key}")).view(3, 1, 1) for key in ("mean", "std"))
    images = records[:, 1:].reshape(-1, 3, 32, 32)
    return (images / 255 - mean) / std, records[:, 0].long(), (0 - mean) / std


class Augmented:
    """Training images. A batch is cropped and mirrored as a whole."""

    def __init__(self, settings):
        images, self.labels, black = read(settings, TRAIN)
        self.padding = padding = settings("data.augmentation.crop_padding")
        if settings("data.augmentation.padding") == "reflect":
            self.padded = functional.pad(images, [padding] * 4, mode="reflect")
        else:
            self.padded = functional.pad(images - black, [padding] * 4) + black
        self.flips = settings("data.augmentation.flip")
        self.alternates = settings("data.augmentation.alternating_flip")
        self.first = torch.rand(len(images)) < 0.5

    def batch(self, records, epoch):
        count, across = len(records), torch.arange(32)
        top, left = torch.randint(0, 2 * self.padding + 1, (2, count))
        flip = self.first[records] ^ bool(epoch % 2) if self.alternates else torch.rand(count) < 0.5
        columns = torch.where((flip & self.flips).view(-1, 1), 31 - across, across) + left.view(-1, 1)
        rows = across + top.view(-1, 1)
        images = self.padded[records.view(-1, 1, 1), :, rows.view(count, 32, 1), columns.view(count, 1, 32)]
        return images.permute(0, 3, 1, 2).contiguous(), self.labels[records]


def share_of_peak(settings, per_epoch, total):
    """The learning rate as a fraction of its peak, as a function of the step, which counts from 0."""
    warmup = round(settings("schedule.warmup_epochs") * per_epoch)
    kind = settings("schedule.kind")
    if kind not in ("linear", "cosine"):
        sys.exit(f"train_with_pytorch: does not follow schedule.kind = {kind!r}")
    end = settings(f"schedule.{kind}.end")

    def share(step):
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / (total - warmup)
        falls = 1 - done if kind == "linear" else (1 + math.cos(math.pi * done)) / 2
        return end + (1 - end) * falls

    return share


def orthogonal(stack, iterations):
    """Approximates the nearest orthogonal matrices by Newton-Schulz iterations (Jordan et al., 2024), in float32."""
    x = stack.mT if stack.size(1) > stack.size(2) else stack
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    one, gram, wide = torch.eye(x.size(1)), x @ x.mT, x.size(2) >= 2 * x.size(1)
    product = one
    for _ in range(iterations):
        polynomial = 3.4445 * one - 4.7750 * gram + 2.0315 * gram @ gram
        if wide:  # Less work, as in the binary: only the small matrices are iterated.
            product = polynomial @ product
            gram = polynomial @ gram @ polynomial
        else:
            x = polynomial @ x
            gram = x @ x.mT
    x = product @ x if wide else x
    return x.mT if stack.size(1) > stack.size(2) else x


class Muon(torch.optim.Optimizer):
    """PyTorch's Muon for every weight that is a matrix. (PyTorch's own class refuses convolutions, which have four dimensions.)

    Matrices of equal shape are orthogonalised together, as in the binary.
    """

    @torch.no_grad()
    def step(self, closure=None):
        stacks = {}
        for group in self.param_groups:
            for weight in group["params"]:
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                direction = weight.grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
                stacks.setdefault(weight.flatten(1).shape, []).append((group, weight, direction.flatten(1)))
        for (rows, columns), members in stacks.items():
            scale = max(1, rows / columns) ** 0.5
            updates = orthogonal(torch.stack([direction for *_, direction in members]), members[0][0]["iterations"])
            for (group, weight, _), update in zip(members, updates, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(update.reshape(weight.shape), alpha=group["lr"] * scale)


def optimizers(settings, network):
    kind, decay = settings("optimizer.kind"), settings("optimizer.weight_decay")
    if kind not in ("sgd", "muon"):
        sys.exit(f"train_with_pytorch: does not follow optimizer.kind = {kind!r}")
    decays_all, nesterov = settings("optimizer.decay_norm_and_bias"), settings("optimizer.nesterov")
    parts = settings("optimizer.parts")
    sgd, muon = [], []
    for name, weight in network.named_parameters():
        by_muon = kind == "muon" and weight.dim() > 1 and weight.shape[1] > 1
        rate = 1.0
        for part in parts:
            if Path(name).match(part["names"]):
                rate = part.get("rate", 1.0)
                if part.get("decay", 1.0) != 1.0:
                    sys.exit("train_with_pytorch: does not follow optimizer.parts.decay")
        own = settings("optimizer.muon.weight_decay") if by_muon else decay
        own = own if decays_all or weight.dim() > 1 else 0.0
        (muon if by_muon else sgd).append({"params": [weight], "weight_decay": own, "rate": rate})
    for group in sgd:
        group["peak"] = settings("optimizer.learning_rate") * group["rate"]
    for group in muon:
        group["peak"] = settings("optimizer.muon.learning_rate") * group["rate"]
    made = [torch.optim.SGD(sgd, lr=1.0, momentum=settings("optimizer.momentum"), nesterov=nesterov)]
    if muon:
        own = {key: settings(f"optimizer.muon.{key}") for key in ("momentum", "iterations")}
        made.append(Muon(muon, {"lr": 1.0, "nesterov": nesterov, **own}))
    return made


class Metrics:
    def __init__(self):
        self.loss, self.right, self.count = 0.0, 0, 0

    def add(self, logits, labels):
        self.loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        self.right += (logits.argmax(1) == labels).sum().item()
        self.count += len(labels)

    def line(self, start):
        seconds = time.perf_counter() - start
        figures = {"loss": self.loss / self.count, "top1": self.right / self.count}
        return {**figures, "count": self.count, "img_per_s": self.count / seconds}


@torch.no_grad()
def evaluate(network, images, labels):
    network.eval()
    metrics, start = Metrics(), time.perf_counter()
    for batch in torch.arange(len(labels)).split(500):
        metrics.add(network(images[batch]), labels[batch])
    return metrics.line(start)


def train(settings, options):
    torch.set_num_threads(options.threads)
    flush_subnormals(torch)
    torch.manual_seed(settings("train.seed"))
    layout, scale, stem = (settings(f"model.{key}") for key in ("layout", "scale", "stem"))
    if (layout, stem) != ("standard", "cifar"):
        sys.exit("train_with_pytorch: does not follow another layout than standard with the cifar stem")
    network = standard_network(Workload("", "train", layout, scale, stem, 0, 32, []))
    data = Augmented(settings)
    images, labels, _ = read(settings, TEST)
    epochs, size = settings("train.epochs"), settings("train.batch_size")
    stages, decay = settings("train.progressive", []), settings("train.ema_decay")
    smoothing, keeps_last = settings("loss.label_smoothing"), not settings("train.drop_last")
    steps = len(data.labels) // size + (keeps_last and len(data.labels) % size > 0)
    share = share_of_peak(settings, steps, steps * epochs)
    made = optimizers(settings, network)
    settings.refuse_the_rest()

    forward = network
    if options.compile:
        # Dynamic shapes would be slower than one compilation for each shape.
        forward = torch.compile(network, dynamic=False)
        # Compile for every shape of the run, then restore the initial state.
        before = copy.deepcopy(network.state_dict())
        for side in {32, *(stage["size"] for stage in stages)}:
            for count in {size, len(data.labels) % size} - {0}:
                forward(torch.randn(count, 3, side, side)).sum().backward()
        network.load_state_dict(before)
    average, step = None, 0
    for epoch in range(1, epochs + 1):
        side = next((stage["size"] for stage in stages if epoch <= stage["until_epoch"]), 32)
        metrics, start = Metrics(), time.perf_counter()
        network.train()
        order = torch.randperm(len(data.labels)).split(size)[:steps]
        for records in order:
            pixels, targets = data.batch(records, epoch)
            if side < 32:
                pixels = functional.adaptive_avg_pool2d(pixels, side)
            logits = forward(pixels)
            for optimizer in made:
                optimizer.zero_grad()
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * share(step)
            functional.cross_entropy(logits, targets, label_smoothing=smoothing).backward()
            for optimizer in made:
                optimizer.step()
            step += 1
            metrics.add(logits.detach(), targets)
            if decay is not None:
                average = follow(average, network, decay)
        yield {"event": "epoch", "epoch": epoch, "step": step, "split": "train", **metrics.line(start)}
        if epoch % options.evaluate_every == 0 or epoch == epochs:
            figures = evaluate(average or copy.deepcopy(network), images, labels)
            yield {"event": "epoch", "epoch": epoch, "step": step, "split": "test", **figures}


@torch.no_grad()
def follow(average, network, decay):
    """Updates the moving average of parameters and running statistics after a step."""
    if average is None:
        return copy.deepcopy(network)
    for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
    return average


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", required=True, type=Path, help="a file that does not exist yet")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate-every", type=int, default=1, metavar="EPOCHS")
    parser.add_argument("--binary", default="target/release/shufflenet", help="the binary that resolves the configuration")
    options = parser.parse_args()
    settings = Settings(options.binary, options.config, options.set)
    with options.out.open("x", encoding="utf-8") as out:
        for line in train(settings, options):
            print(json.dumps({**line, "time": time.time()}), file=out, flush=True)
            print(f"epoch {line['epoch']} {line['split']}: {line['top1']:.2%}, {line['img_per_s']:.0f} img/s", flush=True)


if __name__ == "__main__":
    main()
