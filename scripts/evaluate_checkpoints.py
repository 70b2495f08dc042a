#!/usr/bin/env python3
"""Evaluates all kept checkpoints of a finished run, for a curve of its accuracy (scripts/plot_accuracy.py).

    shufflenet train --config configs/cifar10-coffee.toml --set checkpoint.keep=100 --out runs/coffee
    python3 scripts/evaluate_checkpoints.py runs/coffee --out coffee.jsonl

So the run itself reads the test set only once, at its end, and its time includes no evaluation. The output has the
lines of the epochs in the run's metrics.jsonl. After each of them it has a line for the test set, as if the run had
evaluated at that epoch.

Needs a release build. Python's standard library is enough.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def evaluate(binary, checkpoint):
    command = [binary, "eval", "--checkpoint", checkpoint, "--json"]
    made = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if made.returncode != 0:
        sys.exit(f"evaluate_checkpoints: {made.stderr.strip()}")
    return json.loads(made.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--out", required=True, type=Path, help="a file that does not exist yet")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/shufflenet")
    options = parser.parse_args()
    checkpoints = {int(path.name.split("-")[1]): path for path in (options.run / "checkpoints").glob("step-*")}
    events = map(json.loads, (options.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    if options.out.exists():
        parser.error(f"{options.out} exists")
    lines = []
    for event in events:
        if event["event"] != "epoch" or event["split"] != "train":
            continue
        lines.append(event)
        if checkpoint := checkpoints.get(event["step"]):
            report = evaluate(options.binary, checkpoint)
            line = {key: event[key] for key in ("event", "epoch", "step")} | {"split": "test"}
            lines.append(line | {key: report[key] for key in ("loss", "top1", "count")})
    options.out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
