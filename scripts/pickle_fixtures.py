#!/usr/bin/env python3
"""Writes the pickles that tests read, in `crates/shufflenet-pickle/tests/fixtures`, and the tiny CIFAR sets in
`crates/shufflenet-data/tests/fixtures/cifar-python`.

    python scripts/pickle_fixtures.py

Needs numpy. The official files of CIFAR's Python version were written by Python 2. Its pickles have byte strings
(instructions `U` and `T`) where those of Python 3 have Unicode. The class `Python2` writes such pickles.
"""

import argparse
import http
import io
import pickle
import struct
import tarfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

CRATES = Path(__file__).resolve().parent.parent / "crates"
PICKLES = CRATES / "shufflenet-pickle/tests/fixtures"
CIFAR = CRATES / "shufflenet-data/tests/fixtures/cifar-python"


def pickles():
    PICKLES.mkdir(parents=True, exist_ok=True)
    value = {
        "a": [1, -2, 70000, 2**40, 2**70],
        (0, 1): (1.5, None, True),
        "é\n": b"\x00\xff",
        "set": {3},
    }
    for protocol in (0, 2, 4, 5):
        (PICKLES / f"protocol-{protocol}.pkl").write_bytes(pickle.dumps(value, protocol))
    objects = {
        "ordered": OrderedDict(one=1, two=2),
        "namespace": argparse.Namespace(lr=0.1),
        "enum": http.HTTPStatus.NOT_FOUND,
    }
    (PICKLES / "objects.pkl").write_bytes(pickle.dumps(objects, 2))
    arrays = {
        "pixels": np.array([[0, 1, 2], [253, 254, 255]], np.uint8),
        "floats": np.array([1.5], "<f4"),
        "big": np.array([1.5], ">f4"),
        "columns": np.asfortranarray(np.array([[1, 2], [3, 4]], np.uint8)),
        "objects": np.array([None], object),
    }
    for protocol in (2, 4, 5):
        (PICKLES / f"array-{protocol}.pkl").write_bytes(pickle.dumps(arrays, protocol))


class Python2(pickle._Pickler):
    """Writes protocol 2 as Python 2 did: text and bytes are both byte strings."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file):
        super().__init__(file, protocol=2)

    def save_string(self, value):
        raw = value.encode() if isinstance(value, str) else value
        if len(raw) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[str] = save_string
    dispatch[bytes] = save_string


def of_python_2(value):
    file = io.BytesIO()
    Python2(file).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def of_python_3(value):
    return pickle.dumps(value, 2)


def pixels(file, records):
    """Pixels as the test of the binary files makes them: byte `i` of a record is i + record + file."""
    rows = np.arange(3072)[None, :] + np.arange(records)[:, None] + file
    return (rows % 256).astype(np.uint8)


def cifar():
    """CIFAR-10 with two records per file as Python 2 wrote it, also as an archive, and CIFAR-100 with three records
    as Python 3 writes it."""
    ten = CIFAR / "cifar-10-batches-py"
    ten.mkdir(parents=True, exist_ok=True)
    batches = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    for number, name in enumerate(batches):
        batch = {
            "batch_label": f"batch {number}",
            "labels": [number, 9 - number],
            "data": pixels(number, 2),
            "filenames": ["a.png", "b.png"],
        }
        (ten / name).write_bytes(of_python_2(batch))
    meta = {
        "num_cases_per_batch": 2,
        "label_names": [f"class {n}" for n in range(10)],
        "num_vis": 3072,
    }
    (ten / "batches.meta").write_bytes(of_python_2(meta))
    with tarfile.open(CIFAR / "cifar-10-python.tar.gz", "w:gz") as archive:
        for path in sorted(ten.iterdir()):
            entry = tarfile.TarInfo(f"{ten.name}/{path.name}")
            entry.size = path.stat().st_size
            archive.addfile(entry, io.BytesIO(path.read_bytes()))
    hundred = CIFAR / "cifar-100-python"
    hundred.mkdir(exist_ok=True)
    for number, name in enumerate(["train", "test"]):
        part = {
            "filenames": ["a.png", "b.png", "c.png"],
            "fine_labels": [99, 0, 7],
            "coarse_labels": [4, 19, 0],
            "data": pixels(number, 3),
        }
        (hundred / name).write_bytes(of_python_3(part))
    meta = {
        "fine_label_names": [f"fine {n}" for n in range(100)],
        "coarse_label_names": [f"coarse {n}" for n in range(20)],
    }
    (hundred / "meta").write_bytes(of_python_3(meta))


if __name__ == "__main__":
    pickles()
    cifar()
