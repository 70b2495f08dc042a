#!/usr/bin/env python3
"""Times this project's loading of images and torchvision's, on the same files.

  compare_loading.py [--cifar FOLDER] [--photos FOLDER] [--rounds N]

Needs PyTorch and torchvision, and target/release/shufflenet. Photographs are JPEG files of 500x375, which 2 workers
prepare for training at 224 (random resized crop, flip, normalisation). Without --photos the script makes the files by
enlarging small scenes. CIFAR images are cropped and flipped from memory, by 2 workers. The rounds alternate. The script
prints medians and ranges in images per second.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
from PIL import Image
from torchvision import datasets, transforms

ROOT = pathlib.Path(__file__).resolve().parent.parent
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PHOTOS, BATCH, WORKERS = 1024, 64, 2


def cifar(folder):
    """Pixels (N x 32 x 32 x 3) and labels of the training files."""
    files = [np.fromfile(folder / f"data_batch_{i}.bin", np.uint8) for i in range(1, 6)]
    records = np.concatenate(files).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def make_photos(folder, pixels, labels):
    random = np.random.default_rng(0)
    for part, count in (("train", PHOTOS), ("test", 10)):
        for index in range(count):
            place = folder / part / str(labels[index])
            place.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels[index]).resize((500, 375), Image.Resampling.BICUBIC)
            noisy = np.asarray(image).astype(float) + random.normal(0, 6, (375, 500, 3))
            image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
            image.save(place / f"{index}.jpg", quality=87)


def ours(settings, batch, steps):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(settings)
        config.flush()
        command = [ROOT / "target/release/shufflenet", "bench", "data", "--config", config.name]
        command += ["--batch", str(batch), "--steps", str(steps), "--json"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)["img_per_s"]


def theirs(dataset, batch, steps):
    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(
        dataset, batch, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True
    )

    def batches():
        while True:
            yield from loader

    stream = batches()
    for _ in range(4):
        next(stream)
    start = time.perf_counter()
    for _ in range(steps):
        next(stream)
    return steps * batch / (time.perf_counter() - start)


def compare(name, rounds, our_run, their_run):
    speeds = [(our_run(), their_run()) for _ in range(rounds)]
    text = []
    for who, values in zip(("ours", "torchvision"), zip(*speeds)):
        text.append(f"{who} {statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})")
    ratio = statistics.median(a / b for a, b in speeds)
    print(f"{name}: {', '.join(text)} img/s, ratio {ratio:.2f}", flush=True)


class InMemory(torch.utils.data.Dataset):
    def __init__(self, pixels, labels, transform):
        self.pixels, self.labels, self.transform = pixels, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar", type=pathlib.Path, default=ROOT / "data/cifar-10-batches-bin")
    parser.add_argument("--photos", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    pixels, labels = cifar(arguments.cifar)
    with tempfile.TemporaryDirectory() as folder:
        photos = arguments.photos
        if photos is None:
            photos = pathlib.Path(folder)
            make_photos(photos, pixels, labels)
        sizes = [path.stat().st_size for path in (photos / "train").rglob("*.jpg")]
        print(f"{len(sizes)} JPEG files of {statistics.mean(sizes) / 1000:.0f} kB on average")
        to_numbers = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        flip = transforms.RandomHorizontalFlip()
        window = transforms.RandomResizedCrop(224)
        folder_set = datasets.ImageFolder(photos / "train", transforms.Compose([window, flip, *to_numbers]))
        normalization = f"[data.normalization]\nmean = {MEAN}\nstd = {STD}\n"
        settings = (
            f'[data]\nformat = "folder"\nroot = "{photos}"\nworkers = {WORKERS}\n'
            f"augmentation = {{ random_resized_crop = true, flip = true }}\n{normalization}"
        )
        compare(
            "JPEG folder at 224",
            arguments.rounds,
            lambda: ours(settings, BATCH, 30),
            lambda: theirs(folder_set, BATCH, 30),
        )
        crop = transforms.RandomCrop(32, padding=4)
        memory_set = InMemory(pixels, labels, transforms.Compose([crop, flip, *to_numbers]))
        settings = (
            f'[data]\nformat = "cifar10"\nroot = "{arguments.cifar}"\nworkers = {WORKERS}\n'
            f"augmentation = {{ crop_padding = 4, flip = true }}\n{normalization}"
        )
        compare(
            "CIFAR crop and flip",
            arguments.rounds,
            lambda: ours(settings, 256, 1000),
            lambda: theirs(memory_set, 256, 150),
        )


if __name__ == "__main__":
    main()
