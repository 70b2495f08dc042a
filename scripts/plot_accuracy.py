#!/usr/bin/env python3
"""Draws accuracy on the test set against minutes of training, a curve for each log, as an SVG.

    python scripts/plot_accuracy.py --out docs/coffee.svg --target 90.13 \\
        ours=docs/coffee/ours.jsonl "PyTorch eager=docs/coffee/eager.jsonl"

A log is a run's metrics.jsonl, or the output of scripts/train_with_pytorch.py. The time is that of the training steps:
the images of each epoch divided by its speed. It excludes compilation, and evaluation, which a run does not need after
each epoch. The script prints when each curve first reaches 90 %, its end, and the ratios of these times to the first
log's.

Needs matplotlib.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.fonttype"] = "none"  # Write text as text, not as outlines.
matplotlib.rcParams["svg.hashsalt"] = "accuracy"  # The same logs give the same file.
import matplotlib.pyplot as plt

MARK = 90.0
COLOURS = ["#b3471d", "#2f6690", "#7a9e45", "#6b4e9e"]


def curve(path):
    """Minutes of training and the accuracy on the test set in percent, after each evaluated epoch."""
    seconds, points, speed = 0.0, [], None
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event.get("event") != "epoch":
            continue
        if event["split"] == "train":
            # A resumed process may log an epoch that another one trained.
            speed = event.get("img_per_s", speed)
            seconds += event["count"] / speed
        elif event["split"] == "test":
            points.append((seconds / 60, 100 * event["top1"]))
    return points


def first_at(points, accuracy):
    return next((minutes for minutes, top1 in points if top1 >= accuracy), None)


def in_words(name, points, reference):
    minutes, top1 = points[-1]
    reached, before = first_at(points, MARK), first_at(reference, MARK)
    words = f"{name}: {top1:.2f} % after {minutes:.1f} min"
    if points is not reference:
        words += f" ({minutes / reference[-1][0]:.2f} times)"
    if reached is None:
        return f"{words}; never at {MARK:g} %"
    words += f"; at {MARK:g} % after {reached:.1f} min"
    if points is not reference and before is not None:
        words += f" ({reached / before:.2f} times)"
    return words


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.svg")
    parser.add_argument("--target", type=float, help="a line at this percentage")
    parser.add_argument("--from", dest="lowest", type=float, default=60.0, help="the lowest percentage drawn")
    options = parser.parse_args()
    curves = {}
    for log in options.logs:
        name, given, file = log.partition("=")
        if not given:
            parser.error(f"{log}: what is wanted is NAME=FILE")
        curves[name] = curve(Path(file))
        if not curves[name]:
            parser.error(f"{file}: no epoch has been evaluated on the test set")
    reference = next(iter(curves.values()))

    figure, axes = plt.subplots(figsize=(7.6, 3.8))
    figure.patch.set_facecolor("white")
    if len(curves) > len(COLOURS):
        parser.error(f"{len(curves)} logs; at most {len(COLOURS)} are drawn")
    for (name, points), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=2, label=name)
        axes.plot(*points[-1], "o", color=colour, markersize=5)
        print(in_words(name, points, reference))
    if options.target:
        axes.axhline(options.target, color="#888888", linewidth=1, linestyle="--", zorder=0)
        axes.text(0.2, options.target + 0.5, f"published: {options.target:g} %", color="#666666", fontsize=9)
    axes.set_xlim(left=0)
    highest = max(accuracy for points in curves.values() for _, accuracy in points)
    axes.set_ylim(options.lowest, max(95, highest + 1))
    axes.set_xlabel("minutes of training, two CPU cores")
    axes.set_ylabel("top-1 on the CIFAR-10 test set, %")
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(options.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
