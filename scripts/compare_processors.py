#!/usr/bin/env python3
"""Compares the first five steps of the quickstart between processors or instruction sets.

  compare_processors.py NAME=COMMAND NAME=COMMAND...

NAME is an instruction set (the value of SHUFFLENET_ISA: avx512, avx2, neon, portable). COMMAND is a binary, with an emulator if it needs
one, such as "qemu-aarch64 FOLDER/shufflenet". An instruction set that this machine lacks is skipped. The script prints the loss of each
step, and the distances of the first and the fifth loss from those of the first NAME. It fails if a first loss differs by more than 1e-5:
rounding alone causes smaller differences. Later steps amplify rounding, so there is no limit for the fifth loss.
"""
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEPS = 5
TOLERANCE = 1e-5


def logged(run):
    """The lines of steps in the run's log. The last line of the file may be incomplete."""
    try:
        whole = (run / "metrics.jsonl").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [line for line in map(json.loads, whole) if line["event"] == "step"]


def losses(name, command, run):
    """The loss of each step, or None if the processor lacks the instruction set. `run` is the folder to train in."""
    process = subprocess.Popen(
        [*shlex.split(command), "train", "--config", "configs/quickstart.toml", "--out", str(run), "--threads", "1",
         "--set", f"train.max_steps={STEPS}", "--set", "train.log_every=1"],
        cwd=ROOT, env={**os.environ, "SHUFFLENET_ISA": name}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    # An emulator would need minutes for the evaluation at the end, so the run is killed before it.
    while process.poll() is None and len(logged(run)) < STEPS:
        time.sleep(0.1)
    process.kill()
    errors = process.communicate()[1]
    lines = logged(run)[:STEPS]
    if process.returncode == 2 and "SHUFFLENET_ISA" in errors:
        print(f"{name:12} not on this processor")
        return None
    if len(lines) < STEPS:
        sys.exit(f"{name}: {command} failed: {errors.strip()}")
    # A line has the mean loss of the epoch so far.
    sums = [0.0] + [line["loss"] * line["step"] for line in lines]
    return [after - before for before, after in zip(sums, sums[1:])]


def main():
    pairs = [argument.partition("=")[::2] for argument in sys.argv[1:]]
    if len(pairs) < 2 or not all(name and command for name, command in pairs):
        sys.exit(__doc__)
    reference, worst = None, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, command) in enumerate(pairs):
            found = losses(name, command, pathlib.Path(folder, str(number)))
            if found is None:
                continue
            reference = reference or found
            first, fifth = (abs(found[step] - reference[step]) for step in (0, STEPS - 1))
            worst = max(worst, first)
            print(f"{name:12} {' '.join(f'{loss:.7f}' for loss in found)}   from the first line: step 1 {first:.1e}, step 5 {fifth:.1e}",
                  flush=True)
    if worst > TOLERANCE:
        sys.exit(f"the first losses are {worst:.1e} apart, more than {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
