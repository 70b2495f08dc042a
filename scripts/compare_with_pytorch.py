#!/usr/bin/env python3
"""Measures this project's binary against PyTorch, ONNX Runtime and OpenVINO, and prints a markdown table.

    python scripts/compare_with_pytorch.py --listing LISTING.md --json all.json     every workload
    python scripts/compare_with_pytorch.py                                          all but the seed layout's
    python scripts/compare_with_pytorch.py --only infer-1,train-x0.5 --rounds 1     some, quickly
    python scripts/compare_with_pytorch.py --bf16                                   in bfloat16, too

A machine's speed drifts, so only figures of one run can be compared. Each round measures the binary and then
its peers, one after the other, each in its own process. A measurement is the median of --steps steps, after 3
steps that are not timed. The table has the median of the rounds, the least and the greatest, and the speed as
a multiple of the fastest peer's. Peak memory is Linux's VmHWM, in MB of 10^6 bytes, the median of the rounds.
Other work on the machine slows the contenders unequally. It slows PyTorch most, because its threads wait for
each other. The script measures and prints how many cores other work took. Measure on an idle machine only.

A training step is forward, cross-entropy, backward and a step of SGD (Nesterov momentum 0.9, weight decay
5e-4), in float32, on random data with 10 classes. With --bf16 the same rounds also measure bfloat16: the
binary with --precision bf16, PyTorch by autocast and with weights and images in bfloat16, OpenVINO by its
precision hint. The fastest peer is then the fastest of both precisions. The binary's times include copying the
batch in and the logits out; those of the peers do not.

The peer of the standard layout is torchvision's network. The peer of the seed layout is the listing in the
markdown file of --listing, executed from memory. Its one in-place addition is made out of place, because
autograd refuses it on the output of a ReLU. Another process exports the ONNX models, so that PyTorch's memory
is not counted as that of ONNX Runtime and OpenVINO. torch.compile compiles in the untimed steps, for a minute,
or less if its cache on disk has the network. Every contender treats subnormal numbers as zero, as the binary
does. OpenVINO's precision is set, because its default is bfloat16 on processors that have it.

Needs Linux, a release build, and torch, torchvision, onnx, onnxruntime and openvino in the Python that runs it. If
a contender fails, the table has the reason, and the exit status is 1.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["torch", "torchvision", "onnx", "onnxruntime", "openvino"]
CLASSES = 10
WARM_UP = 3
# Cores that other work may take without a warning. An idle system takes some.
DISTURBED = 0.1

OURS = "shufflenet"
ORT = "ONNX Runtime"
OPENVINO = "OpenVINO"
EAGER, EAGER_LAST = "PyTorch eager", "PyTorch eager, channels-last"
COMPILED, COMPILED_LAST = "torch.compile", "torch.compile, channels-last"

# The end of a contender's name in bfloat16.
BF16, AUTOCAST, BF16_WEIGHTS = ", bf16", ", bf16 autocast", ", bf16 weights"

TRAINERS = [COMPILED, COMPILED_LAST, EAGER, EAGER_LAST]
RUNTIMES = [ORT, OPENVINO, COMPILED, EAGER, EAGER_LAST]
IN_BF16 = {
    "train": [COMPILED + AUTOCAST, COMPILED + BF16_WEIGHTS, COMPILED_LAST + AUTOCAST, EAGER + AUTOCAST],
    "infer": [OPENVINO + BF16, COMPILED + AUTOCAST, COMPILED + BF16_WEIGHTS],
}


class Workload(NamedTuple):
    name: str
    work: str
    layout: str
    scale: float
    stem: str
    batch: int
    size: int
    peers: list


WORKLOADS = [
    Workload("train-x0.5", "train", "standard", 0.5, "cifar", 128, 32, TRAINERS),
    Workload("train-x1.0", "train", "standard", 1.0, "cifar", 128, 32, TRAINERS),
    Workload("train-224", "train", "standard", 1.0, "imagenet", 16, 224, TRAINERS),
    Workload("train-seed-224", "train", "seed", 1.0, "seed", 16, 224, TRAINERS),
    Workload("infer-1", "infer", "standard", 1.0, "imagenet", 1, 224, RUNTIMES),
    Workload("infer-16", "infer", "standard", 1.0, "imagenet", 16, 224, RUNTIMES),
    Workload("infer-32-1", "infer", "standard", 1.0, "cifar", 1, 32, RUNTIMES),
    Workload("infer-256", "infer", "standard", 1.0, "cifar", 256, 32, RUNTIMES),
]


def standard_network(workload):
    import torchvision
    from torch import nn

    build = getattr(torchvision.models, f"shufflenet_v2_x{workload.scale}".replace(".", "_"))
    network = build(num_classes=CLASSES)
    if workload.stem == "cifar":
        network.conv1[0].stride = (1, 1)
        network.maxpool = nn.Identity()
    return network


def seed_network(workload, listing):
    from reference_networks import listed_classes

    return listed_classes(listing)["ShuffleNetV2"](scale=workload.scale, num_classes=CLASSES)


def median_ms(step, steps):
    for _ in range(WARM_UP):
        step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def peak_memory_mb():
    """Peak memory of this process, measured as the binary measures its own."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"^VmHWM:\s*(\d+) kB", status, flags=re.M).group(1)) * 1024 / 1e6


