#!/usr/bin/env python3
"""Runs the README's commands.

  check_readme.py --test-command   print the README's one test command
  check_readme.py --run            run its other commands in a fresh clone, in order

The script runs the blocks that are marked ```sh. A block marked ```sh no-ci is for people only (it
takes hours, or needs a download or a GPU). Of its `train` commands the script only resolves the
configuration, so that a wrong flag, file or key is found. The clone builds into this checkout's target
folder, where the dependencies are built already. If a checkout has only its commit and that folder, the
commands run in the checkout itself, and their output is removed afterwards. The script draws the
reader's photographs: photos/CLASS/IMAGE and new/IMAGE.
"""
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```sh( no-ci)?\n(.*?)^```", re.S | re.M)
TEST = "cargo test"
BINARY = "target/release/shufflenet"
# The least top-1 that the README's first run must reach.
LEAST_TOP1 = 0.85


def commands():
    """(whether it runs, the command) for each line of each block."""
    for match in BLOCK.finditer((ROOT / "README.md").read_text()):
        for line in match.group(2).splitlines():
            command = line.split(" #")[0].strip()
            if command:
                yield match.group(1) is None, command


def draw(path, channel, noise):
    """A PPM picture of 96x96 pixels of noise that is brightest in one channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    value = lambda at: noise.randrange(90) + (150 if at % 3 == channel else 0)
    path.write_bytes(b"P6 96 96 255\n" + bytes(map(value, range(96 * 96 * 3))))


def draw_photographs(clone):
    noise = random.Random(0)
    for channel, name in enumerate(["red", "green", "blue"]):
        for number in range(12):
            draw(clone / "photos" / name / f"{number}.ppm", channel, noise)
        draw(clone / "new" / f"{name}.ppm", channel, noise)


def run(command, clone, target):
    print(f"$ {command}", flush=True)
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    done = subprocess.run(command, shell=True, cwd=clone, env=environment, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    if done.returncode != 0:
        sys.exit(f"README.md: exit code {done.returncode} of: {command}")
    return done.stdout


def main():
    if sys.argv[1:] == ["--test-command"]:
        tests = [command for runs, command in commands() if runs and command.startswith(TEST)]
        if len(tests) != 1:
            sys.exit(f"README.md: expected one test command, found {tests}")
        print(tests[0])
        return
    if sys.argv[1:] != ["--run"]:
        sys.exit(__doc__)
    with fresh_clone() as clone:
        check(clone, pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve())


def beside_the_commit():
    """(state, path) of the files that differ from the commit, except those that a build makes."""
    command = ["git", "status", "--porcelain", "--ignored", "-z"]
    status = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [(line[:2], line[3:]) for line in status.split("\0") if line]
    built = lambda path: path == "target/" or path.endswith("__pycache__/")
    return [(state, path) for state, path in lines if not built(path)]


@contextmanager
def fresh_clone():
    if beside_the_commit():
        with tempfile.TemporaryDirectory() as folder:
            clone = pathlib.Path(folder) / "clone"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            yield clone
        return
    try:
        yield ROOT
    finally:
        for state, path in beside_the_commit():
            if state in ("??", "!!"):
                remove_what_the_commands_made(ROOT / path)


def remove_what_the_commands_made(path):
    """Removes `path`, and each run in `runs/`, if README.md has its name. Anything else is the user's."""
    if path == ROOT / "runs":
        for run in path.iterdir():
            remove_what_the_commands_made(run)
        if not any(path.iterdir()):
            path.rmdir()
    elif path.name.split(".")[0] in (ROOT / "README.md").read_text():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def check(clone, target):
    draw_photographs(clone)
    for runs, command in commands():
        if command.startswith(TEST) or command.startswith("git clone"):
            continue
        if runs:
            output = run(command, clone, target)
            if "--json" in command:
                top1 = json.loads(output)["top1"]
                if top1 < LEAST_TOP1:
                    sys.exit(f"README.md promises top-1 of {LEAST_TOP1}, found {top1}: {command}")
        elif " train " in f" {command} " and "--config" in command:
            words = [word for word in shlex.split(command) if word != "--resume"]
            if BINARY in words:
                # The binary reads the file, so its launcher is left out.
                words = ["cargo", "run", "--release", "--", *words[words.index(BINARY) + 1 :]]
            if "--features" in words:
                # Building a GPU backend takes minutes and is not needed to read a file.
                at = words.index("--features")
                del words[at : at + 2]
            run(shlex.join([*words, "--print-config"]), clone, target)


if __name__ == "__main__":
    main()
