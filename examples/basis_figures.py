"""Plot the diagnostics of BASIS (Jayaram & Thickstun 2020) for a prior of digits.

    python examples/basis_figures.py --prior my-digits --data mnist --out figures

writes

* ``figure1.png``: separations of sums of four digits;
* ``figure2.png``: σ ‖∇ log p_σ‖ over σ, which should be nearly constant;
* ``figure3.png``: Langevin dynamics with and without noise and annealing;
* ``figures.json``: the numbers, and the residuals of separations.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from sepcli.datasets.idx import open_mnist
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.datasets.image_splits import to_float_images
from sepcli.datasets.pair_folder import Pair
from sepcli.errors import SepError
from sepcli.evaluation.samples import seeds_of
from sepcli.evaluation.tasks.images import pair_values
from sepcli.metrics.assignment import best_permutation
from sepcli.metrics.images import residual_rms
from sepcli.priors.load import load_selection
from sepcli.priors.select import choose
from sepcli.protocols import Posterior
from sepcli.samplers.langevin import Langevin
from sepcli.separation.engines import LANGEVIN_PRESETS, ScoreEngine

PRESET = "released-mnist"


@dataclass
class Recorder:
    """A posterior that records the states of a sampler; fulfils ``sepcli.protocols.Posterior``."""

    posterior: Posterior
    every: int
    states: list[Tensor] = field(default_factory=list)
    calls: int = 0

    @property
    def like(self) -> Tensor:
        """An empty tensor of the state's shape, type and device."""
        return self.posterior.like

    @property
    def start(self) -> Tensor:
        """The state that the initial noise is added to."""
        return self.posterior.start

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        """Return the score of the posterior, and record the state."""
        self._record(state)
        return self.posterior.score(state, sigma)

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return score and misfit of the posterior, and record the state."""
        self._record(state)
        return self.posterior.assess(state, sigma)

    def sources(self, state: Tensor) -> Tensor:
        """Return the sources of a state, on the CPU."""
        return self.posterior.sources(state).cpu()

    def _record(self, state: Tensor) -> None:
        if self.calls % self.every == 0:
            self.states.append(self.sources(state))
        self.calls += 1


def separate(separator: ScoreEngine, mixtures: Tensor, seed: int) -> Tensor:
    """Return one sample (B, K, C, H, W) per mixture (B, C, H, W)."""
    return separator.sample(mixtures, seeds_of(seed, range(len(mixtures))))[:, 0]


def four_at_once(separator: ScoreEngine, digits: LabelledImages, count: int, seed: int) -> Figure:
    """Plot figure 1: mixtures of four digits, the true sources, and the separated ones in the best order."""
    rng = np.random.default_rng(seed)
    chosen = np.stack([rng.choice(len(digits.images), 4, replace=False) for _ in range(count)])
    truth = torch.stack([to_float_images(digits.images[row]) for row in chosen])
    mixtures = truth.sum(1)
    samples = separate(separator, mixtures, seed)
    for item, (sources, estimates) in enumerate(zip(truth, samples, strict=True)):
        order = best_permutation(-torch.cdist(sources.flatten(1), estimates.flatten(1)).square().numpy())
        samples[item] = estimates[list(order)]
    rows = torch.cat([(mixtures / mixtures.amax((1, 2, 3), keepdim=True))[:, None], truth, samples], dim=1)
    figure = Figure(figsize=(2 + count, 9), layout="constrained")
    names = ["mixture", *[f"true {k}" for k in range(1, 5)], *[f"separated {k}" for k in range(1, 5)]]
    panel(figure.add_subplot(), rows.transpose(0, 1), names)
    return figure


def score_norms(separator: ScoreEngine, pairs: Sequence[Pair], seed: int) -> dict[str, list[float]]:
    """Return σ ‖∇ log p_σ(x + σ ε)‖/√dim of test digits: its mean, and the interval of 80 % of them."""
    x = torch.stack([torch.from_numpy(pair.sources) for pair in pairs]).to(separator.device)
    rng = torch.Generator().manual_seed(seed)
    norms: dict[str, list[float]] = {"sigma": [], "mean": [], "low": [], "high": []}
    for sigma in Langevin().sigmas().to(x):
        noisy = x + sigma * torch.randn(x.shape, generator=rng).to(x)
        with torch.no_grad():
            score = separator.prior.score(noisy, sigma).cpu().numpy()
        values = float(sigma) * np.sqrt(np.square(score).mean((2, 3, 4))).ravel()
        row = (float(sigma), values.mean(), np.quantile(values, 0.1), np.quantile(values, 0.9))
        for key, value in zip(norms, row, strict=True):
            norms[key].append(float(value))
    return norms


def plot_norms(norms: dict[str, list[float]]) -> Figure:
    """Plot figure 2, the norms of the scores."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.fill_between(norms["sigma"], norms["low"], norms["high"], alpha=0.3, label="80 % of the digits")
    axes.plot(norms["sigma"], norms["mean"], marker="o", label="mean")
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("σ")
    axes.set_ylabel("σ ‖∇ log p_σ‖ / √dim")
    axes.legend()
    return figure