def flush_subnormals(torch):
    """Makes PyTorch treat subnormal numbers as zero, as the binary does. It must be called before PyTorch's
    threads start, because they inherit the mode. Every thread is checked."""
    if not torch.set_flush_denormal(True):
        sys.exit("this processor cannot flush subnormal numbers to zero")
    tiny = torch.full((1 << 20,), 2.0**-126) * 0.5
    if tiny.any():
        sys.exit("a thread of PyTorch computes subnormal numbers")


def torch_step(workload, peer, options):
    """One step of PyTorch, as a function without arguments."""
    import torch

    torch.set_num_threads(options.threads)
    flush_subnormals(torch)
    torch.manual_seed(0)
    seed = workload.layout == "seed"
    network = seed_network(workload, options.listing) if seed else standard_network(workload)
    images = torch.randn(workload.batch, 3, workload.size, workload.size)
    labels = torch.randint(0, CLASSES, (workload.batch,))
    if "channels-last" in peer:
        network = network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    if BF16_WEIGHTS in peer:
        network, images = network.to(torch.bfloat16), images.to(torch.bfloat16)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=AUTOCAST in peer)
    network.train(workload.work == "train")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    forward = torch.compile(network) if peer.startswith("torch.compile") else network

    def train():
        optimizer.zero_grad()
        with autocast:
            loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def infer():
        with autocast:
            forward(images)

    return train if workload.work == "train" else infer


def ort_step(workload, options, model):
    """One step of ONNX Runtime on an exported model, as a function without arguments."""
    import numpy
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    shape = (workload.batch, 3, workload.size, workload.size)
    images = numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)
    feed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, feed)


def openvino_step(workload, options, model, precision):
    """One step of OpenVINO on an exported model, as a function without arguments."""
    import numpy
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": options.threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_DENORMALS_OPTIMIZATION": True,
    }
    request = openvino.Core().compile_model(str(model), "CPU", settings).create_infer_request()
    shape = (workload.batch, 3, workload.size, workload.size)
    images = numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)
    request.set_input_tensor(openvino.Tensor(images))
    return request.infer


def export(workload, model):
    import torch

    warnings.simplefilter("ignore")
    network = standard_network(workload).eval()
    images = (torch.randn(workload.batch, 3, workload.size, workload.size),)
    try:
        torch.onnx.export(network, images, str(model), dynamo=False)
    except Exception:  # Versions without this exporter raise different errors. They have another exporter.
        torch.onnx.export(network, images, str(model))


def time_peer(workload, peer, options, model):
    warnings.simplefilter("ignore")
    if peer == ORT:
        step = ort_step(workload, options, model)
    elif peer.startswith(OPENVINO):
        step = openvino_step(workload, options, model, "bf16" if peer.endswith(BF16) else "f32")
    else:
        step = torch_step(workload, peer, options)
    return {"ms": median_ms(step, options.steps), "peak_memory_mb": peak_memory_mb()}


def in_own_process(function, *arguments):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def time_ours(workload, precision, options):
    command = [options.binary, "bench", workload.work, "--json", "--precision", precision]
    for name in ("layout", "scale", "stem", "batch", "size"):
        command += [f"--{name}", str(getattr(workload, name))]
    command += ["--steps", str(options.steps), "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()}")
    report = json.loads(done.stdout)
    return {"ms": report["median_ms"], "peak_memory_mb": report["peak_memory_mb"]}


def measure(workload, contender, options, model):
    if contender.startswith(OURS):
        return time_ours(workload, "bf16" if contender.endswith(BF16) else "f32", options)
    if contender.startswith((ORT, OPENVINO)) and not model.exists():
        in_own_process(export, workload, model)
    return in_own_process(time_peer, workload, contender, options, model)


def cpu_seconds_of_others():
    """CPU time that the machine has spent on other work than this process and its finished children."""
    # user, nice, system, idle, iowait, irq, softirq, steal
    ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="utf-8").split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def watched(function, *arguments):
    """The result of `function`, and the number of cores that other work took in that time."""
    start, before = time.monotonic(), cpu_seconds_of_others()
    result = function(*arguments)
    others = (cpu_seconds_of_others() - before) / (time.monotonic() - start)
    return {**result, "cores_taken_by_others": max(0.0, others)}


