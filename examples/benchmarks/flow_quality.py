"""How well priors of digits denoise, and the likelihood of those that are densities, on held-out digits.

    python examples/benchmarks/flow_quality.py --mnist MNIST mnist mnist-flow examples/reproduce/mnist-glow

The digits are those of the training files on which no bundled prior was trained. The table has
the root mean square of D(x + σ ε) - x over all pixels, with D(y) = y + σ² score and the same noise for every
prior, and for flows the bound on the bits per dimension of digits without noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from sepcli.catalog import resolve
from sepcli.datasets.image_splits import open_data, to_float_images
from sepcli.priors.images.flow import FlowPrior, negative_log_likelihood
from sepcli.priors.images.load import ImagePrior, load_image_prior

SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
BATCH = 64


def denoising_error(prior: ImagePrior, images: Tensor, sigma: float) -> float:
    """Return the root mean square error of denoising images (N, C, H, W) under noise of σ."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    noisy, level = images + sigma * noise, torch.tensor(sigma)
    with torch.no_grad():
        scores = torch.cat([prior.score(part[:, None], level)[:, 0] for part in noisy.split(BATCH)])
    return float((noisy + sigma**2 * scores - images).square().mean().sqrt())


def row(name: str, images: Tensor) -> list[str]:
    """Return the cells of a prior's row."""
    prior = load_image_prior(resolve.find(name)[1]).eval()
    errors = [f"{denoising_error(prior, images, sigma):.3f}" for sigma in SIGMAS]
    if not isinstance(prior, FlowPrior):
        return [name, "–", *errors]
    with torch.no_grad():
        bits = float(negative_log_likelihood(prior, images).mean())
    return [name, f"{bits:.2f}", *errors]


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("priors", nargs="+", metavar="PRIOR")
    parser.add_argument("--mnist", type=Path, required=True, help="folder of MNIST's four files")
    parser.add_argument("--images", type=int, default=1000)
    given = parser.parse_args()
    _, held_out = open_data(given.mnist)
    images = to_float_images(held_out.images[: given.images])
    header = ["prior", "bits per dimension", *(f"σ = {sigma:g}" for sigma in SIGMAS)]
    for cells in (header, ["---"] * len(header), *(row(name, images) for name in given.priors)):
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
