#!/usr/bin/env python3
"""Kills a training run twenty times, resumes it each time, and compares it with an uninterrupted run.

  kill_and_resume.py [--binary target/release/shufflenet] [--kills 20] [--seed 0]
                     [--workers 0,1,4] [--threads 1,2] [--set KEY=VALUE] [--keep FOLDER]

The run is small and uses all state that a resume must restore: dropout, gradient accumulation, augmentation,
momentum, a moving average of the weights, a held-out part, a warm-up. It saves after every step. For each number
of loader workers and of threads the script kills it with SIGKILL

  - once before its first checkpoint,
  - five times while it writes a checkpoint (its `.partial` folder exists),
  - once while it evaluates (an epoch's steps are logged, their evaluation is not),
  - and at random moments otherwise,

and starts it again with `--resume`. At the end the tensors and the progress of the last and of the best
checkpoint, and every line of the metrics except images per second, must equal those of an uninterrupted run.
That run has one thread and no worker, and is the same for all comparisons. If there is a difference, the script
prints it and exits with code 1.
"""
import argparse
import json
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXPERIMENT = f"""
[model]
stem = "imagenet"
input_channels = 1
widths = [8, 16, 24, 32, 48]
repeats = [1, 1, 1]
squeeze_excitation = true
dropout = 0.2
[data]
format = "idx"
root = {json.dumps(str(ROOT / "data/fashion-mnist-small"))}
limit = 650
validation = 0.1
augmentation = {{ crop_padding = 2, flip = true }}
[train]
epochs = 5
batch_size = 16
accumulate = 2
ema_decay = 0.9
log_every = 1
[schedule]
warmup_epochs = 0.5
[checkpoint]
every_steps = 1
"""
STEPS_PER_EPOCH, STEPS = 21, 105
DEADLINE = 120  # seconds within which a run must end, or an awaited moment must come


def fail(message):
    sys.exit(f"kill_and_resume: {message}")


def command(options, config, out, workers, threads, resume):
    command = [options.binary, "train", "--config", config, "--out", out, "--threads", threads]
    command += ["--set", f"data.workers={workers}"]
    for assignment in options.set:
        command += ["--set", assignment]
    command += ["--resume"] if resume else []
    return [str(word) for word in command]


def finish(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=DEADLINE)
    if done.returncode != 0:
        fail(f"exit code {done.returncode} of {' '.join(arguments)}\n{done.stdout}{done.stderr}")


# The moments at which a run is killed. Each function is called until it returns true.


def writes_a_checkpoint(run):
    return any((run / "checkpoints").glob(".step-*.partial"))


def has_a_checkpoint(run):
    return any((run / "checkpoints").glob("step-*"))


def evaluates(run):
    """Whether all steps of an epoch are logged, but not its evaluation."""
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        last = json.loads(lines[-1]) if lines else {}
    except (OSError, ValueError):
        return False
    return last.get("event") == "step" and last["step"] % STEPS_PER_EPOCH == 0


def kill_when(arguments, run, moment, pause):
    """Starts a process and kills it when `moment` is true and `pause` is over. Returns False if it ended before."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + DEADLINE
    begun = time.monotonic()
    while process.poll() is None and (time.monotonic() - begun < pause or not moment(run)):
        time.sleep(0.0002)
        if time.monotonic() > end:
            process.kill()
            fail("what was waited for never came")
    process.send_signal(signal.SIGKILL)
    errors = process.communicate()[1].decode()
    if process.returncode not in (0, -signal.SIGKILL):
        fail(f"exit code {process.returncode} of {' '.join(arguments)}\n{errors}")
    return process.returncode == -signal.SIGKILL


def tensors(file):
    """Every tensor of a safetensors file, as (type, shape, bytes), and the file's own metadata."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    body = content[8 + length :]
    metadata = header.pop("__metadata__", {})
    found = {
        name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }
    return found, metadata


