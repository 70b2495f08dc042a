#!/usr/bin/env python3
"""Checks the dashboard (`train --tui`) in a pseudo-terminal. Every way to stop must save once, end with the right exit
code, and restore the terminal, with the run's lines on it.

    cargo build --features tui
    python3 scripts/check_dashboard.py --binary target/debug/shufflenet
"""

import argparse
import fcntl
import os
import pty
import resource
import select
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 60
TAKES_SCREEN = b"\x1b[?1049h"
LEAVES_SCREEN = b"\x1b[?1049l"
CTRL_C = b"\x03"

CONFIG = f"""
[model]
stem = "imagenet"
input_channels = 1
widths = [8, 16, 24, 32, 48]
repeats = [1, 1, 1]
[data]
format = "idx"
root = "{ROOT}/data/fashion-mnist-small"
limit = 256
validation = 0.02
[train]
epochs = 100000
batch_size = 16
ema_decay = 0.9
"""


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, command, cwd, rows=24, columns=80):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.modes = termios.tcgetattr(self.slave)

        def prepare():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command, cwd=cwd, stdin=self.slave, stdout=self.slave, stderr=self.slave,
            start_new_session=True, preexec_fn=prepare,
        )
        self.output = b""

    def read(self, until, what):
        """Reads until `until(output)` is true, and keeps everything in `output`."""
        deadline = time.monotonic() + PATIENCE_S
        while not until(self.output):
            assert time.monotonic() < deadline, f"{what}: not seen in {self.output[:4000]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.output += os.read(self.master, 1 << 16)
            elif self.process.poll() is not None:
                return

    def type(self, keys):
        os.write(self.master, keys)

    def end(self):
        """The exit code, and the text on the terminal after the dashboard."""
        self.read(lambda _: False, "the end")
        assert termios.tcgetattr(self.slave) == self.modes, "the terminal was not restored"
        _, left, after = self.output.rpartition(LEAVES_SCREEN)
        assert left, f"the dashboard is still there: {self.output[-2000:]!r}"
        os.close(self.master)
        os.close(self.slave)
        return self.process.returncode, after.decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    binary = parser.parse_args().binary.resolve()

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "trial.toml").write_text(CONFIG)
        train = [binary, "train", "--config", "trial.toml", "--out", "run", "--tui"]

        piped = subprocess.run(train, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert piped.returncode == 2 and piped.stderr.count("\n") == 1 and "terminal" in piped.stderr, piped
        assert not (folder / "run").exists()
        print("without a terminal: refused")

        def shown(*extra):
            """Starts a run and waits until its dashboard shows an evaluation."""
            terminal = Terminal([*train, *extra], folder)
            terminal.read(lambda output: b"Valid" in output and b"ema" in output, "an evaluation")
            return terminal

        def stopped(terminal, how):
            code, after = terminal.end()
            assert code == 130 and after.count("stopped    at step") == 1, (how, code, after)
            saved = os.readlink(folder / "run/checkpoints/last")
            assert f"saved as run/checkpoints/{saved}" in after, (how, saved, after)
            print(f"{how}: stopped, saved as {saved}, exit code 130")

        terminal = shown()
        terminal.type(CTRL_C)
        stopped(terminal, "Ctrl-C")

        for keys, how in [(b"s", "q, s"), (b"k", "q, k")]:
            terminal = shown("--resume")
            terminal.type(b"q")
            # The title of the menu, which the dashboard writes a second time.
            terminal.read(lambda output: output.count(b"Quit") > 1, "the menu")
            terminal.type(keys)
            stopped(terminal, how)

        terminal = shown("--resume")
        os.kill(terminal.process.pid, 15)
        stopped(terminal, "SIGTERM")

        # A limit below the size of a checkpoint takes the place of a full disk.
        terminal = Terminal([*train, "--resume"], folder, rows=10, columns=30)
        terminal.read(lambda output: TAKES_SCREEN in output, "the dashboard")
        resource.prlimit(terminal.process.pid, resource.RLIMIT_FSIZE, (1000, 1000))
        code, after = terminal.end()
        assert code == 1 and "error: cannot write" in after and "File too large" in after, (code, after)
        print("a failure on a small terminal: reported, exit code 1")

        step = int(os.readlink(folder / "run/checkpoints/last").split("-")[1])
        terminal = Terminal([*train, "--resume", "--set", f"train.max_steps={step + 20}"], folder)
        code, after = terminal.end()
        assert code == 0 and "done       run" in after, (code, after)
        print("the end of the run: exit code 0")


if __name__ == "__main__":
    main()
