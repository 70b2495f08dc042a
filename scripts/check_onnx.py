#!/usr/bin/env python3
"""Runs exported networks in ONNX Runtime and compares their logits with ours.

    cargo run --release --example onnx_cases -- DIR
    python scripts/check_onnx.py DIR

Needs onnx, onnxruntime, numpy and safetensors. `onnx-check` does the same with tract. The script runs
the whole batch and its first image alone. It prints a line per network with the largest difference of
a logit, as a fraction of the largest logit. The exit code is 1 if a difference is above the tolerance.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

TOLERANCE = 1e-5


def check(path):
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    case = load_file(path.with_suffix(".safetensors"))
    worst = 0.0
    for count in (len(case["images"]), 1):
        expected = case["logits"][:count]
        (found,) = session.run(["logits"], {"images": case["images"][:count]})
        assert found.shape == expected.shape, (found.shape, expected.shape)
        assert np.isfinite(found).all(), "a logit is infinite or NaN"
        worst = max(worst, np.abs(found - expected).max() / np.abs(expected).max())
    return worst


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    models = sorted(parser.parse_args().folder.glob("*.onnx"))
    if not models:
        sys.exit("the folder has no .onnx files")
    worst = 0.0
    for path in models:
        error = check(path)
        print(f"{path.stem:<40} {error:.1e}")
        worst = max(worst, error)
    print(f"worst {worst:.1e} of the largest logit, {TOLERANCE:.0e} is accepted")
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
