#!/usr/bin/env python3
"""Measures what a training run costs besides its steps, on this machine: loader, checkpoints, memory.

  measure_training.py [--config configs/scale0_5.toml] [--batch 128] [--steps 200] [--rounds 3]
                      [--workers 0,1,2] [--threads 2] [--device flex] [--set KEY=VALUE]...
                      [--only loader|checkpoints|memory] [--binary target/release/shufflenet]

1. The ratio of images per second of training on the configuration's data, for each number of loader workers, to
   those of `bench train`, which repeats one batch. The two alternate for --rounds rounds.
2. The milliseconds of a checkpoint, from runs that save every tenth step and runs that never save, and the
   share of a run's time if a checkpoint is written every ten minutes.
3. Resident memory at every 50th step of a run of 500.

The script prints figures and sets no limits. Needs the configuration's data.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def train(options, out, overrides):
    pairs = {
        "train.batch_size": options.batch,
        "train.epochs": 1000,
        "schedule.kind": "constant",
        "optimizer.learning_rate": 0.01,
        "checkpoint.every_minutes": 0,
        "train.log_every": 0,
    } | overrides
    command = [options.binary, "train", "--config", options.config, "--out", out, "--force"]
    command += ["--threads", options.threads, "--device", options.device]
    for pair in options.set:
        command += ["--set", pair]
    for key, value in pairs.items():
        command += ["--set", f"{key}={value}"]
    return [str(word) for word in command]


def run(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"measure_training: exit code {done.returncode} of {' '.join(command)}\n{done.stderr}")
    return done.stdout


def training_speed(options, out, overrides):
    """Images per second over the steps of a run, from the third step on."""
    run(train(options, out, {"train.max_steps": options.steps} | overrides))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return next(line["img_per_s"] for line in lines if line["event"] == "epoch")


def fixed_batch_speed(options):
    command = [options.binary, "bench", "train", "--config", options.config, "--batch", options.batch]
    command += ["--steps", options.steps, "--threads", options.threads, "--device", options.device, "--json"]
    return json.loads(run([str(word) for word in command]))["img_per_s"]


def spread(values):
    return f"{statistics.median(values):8.1f} ({min(values):.1f} to {max(values):.1f})"


def loader(options, out):
    workers = options.workers.split(",")
    fixed, loaded = [], {count: [] for count in workers}
    for _ in range(options.rounds):
        fixed.append(fixed_batch_speed(options))
        for count in workers:
            loaded[count].append(training_speed(options, out, {"data.workers": count}))
    print(f"one fixed batch      {spread(fixed)} images/s")
    for count, speeds in loaded.items():
        ratios = [speed / base for speed, base in zip(speeds, fixed)]
        print(f"loader, {count} workers    {spread(speeds)} images/s, ratio {spread([100 * r for r in ratios])} %")


def checkpoints(options, out):
    costs, steps = [], []
    for _ in range(options.rounds):
        never, often = (
            options.batch * 1e3 / training_speed(options, out, {"checkpoint.every_steps": every})
            for every in (0, 10)
        )
        costs.append((often - never) * 10)
        steps.append(never)
    cost = statistics.median(costs)
    print(f"a step               {spread(steps)} ms")
    print(f"a checkpoint         {spread(costs)} ms, {cost / 6e5:.4%} of ten minutes")


def memory(options, out):
    command = train(options, out, {"train.max_steps": 500, "train.log_every": 50})
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print("step   resident memory")
    for line in process.stdout:
        if line.startswith("  step "):
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
            resident = next(line for line in status if line.startswith("VmRSS"))
            print(f"{line.split()[1].split('/')[0]:>4}   {int(resident.split()[1]) / 1000:.1f} MB", flush=True)
    if process.wait() != 0:
        sys.exit(f"measure_training: exit code {process.returncode}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/scale0_5.toml")
    parser.add_argument("--binary", default=ROOT / "target/release/shufflenet")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="0,1,2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="flex")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", choices=["loader", "checkpoints", "memory"])
    options = parser.parse_args()
    options.binary = pathlib.Path(options.binary).resolve()
    with tempfile.TemporaryDirectory() as folder:
        for part in [loader, checkpoints, memory]:
            if options.only in (None, part.__name__):
                part(options, pathlib.Path(folder) / "run")


if __name__ == "__main__":
    main()