def checkpoint(folder):
    """The content of a checkpoint by name, without the size of the metrics file, which depends on the printed speeds."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        values, metadata = tensors(file)
        found |= {f"{file.name}: {name}": value for name, value in values.items()}
        found[f"{file.name}: metadata"] = metadata
    progress = json.loads((folder / "progress.json").read_text())
    progress.pop("metrics_bytes")
    return found | {"progress.json": progress}


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("img_per_s", None)
        line.pop("time")
    return lines


def compare(expected, run, what):
    for link in ["last", "best"]:
        before, now = (checkpoint(r / "checkpoints" / link) for r in (expected, run))
        if before.keys() != now.keys():
            fail(f"{what}: {link} has other tensors: {sorted(before.keys() ^ now.keys())}")
        different = [name for name in before if before[name] != now[name]]
        if different:
            fail(f"{what}: {link} differs in {len(different)} of {len(before)}: {different[:5]}")
    before, now = metrics(expected), metrics(run)
    if before != now:
        pairs = [pair for pair in zip(before, now) if pair[0] != pair[1]]
        fail(f"{what}: metrics differ, {len(before)} and {len(now)} lines; first {pairs[:1]}")
    seen = [line["step"] for line in now if line["event"] == "step"]
    if seen != list(range(1, STEPS + 1)):
        fail(f"{what}: the steps logged are {seen}")
    left = [path.name for path in (run / "checkpoints").glob(".*")]
    if left:
        fail(f"{what}: left behind: {left}")
    return len(before), len(checkpoint(run / "checkpoints/last"))


def torture(options, config, run, workers, threads, dice, whole):
    """Kills and resumes until every planned kill is done. Returns a summary of the kills."""
    plan = ["writing a checkpoint"] * 5 + ["evaluating"]
    plan += ["at random"] * (options.kills - len(plan) - 1)
    dice.shuffle(plan)
    plan.insert(0, "before the first checkpoint")
    moments = {
        "before the first checkpoint": lambda run: (run / "metrics.jsonl").exists(),
        "writing a checkpoint": writes_a_checkpoint,
        "evaluating": evaluates,
        "at random": lambda run: True,
    }
    fell = dict.fromkeys(moments, 0)
    for number, kind in enumerate(plan):
        arguments = command(options, config, run, workers, threads, number > 0)
        # Each kill gets a share of the run's time, so that the last kills do not come too late.
        share = 2 * whole / len(plan)
        pause = dice.uniform(0, share) if kind in ("at random", "writing a checkpoint") else 0
        if not kill_when(arguments, run, moments[kind], pause):
            return fell, False
        caught = kind
        if kind == "before the first checkpoint" and has_a_checkpoint(run):
            return fell, False
        if kind == "at random" and writes_a_checkpoint(run):
            caught = "writing a checkpoint"
        if kind == "writing a checkpoint" and not writes_a_checkpoint(run):
            caught = "at random"  # it was written before the signal arrived
        if kind == "evaluating" and not evaluates(run):
            caught = "at random"
        fell[caught] += 1
    finish(command(options, config, run, workers, threads, True))
    return fell, True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "target/release/shufflenet")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", default="0,1,4")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a key of the experiment, such as train.precision=bf16 or distill.from=FOLDER; may be repeated")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the runs in this folder")
    options = parser.parse_args()
    options.binary = pathlib.Path(options.binary).resolve()
    if options.kills < 8:
        parser.error("--kills: at least 8, so that every kind is among them")
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "trial.toml"
        config.write_text(EXPERIMENT)
        expected = folder / "never-killed"
        begun = time.monotonic()
        finish(command(options, config, expected, 0, 1, False))
        whole = time.monotonic() - begun
        print(f"uninterrupted: {STEPS} steps in {whole:.1f} s, 0 workers, 1 thread")
        for workers in map(int, options.workers.split(",")):
            for threads in map(int, options.threads.split(",")):
                what = f"{workers} workers, {threads} threads"
                run = folder / f"killed-{workers}-{threads}"
                # If a run ends before its last kill, it is repeated with other random moments.
                for _ in range(5):
                    shutil.rmtree(run, ignore_errors=True)
                    fell, through = torture(options, config, run, workers, threads, dice, whole)
                    if through and fell["writing a checkpoint"] >= 5 and fell["evaluating"] >= 1:
                        break
                else:
                    fail(f"{what}: the kills did not fall as planned in five tries: {fell}")
                lines, parts = compare(expected, run, what)
                kills = ", ".join(f"{count} {kind}" for kind, count in fell.items())
                print(
                    f"{what}: {sum(fell.values())} kills ({kills}): "
                    f"{parts} tensors and records, {lines} lines of metrics the same",
                    flush=True,
                )
    print("all runs are equal")


if __name__ == "__main__":
    main()
