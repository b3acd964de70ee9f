"""Train a classifier whose features are used to compare sets of images: fd-mnist or fd-cifar.

    python examples/reproduce/classifiers.py mnist MNIST_DIR
    python examples/reproduce/classifiers.py cifar10 CIFAR10_DIR --time-budget 20m

Writes NAME.safetensors and NAME.json atomically into the folder of sepcli, or --out, and prints the accuracy
of the stored weights on test images. The learning rate increases over the first quarter of the time and then
decreases to zero; images of CIFAR-10 are flipped and shifted by up to four pixels.

Source: He et al. 2016, section 4.2, for the augmentation; Smith & Topin 2019 for the learning rate.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.datasets.cifar import open_cifar
from sepcli.datasets.idx import open_digits
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.datasets.image_splits import measure
from sepcli.errors import SepError
from sepcli.metrics.features import DATA, FOLDER, SIZES, Classifier, rounded, save_classifier

WARM_UP = 0.25
"""Fraction of the time in which the learning rate increases."""
SHIFT = 4
"""Greatest shift in pixels."""
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def main(argv: Sequence[str]) -> int:
    """Train the classifier, measure its accuracy, and write it."""
    options = parse(argv)
    torch.manual_seed(options.seed)
    network, about = train(options)
    options.out.mkdir(parents=True, exist_ok=True)
    name = network_name(options.data)
    save_classifier(network, options.out, name, about)
    print(f"{name}: {100 * about['test_accuracy']:.2f} % of the test images; written to {options.out}")
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", choices=[*DATA.values()])
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the data set")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--time-budget", type=seconds, default=480.0, metavar="8m", help="s, m or h")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=0.2, help="maximum")
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(argv)


def network_name(data: str) -> str:
    """Return the name of the classifier of a data set."""
    return next(name for name, of in DATA.items() if of == data)


def seconds(text: str) -> float:
    """Parse a time such as ``8m`` (480 s)."""
    scale = SECONDS.get(text[-1:], 0.0)
    try:
        value = float(text[:-1]) * scale
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 90s, 8m or 1h")
    return value


def open_split(options: argparse.Namespace, split: str) -> LabelledImages:
    """Return images (N, C, H, W) and their classes 0 to 9."""
    if options.data == "cifar10":
        return open_cifar(options.folder, split)
    return open_digits(options.folder, split)


def train(options: argparse.Namespace) -> tuple[Classifier, dict[str, Any]]:
    """Return a trained network and its description."""
    learn, test = open_split(options, "train"), open_split(options, "test")
    mean, deviation = measure(learn)
    own = SIZES[network_name(options.data)]
    network = Classifier(replace(own, mean=round(mean, 4), deviation=round(deviation, 4))).to(options.device)
    started, seen = time.monotonic(), 0
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in network.parameters() if parameter.dim() < 2]
    decayed = {"params": weights, "weight_decay": options.weight_decay}
    optimizer = torch.optim.SGD([decayed, {"params": others}], lr=0.0, momentum=0.9, nesterov=True)
    for images, labels in batches(learn, options):
        part = (time.monotonic() - started) / options.time_budget
        if part >= 1.0:
            break
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * one_cycle(part)
        logits = network(images)[1]
        loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += len(images)
        if seen % (100 * options.batch) < options.batch:
            print(f"{100 * part:3.0f} %  {seen:8d} images  loss {loss.item():.3f}", file=sys.stderr)
    network.load_state_dict({k: v.to(network.state_dict()[k].dtype) for k, v in rounded(network).items()})
    return network, {
        "data": f"{options.data}, {len(learn.images)} training images",
        "test_accuracy": accuracy(network.eval(), test, options.device),
        "test_images": len(test.images),
        "images_seen": seen,
        "seconds": round(time.monotonic() - started, 1),
        "seed": options.seed,
        "torch": torch.__version__,
    }


def one_cycle(part: float) -> float:
    """Return the learning rate relative to its maximum, over the elapsed fraction of the time."""
    if part < WARM_UP:
        return 0.04 + 0.96 * part / WARM_UP
    return float(0.5 * (1 + np.cos(np.pi * (part - WARM_UP) / (1 - WARM_UP))))


def batches(learn: LabelledImages, options: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches indefinitely, every image once per epoch."""
    rng = np.random.default_rng(options.seed)
    while True:
        order = rng.permutation(len(learn.images))
        for start in range(0, max(1, len(order) - options.batch + 1), options.batch):
            chosen = order[start : start + options.batch]
            images = learn.images[chosen]
            if options.data == "cifar10":
                images = flipped_and_shifted(images, rng)
            pixels = torch.from_numpy(np.ascontiguousarray(images)).to(options.device).float() / 255.0
            yield pixels, torch.from_numpy(learn.labels[chosen]).to(options.device)


def flipped_and_shifted(images: Any, rng: np.random.Generator) -> Any:
    """Flip half of the images (B, C, H, W) horizontally and shift all, with reflected borders."""
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="reflect")
    moved = np.empty_like(images)
    for n, (down, across) in enumerate(rng.integers(0, 2 * SHIFT + 1, (len(images), 2))):
        moved[n] = padded[n, :, down : down + height, across : across + width]
    turned = rng.random(len(images)) < 0.5
    moved[turned] = moved[turned, :, :, ::-1]
    return moved


def accuracy(network: Classifier, test: LabelledImages, device: str) -> float:
    """Return the fraction of correctly classified test images."""
    correct = 0
    with torch.inference_mode():
        for start in range(0, len(test.images), 512):
            part = slice(start, start + 512)
            pixels = torch.from_numpy(np.array(test.images[part])).to(device).float() / 255.0
            predicted = network(pixels)[1].argmax(1).cpu().numpy()
            correct += int((predicted == test.labels[part]).sum())
    return correct / len(test.images)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SepError as error:
        sys.exit(f"error: {error.message}\n  → {error.hint}")