def compare(workload, options):
    """The rounds of one workload: {contender: {"rounds": [measurement, ...], "error": text or None}}."""
    names = [OURS, *workload.peers]
    if options.bf16:
        names += [OURS + BF16, *IN_BF16[workload.work]]
    contenders = {name: {"rounds": [], "error": None} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, options.rounds + 1):
            for name, result in contenders.items():
                if result["error"]:
                    continue
                try:
                    measured = watched(measure, workload, name, options, Path(folder) / "model.onnx")
                    result["rounds"].append(measured)
                    news = f"{measured['ms']:.2f} ms, others took {measured['cores_taken_by_others']:.2f} cores"
                except Exception as error:  # If one contender fails, the others are still measured.
                    text = f"{type(error).__name__}: {error}".replace("|", "/")
                    news = result["error"] = " ".join(text.split())[:200]
                print(f"{workload.name}, round {number}, {name}: {news}", file=sys.stderr, flush=True)
    return contenders


def summarise(workload, contenders):
    """Adds the table's figures to each contender that did not fail."""
    good = {name: result for name, result in contenders.items() if not result["error"]}
    for result in good.values():
        times = [measured["ms"] for measured in result["rounds"]]
        result.update(median_ms=statistics.median(times), min_ms=min(times), max_ms=max(times))
        result["img_per_s"] = workload.batch * 1e3 / result["median_ms"]
        result["peak_memory_mb"] = statistics.median(measured["peak_memory_mb"] for measured in result["rounds"])
    peers = [result["median_ms"] for name, result in good.items() if not name.startswith(OURS)]
    best = min(peers, default=float("nan"))
    for result in good.values():
        result["speed_to_best_peer"] = best / result["median_ms"]


def surroundings(options):
    """The machine and the versions that the figures depend on."""
    try:
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    except importlib.metadata.PackageNotFoundError as error:
        sys.exit(f"needs {', '.join(PACKAGES)}: {sys.executable} has no {error.name}")
    try:
        asked = subprocess.run([options.binary, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"no binary to measure ({error}): `cargo build --release`, or --binary FILE")
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), flags=re.M)
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "command": shlex.join(["python", *sys.argv]),
        "binary": asked.stdout.strip(),
        "versions": versions,
        "cpu": cpu.group(1) if cpu else os.uname().machine,
        "cores": os.cpu_count(),
        "threads": options.threads,
        "rounds": options.rounds,
        "steps": options.steps,
        "warm_up": WARM_UP,
    }


def report(here, results):
    """Prints the table, and below it the machine, the versions and the command."""
    print("| Workload | | ms a step | least to greatest | images/s | speed, best peer = 1 | peak MB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    every = [(workload["name"], *item) for workload in results for item in workload["contenders"].items()]
    for workload, name, result in every:
        cells = f"failed: {result['error']} | | | |" if result["error"] else (
            "{median_ms:.1f} | {min_ms:.1f} to {max_ms:.1f} | {img_per_s:.0f} | {speed_to_best_peer:.2f} "
            "| {peak_memory_mb:.0f}".format(**result)
        )
        print(f"| {workload} | {f'**{name}**' if name.startswith(OURS) else name} | {cells} |")
    taken = max((each["cores_taken_by_others"] for *_, result in every for each in result["rounds"]), default=0.0)
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    print(
        f"\n{here['cpu']}, {here['cores']} cores, {here['threads']} threads; other work took {taken:.2f} cores at "
        f"most. {here['binary']}; {versions}. Medians of {here['rounds']} rounds of {here['steps']} steps, "
        f"{here['date']}: `{here['command']}`"
    )
    if taken > DISTURBED:
        print(f"warning: other work took {taken:.2f} cores: measure again on an idle machine", file=sys.stderr)


def workloads(text):
    known = {workload.name: workload for workload in WORKLOADS}
    unknown = [name for name in text.split(",") if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no workload {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in text.split(",")]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/shufflenet", help="the binary to measure")
    parser.add_argument("--only", type=workloads, default=WORKLOADS, metavar="NAME,...", help="only these workloads")
    parser.add_argument("--listing", type=Path, metavar="FILE", help="markdown file with the seed network")
    parser.add_argument("--bf16", action="store_true", help="measure all contenders in bfloat16, too")
    parser.add_argument("--rounds", type=int, default=3, help="times that each contender is measured")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of a measurement")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each contender")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save every measurement here")
    options = parser.parse_args()
    options.binary = str(options.binary.resolve())
    if min(options.rounds, options.steps, options.threads) < 1:
        parser.error("--rounds, --steps and --threads must be 1 or more")
    if options.listing and not options.listing.is_file():
        parser.error(f"{options.listing}: no such file")
    if options.json and not options.json.resolve().parent.is_dir():
        parser.error(f"{options.json}: no such folder")
    return options


def main():
    options = parse()
    here = surroundings(options)
    results = []
    for workload in options.only:
        if workload.layout == "seed" and not options.listing:
            print(f"{workload.name}: skipped, because --listing FILE is not given", file=sys.stderr)
            continue
        contenders = compare(workload, options)
        summarise(workload, contenders)
        results.append({**workload._asdict(), "contenders": contenders})
    if results:
        report(here, results)
    if options.json:
        options.json.write_text(json.dumps({**here, "workloads": results}, indent=1) + "\n", encoding="utf-8")
    if any(result["error"] for workload in results for result in workload["contenders"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
