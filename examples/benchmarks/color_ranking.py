"""Which of several colorizations comes first: as drawn, by log prior, and by log prior at equal chroma.

    python examples/benchmarks/color_ranking.py CIFAR10 --images 150 --samples 8 --out color-ranking.json

Test photographs are reduced to their channel mean and colorized by ``cifar10``. Reported of the first sample
by each rule, and of the photographs: the 10 %, 50 % and 90 % quantiles of the chroma (root mean square of
what distinguishes the channels from their mean), and the mean PSNR. A good rule takes colors as rich as the
photographs' and no further from them than any sample is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sepcli
from sepcli.datasets.cifar import open_cifar
from sepcli.datasets.image_splits import to_float_images
from sepcli.separation.colorize import at_equal_chroma
from sepcli.separation.seeds import sample_seeds
from sepcli.signal.chroma import GRAYS

QUANTILES = (10, 50, 90)
"""Percent."""
BATCH = 8


def chroma_of(colors: Tensor) -> Tensor:
    """Return the chroma of images (..., 3, H, W), (...)."""
    return (colors - colors.mean(-3, keepdim=True)).square().mean((-3, -2, -1)).sqrt()


def first_by(colors: Tensor, log_prior: Tensor) -> dict[str, int]:
    """Return the number of the first of samples (S, 3, H, W), by their log prior (S,), for every rule."""
    return {
        "as drawn": 0,
        "log prior": int(log_prior.argmax()),
        "log prior at equal chroma": int(at_equal_chroma(log_prior, colors).argmax()),
    }


def row(rule: str, chroma: list[float], psnr: list[float]) -> dict[str, Any]:
    """Return the figures of a rule."""
    quantiles = [round(float(value), 4) for value in np.percentile(chroma, QUANTILES)]
    return {"rule": rule, "chroma": quantiles, "psnr": round(float(np.mean(psnr)), 2) if psnr else None}


def measure(photographs: Tensor, samples: int) -> list[dict[str, Any]]:
    """Colorize photographs (N, 3, H, W); return the figures of all rules, and of the photographs."""
    colorizer = sepcli.load("cifar10", device="cpu", colorize="mean").colorizer
    assert colorizer is not None
    engine = colorizer.engine(GRAYS["mean"])
    found: Mapping[str, tuple[list[float], list[float]]] = {
        rule: ([], []) for rule in first_by(torch.rand(3, 3, 2, 2), torch.zeros(3))
    }
    for start in range(0, len(photographs), BATCH):
        truths = photographs[start : start + BATCH]
        seeds = torch.tensor([sample_seeds(0, start + n, samples) for n in range(len(truths))])
        drawn = engine.sample(truths.mean(1, keepdim=True), seeds).clamp(0, 1)
        for truth, sampled in zip(truths, drawn, strict=True):
            log_prior, colors = engine.log_prior(sampled), sampled[:, :, 0]
            assert log_prior is not None
            for rule, number in first_by(colors, log_prior).items():
                found[rule][0].append(float(chroma_of(colors[number])))
                found[rule][1].append(-10 * float((colors[number] - truth).square().mean().log10()))
        print(f"{min(start + BATCH, len(photographs))} of {len(photographs)}", flush=True)
    rows = [row(rule, *figures) for rule, figures in found.items()]
    return [*rows, row("photographs", chroma_of(photographs).tolist(), [])]


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="CIFAR-10")
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    images = open_cifar(options.data).images
    chosen = np.random.default_rng(0).permutation(len(images))[: options.images]
    rows = measure(to_float_images(images[np.sort(chosen)]), options.samples)
    document = {"format": 1, "kind": "color-ranking", "images": len(chosen), "samples": options.samples}
    options.out.write_text(json.dumps({**document, "quantiles": QUANTILES, "rows": rows}, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
