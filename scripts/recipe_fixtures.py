"""Writes crates/shufflenet-train/tests/recipes/reference.json: the results of PyTorch's schedulers, optimizers, cross-entropy
and Kullback-Leibler divergence. The tests in `crates/shufflenet-train/tests/recipes` read it. PyTorch does not have Lion, nor
Muon without bfloat16: their references are the short functions below. All trajectories are in float64.

    python scripts/recipe_fixtures.py
"""

import json
import math
import pathlib

import torch
from torch.optim import lr_scheduler as schedulers

OUT = pathlib.Path(__file__).parent.parent / "crates/shufflenet-train/tests/recipes/reference.json"
PEAK = 0.1
PER_EPOCH = 10


def rates(make, steps, **optimizer):
    """Rate and momentum of every step."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([parameter], lr=PEAK, momentum=0.9, **optimizer)
    schedule = make(sgd)
    rows = []
    for _ in range(steps):
        rows.append([sgd.param_groups[0]["lr"], sgd.param_groups[0]["momentum"]])
        sgd.step()
        schedule.step()
    return rows


def warm(sgd, steps, after):
    """A warm-up before another schedule."""
    up = schedulers.LinearLR(sgd, start_factor=1 / steps, end_factor=1, total_iters=steps - 1)
    return schedulers.SequentialLR(sgd, [up, after], milestones=[steps])


def schedule_cases():
    def cosine(steps, end):
        return lambda sgd: schedulers.CosineAnnealingLR(sgd, T_max=steps, eta_min=end * PEAK)

    cases = [
        ({"kind": "constant"}, lambda sgd: schedulers.ConstantLR(sgd, factor=1)),
        ({"kind": "cosine"}, cosine(60, 0)),
        ({"kind": "cosine", "cosine": {"end": 0.05}}, cosine(60, 0.05)),
        (
            {"kind": "cosine", "warmup_epochs": 1.2},
            lambda sgd: warm(sgd, 12, schedulers.CosineAnnealingLR(sgd, T_max=48)),
        ),
        (
            {"kind": "linear", "linear": {"end": 0.1}},
            lambda sgd: schedulers.LinearLR(sgd, start_factor=1, end_factor=0.1, total_iters=60),
        ),
        (
            {"kind": "multi_step", "multi_step": {"milestones": [1.5, 4], "gamma": 0.2}},
            lambda sgd: schedulers.MultiStepLR(sgd, milestones=[15, 40], gamma=0.2),
        ),
        (
            {"kind": "exponential", "exponential": {"gamma": 0.5}},
            lambda sgd: schedulers.ExponentialLR(sgd, gamma=0.5 ** (1 / PER_EPOCH)),
        ),
        ({"kind": "one_cycle"}, lambda sgd: schedulers.OneCycleLR(sgd, max_lr=PEAK, total_steps=60)),
        (
            {
                "kind": "one_cycle",
                "one_cycle": {
                    "rise": 0.22,
                    "start_divisor": 8.0,
                    "end_divisor": 100.0,
                    "momentum_low": 0.8,
                    "momentum_high": 0.97,
                },
            },
            lambda sgd: schedulers.OneCycleLR(
                sgd,
                max_lr=PEAK,
                total_steps=60,
                pct_start=0.22,
                div_factor=8,
                final_div_factor=100,
                base_momentum=0.8,
                max_momentum=0.97,
            ),
        ),
    ]
    return [{"config": config, "rows": rates(make, 60)} for config, make in cases]


def wave(count, phase):
    """Numbers by a formula that both sides compute."""
    return torch.tensor([math.sin(0.7 * i + phase) for i in range(count)], dtype=torch.float64)


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of the paper (arXiv 2302.06675)."""

    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                direction = torch.sign(first * m + (1 - first) * p.grad)
                p.sub_(group["lr"] * (direction + group["weight_decay"] * p))
                m.mul_(second).add_(p.grad, alpha=1 - second)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon without its rounding to bfloat16."""

    def __init__(self, params, lr, momentum, nesterov, weight_decay, ns_steps):
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay, "ns_steps": ns_steps}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["momentum"])
                u = p.grad.lerp(m, group["momentum"]) if group["nesterov"] else m
                x = u.flatten(1)
                tall = x.shape[0] > x.shape[1]
                x = x.T if tall else x
                x = x / x.norm().clamp(min=1e-7)
                for _ in range(group["ns_steps"]):
                    gram = x @ x.T
                    x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
                x = x.T if tall else x
                scale = math.sqrt(max(1, x.shape[0] / x.shape[1]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * scale * x.reshape(p.shape))




def trajectory(config, shapes, make, clip=None):
    """Twenty steps with gradients that depend on the weights."""
    names = list(shapes)
    parameters = {
        name: torch.nn.Parameter(wave(math.prod(shape), index).reshape(shape) * 0.3)
        for index, (name, shape) in enumerate(shapes.items())
    }
    optimizers = make(parameters)
    norms = []
    for step in range(20):
        for index, name in enumerate(names):
            p = parameters[name]
            pull = wave(p.numel(), 3 * index + 0.37 * step).reshape(p.shape)
            p.grad = 0.5 * p.detach() + 0.2 * pull
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters.values(), clip)
        for optimizer in optimizers:
            optimizer.step()
        norms.append([float(p.detach().norm()) for p in parameters.values()])
    return {
        "config": config,
        "norms": norms,
        "last": {name: p.detach().flatten()[:8].tolist() for name, p in parameters.items()},
    }


def optimizer_cases(shapes):
    def split(parameters, is_first):
        first = [p for name, p in parameters.items() if is_first(name, p)]
        second = [p for name, p in parameters.items() if not is_first(name, p)]
        return first, second

    def one(optimizer):
        return lambda parameters: [optimizer(parameters.values())]

    def parts(parameters):
        matrices, vectors = split(parameters, lambda _, p: p.ndim > 1)
        fc = parameters["fc.weight"]
        matrices = [p for p in matrices if p is not fc]
        bias = parameters["fc.bias"]
        vectors = [p for p in vectors if p is not bias]
        groups = [
            {"params": matrices},
            {"params": vectors, "weight_decay": 0},
            {"params": [fc], "lr": 0.5, "weight_decay": 0.02},
            {"params": [bias], "lr": 0.5, "weight_decay": 0},
        ]
        return [torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)]

    def muon(parameters, iterations=5):
        matrices, rest = split(parameters, lambda _, p: p.ndim > 1 and p.shape[1] > 1)
        return [
            Muon(matrices, lr=0.02, momentum=0.95, nesterov=True, weight_decay=0.1, ns_steps=iterations),
            torch.optim.SGD(rest, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        ]

    sgd, adamw = torch.optim.SGD, torch.optim.AdamW
    base = {"learning_rate": 0.05, "weight_decay": 0.01}
    return [
        trajectory({**base, "momentum": 0.0, "nesterov": False}, shapes, one(lambda p: sgd(p, lr=0.05, weight_decay=0.01))),
        trajectory({**base, "nesterov": False}, shapes, one(lambda p: sgd(p, lr=0.05, momentum=0.9, weight_decay=0.01))),
        trajectory(base, shapes, one(lambda p: sgd(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01))),
        trajectory(
            {**base, "clip_norm": 0.7},
            shapes,
            one(lambda p: sgd(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
            clip=0.7,
        ),
        trajectory(
            {**base, "decay_norm_and_bias": False, "parts": [{"names": "fc.*", "rate": 10.0, "decay": 2.0}]},
            shapes,
            parts,
        ),
        trajectory({**base, "kind": "adamw"}, shapes, one(lambda p: adamw(p, lr=0.05, betas=(0.9, 0.999), weight_decay=0.01))),
        trajectory(
            {**base, "kind": "adamw", "momentum": 0.8, "adamw": {"beta2": 0.95, "epsilon": 1e-6}},
            shapes,
            one(lambda p: adamw(p, lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.01)),
        ),
        trajectory({**base, "kind": "lion"}, shapes, one(lambda p: Lion(p, lr=0.05, betas=(0.9, 0.99), weight_decay=0.01))),
        trajectory(
            {**base, "kind": "muon", "muon": {"learning_rate": 0.02, "momentum": 0.95, "weight_decay": 0.1}},
            shapes,
            muon,
        ),
        trajectory(
            {**base, "kind": "muon", "muon": {"learning_rate": 0.02, "momentum": 0.95, "weight_decay": 0.1, "iterations": 3}},
            shapes,
            lambda parameters: muon(parameters, 3),
        ),
    ]


def losses():
    """Cross-entropy of four images and five classes, with its gradient."""
    cases = []
    weights = [0.5, 2.0, 1.0, 0.25, 3.0]
    labels = torch.tensor([1, 4, 0, 2])
    others = torch.tensor([2, 1, 4, 2])
    for smoothing in [0.0, 0.1]:
        for weighted in [None, weights]:
            for share in [None, 0.3]:
                logits = (wave(20, 0.5).reshape(4, 5) * 3).requires_grad_()
                one_hot = torch.nn.functional.one_hot
                target = labels
                if share is not None:
                    target = share * one_hot(labels, 5).double() + (1 - share) * one_hot(others, 5).double()
                weight = None if weighted is None else torch.tensor(weighted, dtype=torch.float64)
                loss = torch.nn.functional.cross_entropy(logits, target, weight=weight, label_smoothing=smoothing)
                loss.backward()
                config = {"label_smoothing": smoothing}
                if weighted is not None:
                    config["class_weights"] = weighted
                cases.append(
                    {
                        "config": config,
                        "share": share,
                        "loss": loss.item(),
                        "gradient": logits.grad.flatten().tolist(),
                    }
                )
    return {"labels": labels.tolist(), "others": others.tolist(), "cases": cases}


def standardized(logits):
    """Sun et al., 2024, equation 13, with the constant of the authors' code. The divisor of `std` is C - 1."""
    return (logits - logits.mean(-1, keepdim=True)) / (logits.std(-1, keepdim=True) + 1e-7)


