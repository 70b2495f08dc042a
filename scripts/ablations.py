#!/usr/bin/env python3
"""What each ingredient of a recipe is worth: trains with and without it, one run at a time, and prints a table.

    python3 scripts/ablations.py --out runs/ablations                 every line of scripts/ablations.json
    python3 scripts/ablations.py --out runs/ablations --only muon     those whose name has `muon` in it

A file of ablations names a configuration, what all its runs share (shorter training, a held-out part of the
training images) and, line by line, what is set otherwise. The accuracy is that of the last epoch on the held-out
part; the time is what the training steps took, without evaluation. A run that has ended is not made again, so
the script goes on where it was stopped.

Needs a release build, and an idle machine for the times to mean anything. Python's standard library is enough.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def train(options, name, config, keys):
    """Metrics of a run with these keys set, made now or before."""
    out = options.out / name
    log = out / "metrics.jsonl"
    done = out / "done"
    if not done.exists():
        command = [options.binary, "train", "--config", config, "--out", out, "--resume"]
        command += [f"--set={key}={value}" for key, value in keys.items()]
        made = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        if made.returncode != 0:
            sys.exit(f"ablations: {name}: exit code {made.returncode}")
        done.touch()
    events = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return [event for event in events if event.get("event") == "epoch"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=Path, default=ROOT / "scripts/ablations.json", metavar="FILE")
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs")
    parser.add_argument("--only", default="", metavar="TEXT", help="only lines with this in their name")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/shufflenet")
    options = parser.parse_args()
    plan = json.loads(options.lines.read_text(encoding="utf-8"))
    print("| recipe | held-out top-1 | loss | minutes |\n|---|---:|---:|---:|")
    for name, line in plan["lines"].items():
        if options.only not in name:
            continue
        epochs = train(options, name, plan["config"], {**plan["common"], **line["set"]})
        held_out = [event for event in epochs if event["split"] == "validation"][-1]
        steps = [event for event in epochs if event["split"] == "train"]
        minutes = sum(event["count"] / event["img_per_s"] for event in steps) / 60
        figures = f"{held_out['top1']:.2%} | {held_out['loss']:.4f} | {minutes:.2f}"
        print(f"| {line['what']} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
