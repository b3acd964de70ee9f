"""Learn a prior of digits from sums with other digits alone, beside the prior of clean digits.

    python examples/benchmarks/prior_from_mixtures.py --data mnist --work digits --steps 600 --out report.json

Sums (x + y)/2 of two classes of MNIST's training digits are written as images. The prior of y is trained on
clean digits of its class; that of x by rounds of ``train-prior --from-mixtures``, each from the weights of
the one before, and once on clean digits for comparison. Reported of each: root mean square error of
denoising test digits of x at three noise levels, and PSNR of x and y separated from sums of test digits. A
finished round is not repeated when the program is called again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import sepcli
from sepcli.catalog import resolve
from sepcli.catalog.verified import verified
from sepcli.datasets.idx import open_digits
from sepcli.metrics.images import psnr
from sepcli.priors.images.load import load_image_prior
from sepcli.priors.train import train
from sepcli.training.config import TrainConfig
from sepcli.training.task import LoopSettings

Images = NDArray[np.uint8]
LEVELS = (0.2, 0.5, 1.0)
"""σ of the noise of the test digits."""


def digits(data: Path, split: str, label: int, count: int) -> Images:
    """Return the first digits (N, 28, 28) of a class."""
    images = open_digits(data, split)
    return np.asarray(images.images[images.labels == label][:count, 0])


def write(images: Images, folder: Path) -> Path:
    """Write images into a folder, unless it is there; return it."""
    if not folder.exists():
        folder.mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number:05d}.png")
    return folder


def mixed(first: Images, second: Images) -> Images:
    """Return (x + y)/2 of as many images as both have."""
    count = min(len(first), len(second))
    total = first[:count].astype(np.float64) + second[:count]
    return np.rint(total / 2).astype(np.uint8)


def trained(
    data: Path, out: Path, options: argparse.Namespace, steps: int, init: Path | None = None, other: str = ""
) -> Path:
    """Train a prior, unless it is there; return its folder."""
    if not (out / "card.toml").exists():
        config = TrainConfig(
            family="denoiser",
            data=data,
            out=out,
            preset=options.preset,
            batch=32,
            init=None if init is None else str(init),
            loop=LoopSettings(seconds=None, steps=steps, learning_rate=2e-3, validations=2),
            overwrite=True,
        )
        settings = {"from_mixtures": other, "posterior_steps": options.levels} if other else {}
        train(config, settings)
    return out


def denoising(prior: Path, images: Images) -> dict[str, float]:
    """Return the root mean square error of denoised images at every noise level."""
    card, folder = resolve.find(str(prior))
    network = load_image_prior(verified(card, folder))
    clean = torch.from_numpy(images).float()[:, None, None] / 255
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    errors = {}
    with torch.no_grad():
        for sigma in LEVELS:
            level = torch.tensor(sigma)
            x = clean + level * noise
            estimate = x + level**2 * network.score(x, level)
            errors[f"{sigma:g}"] = float((estimate - clean).square().mean().sqrt())
    return errors


def separation(prior: Path, other: Path, x: Images, y: Images) -> float:
    """Return the mean PSNR of both sources, separated from their sums, dB."""
    settings = {"sampler": "projected", "settings": {"steps": 40}}
    separator = sepcli.load([str(prior), str(other)], **settings)  # type: ignore[arg-type]
    mixtures = [torch.from_numpy(image)[None].float() / 255 for image in mixed(x, y)]
    results = separator.separate_batch(mixtures, seeds=range(len(mixtures)))
    values = [
        psnr(torch.from_numpy(source).float() / 255, estimate[0].float())
        for result, *pair in zip(results, x, y, strict=True)
        for source, estimate in zip(pair, result.sources.values(), strict=True)
    ]
    return float(np.mean(values))


def main() -> None:
    """Train all priors, compare them, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="MNIST's files")
    parser.add_argument("--work", type=Path, required=True, help="folder of images and priors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--x", type=int, default=0, help="class that is learned from mixtures")
    parser.add_argument("--y", type=int, default=1, help="class with a prior")
    parser.add_argument("--count", type=int, default=1500, help="mixtures")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=800, help="training steps of a round")
    parser.add_argument("--levels", type=int, default=32, help="noise levels of posterior samples")
    parser.add_argument("--test", type=int, default=40, help="test digits of each class")
    parser.add_argument("--preset", default="tiny")
    options = parser.parse_args()
    started, work = time.process_time(), options.work
    x, y = (digits(options.data, "train", label, 2 * options.count) for label in (options.x, options.y))
    test_x, test_y = (digits(options.data, "test", label, options.test) for label in (options.x, options.y))
    clean_x = write(x[: options.count], work / "clean")
    clean_y = write(y[options.count :], work / "clean-y")
    mixtures = write(mixed(x[: options.count], y[: options.count]), work / "mixtures")
    all_steps = options.rounds * options.steps
    other = trained(clean_y, work / "prior-y", options, all_steps)
    rows: dict[str, Any] = {}

    def add(name: str, prior: Path) -> None:
        rows[name] = {
            "denoising_rms": denoising(prior, test_x),
            "separation_psnr": separation(prior, other, test_x, test_y),
        }
        print(name, rows[name], flush=True)

    before = None
    for number in range(1, options.rounds + 1):
        folder = work / f"round-{number}"
        before = trained(mixtures, folder, options, options.steps, before, str(other))
        add(f"round {number}", before)
    add("clean digits", trained(clean_x, work / "prior-x", options, all_steps))
    average = np.mean(
        [
            psnr(a / 255, m / 255)
            for m, *p in zip(mixed(test_x, test_y), test_x, test_y, strict=True)
            for a in p
        ]
    )
    document = {
        "format": 1,
        "kind": "prior-from-mixtures",
        **{key: getattr(options, key) for key in ("x", "y", "count", "rounds", "steps", "levels", "test")},
        "preset": options.preset,
        "mixture_psnr": float(average) if math.isfinite(average) else None,
        "cpu_seconds": round(time.process_time() - started),
        "rows": rows,
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