def distillation():
    """The loss of labels and a teacher for four images and five classes, with its gradient."""
    labels = torch.tensor([1, 4, 0, 2])
    teacher = wave(20, 2.0).reshape(4, 5) * 5 + 1
    functional = torch.nn.functional
    cases = []
    for config, scores in [({"kind": "kd"}, lambda logits: logits), ({"kind": "standardized"}, standardized)]:
        for temperature, weight, label_weight in [(4.0, 0.9, None), (1.0, 0.5, None), (2.0, 9.0, 0.1), (0.5, 1.0, 0.0)]:
            logits = (wave(20, 0.5).reshape(4, 5) * 3).requires_grad_()
            divergence = functional.kl_div(
                functional.log_softmax(scores(logits) / temperature, 1),
                functional.softmax(scores(teacher) / temperature, 1),
                reduction="batchmean",
            )
            own = 1 - weight if label_weight is None else label_weight
            loss = own * functional.cross_entropy(logits, labels) + weight * temperature**2 * divergence
            loss.backward()
            given = {} if label_weight is None else {"label_weight": label_weight}
            cases.append(
                {
                    "config": {"from": "teacher", **config, "temperature": temperature, "weight": weight, **given},
                    "loss": loss.item(),
                    "gradient": logits.grad.flatten().tolist(),
                }
            )
    return {"labels": labels.tolist(), "cases": cases}


def main():
    shapes = {
        "conv1.0.weight": [8, 3, 3, 3],
        "stage2.0.branch1.0.weight": [8, 1, 3, 3],
        "stage2.0.branch2.0.weight": [8, 8, 1, 1],
        "stage4.0.branch2.0.weight": [16, 24, 1, 1],
        "conv5.0.weight": [48, 32, 1, 1],
        "conv1.1.weight": [8],
        "fc.weight": [10, 48],
        "fc.bias": [10],
    }
    content = {
        "torch": torch.__version__,
        "peak": PEAK,
        "per_epoch": PER_EPOCH,
        "schedules": schedule_cases(),
        "shapes": shapes,
        "optimizers": optimizer_cases(shapes),
        "losses": losses(),
        "distillation": distillation(),
    }
    OUT.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
