#!/usr/bin/env python3
"""The first five steps of the quickstart by two binaries on different processors, or by several instruction sets.

  compare_processors.py NAME=COMMAND NAME=COMMAND...

NAME is an instruction set (the value of SHUFFLENET_ISA: avx512, avx2, neon, portable), COMMAND a binary with what runs it, such as
"qemu-aarch64 FOLDER/shufflenet". One that this machine lacks is passed over. Prints each step's loss, and how far the first and the
fifth are from those of the first NAME. Fails where a first loss is further than 1e-5, as one in another rounding of the same
arithmetic is not; later steps amplify that rounding, so the fifth is printed alone.
"""
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEPS = 5
TOLERANCE = 1e-5


def losses(name, command, run):
    """The loss of each step, or None where the processor lacks the instruction set. `run` is the folder to train in."""
    done = subprocess.run(
        [*shlex.split(command), "train", "--config", "configs/quickstart.toml", "--out", str(run), "--threads", "1",
         "--set", f"train.max_steps={STEPS}", "--set", "train.log_every=1"],
        cwd=ROOT, env={**os.environ, "SHUFFLENET_ISA": name}, capture_output=True, text=True,
    )
    if done.returncode == 2 and "SHUFFLENET_ISA" in done.stderr:
        print(f"{name:12} not on this processor")
        return None
    if done.returncode != 0:
        sys.exit(f"{name}: {command} failed: {done.stderr.strip()}")
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    # A line holds the mean of the epoch so far.
    sums = [0.0] + [line["loss"] * line["step"] for line in lines if line["event"] == "step"][:STEPS]
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