def trajectories(
    separator: ScoreEngine, langevin: Langevin, pair: Pair, seed: int
) -> tuple[Figure, dict[str, list[float]]]:
    """Plot figure 3: one pair under Langevin dynamics with and without noise and annealing.

    Returns:
        The figure, and the PSNR at the start, at every tenth of a noise level and at the end.
    """
    every = max(1, langevin.steps // 10)
    curves: dict[str, list[float]] = {}
    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.subplots(3, 2, height_ratios=(3, 1, 1))
    settings = {
        f"{noise}, {anneal}": replace(langevin, noise=noise == "noise", anneal=anneal == "annealed")
        for noise in ("noise", "no noise")
        for anneal in ("annealed", "not annealed")
    }
    for (name, sampler), axes in zip(settings.items(), grid[1:].ravel(), strict=True):
        recorder = Recorder(
            separator.posterior(torch.from_numpy(pair.sources).sum(0)[None].to(separator.device)), every
        )
        last = recorder.sources(sampler(recorder, seeds_of(seed, [0])[0]))
        states = torch.cat([*recorder.states, last])
        curves[name] = [mean_psnr(pair, state) for state in states]
        at = np.linspace(0.0, langevin.levels, len(states))
        grid[0, 0].plot(at, curves[name], label=name)
        shown = np.linspace(0, len(states) - 1, 11).round().astype(int)
        panel(axes, states[shown].transpose(0, 1), ["first", "second"])
        axes.set_title(f"{name}: {curves[name][-1]:.1f} dB at the end")
    grid[0, 0].set_xlabel("noise levels done")
    grid[0, 0].set_ylabel("PSNR in dB")
    grid[0, 0].legend()
    sources = torch.from_numpy(pair.sources)
    mixture = sources.sum(0, keepdim=True) / 2
    panel(grid[0, 1], torch.cat([mixture, sources])[:, None], ["mixture / 2", "first", "second"])
    return figure, curves


def mean_psnr(pair: Pair, sources: Tensor) -> float:
    """Return the mean PSNR of both sources in the better order."""
    return float(np.mean([s.value for s in pair_values(pair, ("first", "second"), {"": sources})]))


def reconstruction(separator: ScoreEngine, pairs: Sequence[Pair], seed: int) -> dict[str, float]:
    """Return the residuals in steps of 8 bits (RMS over pixels), before clipping, and the PSNR."""
    samples = separate(
        separator, torch.stack([torch.from_numpy(pair.sources).sum(0) for pair in pairs]), seed
    )
    steps = np.array(
        [
            residual_rms(pair.sources.sum(0), sample.sum(0))
            for pair, sample in zip(pairs, samples, strict=True)
        ]
    )
    quality = [mean_psnr(pair, sample) for pair, sample in zip(pairs, samples, strict=True)]
    return {
        "steps_of_8_bits": float(steps.mean()),
        "share_below_one_step": float((steps < 1.0).mean()),
        "squared_error_per_pixel": float(np.square(steps / 255).mean()),
        "psnr_mean": float(np.mean(quality)),
        "psnr_median": float(np.median(quality)),
        "evaluations": separator.evaluations,
    }


def panel(axes: Axes, images: Tensor, rows: Sequence[str]) -> None:
    """Plot gray images (R, N, 1, H, W) as R named rows."""
    framed = torch.nn.functional.pad(images[:, :, 0].clamp(0.0, 1.0), (1, 1, 1, 1), value=0.5)
    height = framed.shape[2]
    image = framed.permute(0, 2, 1, 3).flatten(0, 1).flatten(1)
    axes.imshow(image.numpy(), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_yticks([height * (row + 0.5) - 0.5 for row in range(len(rows))], list(rows))
    axes.set_xticks([])


def plot(options: argparse.Namespace) -> dict[str, Any]:
    """Plot and save the figures; return the numbers."""
    langevin = Langevin(ratio=LANGEVIN_PRESETS[PRESET]["ratio"])
    projected: dict[str, str] = {}
    items, mixtures = options.items, 8
    if options.quick:
        items, mixtures, langevin, projected = 2, 2, replace(langevin, levels=3, steps=2), {"steps": "3"}
    annealed = {"preset": PRESET, "levels": str(langevin.levels), "steps": str(langevin.steps)}

    def load(sources: int, sampler: str, settings: dict[str, str]) -> ScoreEngine:
        selection = choose(options.prior, weights=(1.0,) * sources, sampler=sampler, settings=settings)
        engine = load_selection(selection, options.device).engine
        assert isinstance(engine, ScoreEngine)
        return engine

    digits = open_mnist(options.data)
    pairs = list(digits.pairs(items).items(options.seed))
    exact, noisy = load(2, "projected", projected), load(2, "langevin", annealed)
    options.out.mkdir(parents=True, exist_ok=True)
    four = four_at_once(load(4, "projected", projected), digits, mixtures, options.seed)
    four.savefig(options.out / "figure1.png", dpi=80, bbox_inches="tight")
    norms = score_norms(noisy, pairs, options.seed)
    plot_norms(norms).savefig(options.out / "figure2.png", dpi=120)
    figure, curves = trajectories(noisy, langevin, pairs[0], options.seed)
    figure.savefig(options.out / "figure3.png", dpi=100, bbox_inches="tight")
    residuals = {
        name: reconstruction(separator, pairs, options.seed)
        for name, separator in (("langevin", noisy), ("projected", exact))
    }
    return {
        "prior": options.prior,
        "seed": options.seed,
        "pairs": items,
        "langevin": repr(langevin),
        "score_norms": norms,
        "trajectories": {"pair": pairs[0].id, "psnr": curves},
        "reconstruction": residuals,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Plot the figures, write the numbers, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prior", required=True, help="name or folder of a prior of digits")
    parser.add_argument("--data", type=Path, required=True, help="folder of the MNIST files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--items", type=int, default=32, help="number of pairs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="few steps, for a test run")
    options = parser.parse_args(arguments)
    try:
        numbers = plot(options)
    except SepError as error:
        print(f"error: {error.message}\n  → {error.hint}", file=sys.stderr)
        return 1
    (options.out / "figures.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
