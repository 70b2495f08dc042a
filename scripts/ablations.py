#!/usr/bin/env python3
"""Measures what each part of a recipe contributes: trains with and without it, one run at a time, and prints a table.

    python3 scripts/ablations.py --out runs/ablations                 every line of scripts/ablations.json
    python3 scripts/ablations.py --out runs/ablations --only muon     the lines with `muon` in their name

A file of ablations names a configuration, the settings that all its runs share (shorter training, a held-out part
of the training images), and for each line the settings that differ. The accuracy is that of the last epoch on the
held-out part. The time is that of the training steps, without evaluation. A finished run is not repeated, so the
script continues where it was stopped.

Needs a release build. The times are valid only on an idle machine. Python's standard library is enough.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def train(options, name, config, keys):
    """The metrics of a run with these keys set. The run is trained now, unless it has finished before."""
    out = options.out / name
    log = out / "metrics.jsonl"
    done = out / "done"
    settings = json.dumps([str(config), keys], sort_keys=True)
    if done.exists() and done.read_text(encoding="utf-8") != settings:
        sys.exit(f"ablations: {out} is a run with other settings; accepted: another --out")
    if not done.exists():
        command = [options.binary, "train", "--config", config, "--out", out, "--resume"]
        command += [f"--set={key}={value}" for key, value in keys.items()]
        made = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        if made.returncode != 0:
            sys.exit(f"ablations: {name}: exit code {made.returncode}")
        done.write_text(settings, encoding="utf-8")
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
        minutes = sum(event["count"] / event["img_per_s"] for event in steps if "img_per_s" in event) / 60
        figures = f"{held_out['top1']:.2%} | {held_out['loss']:.4f} | {minutes:.2f}"
        print(f"| {line['what']} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
