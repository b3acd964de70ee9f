"""Posterior samplers on signals that are not Gaussian: sums of Lévy processes, with Gibbs chains as truth.

    python examples/benchmarks/levy_posterior.py --out examples/reproduce/results/levy-posterior.json

The sources are x = cumsum(u), 64 independent increments u each, Laplace of one and Student's t with three
degrees of freedom of the other: slowly varying parts with jumps. Both are scale mixtures u ~ N(0, w) with
known conditionals of w, so that Gibbs chains, which sample (x_1, x_2) and w in turn, have the exact posterior
given m = x_1 + x_2 + N(0, σ_y²) as their limit. The denoisers are posterior means by such chains, too:
nothing is trained, and what differs from the truth is the sampler's.

Per sampler: root mean square error of the mean over the truth's standard deviation; trace of the covariance
over the truth's; share of the true values in 90 % intervals of the samples; for the truth's chain, half of it
is compared with the other half. Samplers that need a Jacobian are left out.

Source: Zach, Haouchat & Unser 2025 (a statistical benchmark for diffusion posterior sampling algorithms), the
    idea; Park & Casella 2008 (the conditional of Laplace's w).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.separation.engines import score_engine
from sepcli.separation.seeds import item_seed, sample_seeds

Values = NDArray[np.float64]
LENGTH, SCALE, DEGREES, SIGMA_Y = 64, 0.1, 3.0, 0.02
KINDS = ("laplace", "student")
LEVELS: Mapping[str, Any] = {"sigma_max": 4.0, "sigma_min": 0.01, "rho": 5.0, "sigma_y": SIGMA_Y}
SAMPLERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "projected, default (η = 1)": ("projected", {"steps": 48, "weigh": 1, "isotropic": 1}),
    "ancestral, second order": ("projected", {"steps": 48, "eta": "ancestral", "order": 2, "weigh": 1}),
    "averaged noise": ("projected", {"steps": 48, "average": 1, "weigh": 1}),
    "averaged noise, two repeats": ("projected", {"steps": 48, "average": 1, "repeats": 2, "weigh": 1}),
    "particles, 4": ("particles", {"steps": 24, "particles": 4, "weigh": 1}),
}
"""Row → sampler and settings."""


def increments(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Values:
    """Sample increments of a process."""
    unit = rng.laplace(size=shape) if kind == "laplace" else rng.standard_t(DEGREES, size=shape)
    return SCALE * unit


def variances(kind: str, u: Values, rng: np.random.Generator) -> Values:
    """Sample w given increments u of its shape."""
    if kind == "laplace":
        size = np.abs(u).clip(1e-12)
        return np.asarray(1.0 / rng.wald(1.0 / (SCALE * size), 1.0 / SCALE**2).clip(1e-12))
    rate = 0.5 * (DEGREES * SCALE**2 + u**2)
    return np.asarray(rate / rng.gamma(0.5 * (DEGREES + 1.0), size=u.shape))


def covariance(w: Values) -> Values:
    """Return the covariances (B, N, N) of cumsum(u) for variances w (B, N) of u."""
    total, index = np.cumsum(w, axis=-1), np.arange(w.shape[-1])
    return np.asarray(total[:, np.minimum(index[:, None], index[None])])


def gibbs(
    mixture: Values, kinds: tuple[str, ...], noise: float, sweeps: int, rng: np.random.Generator
) -> tuple[Values, Values]:
    """Sample processes whose sum with noise is the mixture (B, N).

    Returns:
        Samples (sweeps, B, K, N) and their means given w, of the same shape, after as many sweeps again that
        are discarded, up to 100.
    """
    w = [np.full(mixture.shape, 2.0 * SCALE**2) for _ in kinds]
    identity, kept, means = noise**2 * np.eye(mixture.shape[1]), [], []
    discarded = min(sweeps, 100)
    for sweep in range(discarded + sweeps):
        x = [np.cumsum(np.sqrt(one) * rng.standard_normal(one.shape), axis=-1) for one in w]
        cov = [covariance(one) for one in w]
        residual = mixture - sum(x) - noise * rng.standard_normal(mixture.shape)
        both = np.stack([residual, mixture], axis=-1)
        solved = np.linalg.solve(np.sum(cov, axis=0) + identity, both)
        moved = [one @ solved for one in cov]
        x = [one + step[..., 0] for one, step in zip(x, moved, strict=True)]
        w = [
            variances(kind, np.diff(one, axis=-1, prepend=0.0), rng)
            for kind, one in zip(kinds, x, strict=True)
        ]
        if sweep >= discarded:
            kept.append(np.stack(x, axis=1))
            means.append(np.stack([step[..., 1] for step in moved], axis=1))
    return np.stack(kept), np.stack(means)


class Processes:
    """p(x) of one process of each kind; fulfils ``sepcli.protocols.DenoisingPrior`` by Gibbs chains."""

    has_variance = True

    def __init__(self, sweeps: int, seed: int) -> None:
        self._sweeps, self._rng = sweeps, np.random.default_rng(seed)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the clean processes at x (B, 2, 1, N) for σ ()."""
        results = []
        for k, kind in enumerate(KINDS):
            noisy = x[:, k, 0].double().numpy()
            samples, means = gibbs(noisy, (kind,), float(sigma), self._sweeps, self._rng)
            results.append(np.stack([means.mean(0)[:, 0], samples.var(0)[:, 0]]))
        mean, variance = torch.from_numpy(np.stack(results, axis=2)).to(x)
        return mean[:, :, None], variance[:, :, None]

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ at x (B, 2, 1, N) for σ ()."""
        return (self.moments(x, sigma)[0] - x) / sigma**2


def compared(samples: Values, truth: tuple[Values, Values], signals: Values) -> dict[str, float]:
    """Compare samples (S, B, K, N) with mean and variance of the truth (B, K, N), and with the signals."""
    mean, variance = truth
    low, high = np.quantile(samples, [0.05, 0.95], axis=0)
    error = np.square(samples.mean(0) - mean).mean() - samples.var(0, ddof=1).mean() / len(samples)
    return {
        "mean_error": float(np.sqrt(max(0.0, error) / variance.mean())),
        "trace": float(samples.var(0, ddof=1).mean() / variance.mean()),
        "coverage": float(((signals >= low) & (signals <= high)).mean()),
    }


def measure(
    mixtures: int, samples: int, sweeps: int, denoiser_sweeps: int, seed: int, names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the report: a row per sampler, and one of the truth's own chain."""
    rng = np.random.default_rng(seed)
    signals = np.stack([np.cumsum(increments(k, (mixtures, LENGTH), rng), axis=-1) for k in KINDS], axis=1)
    mixture = signals.sum(1) + SIGMA_Y * rng.standard_normal((mixtures, LENGTH))
    chain, _ = gibbs(mixture, KINDS, SIGMA_Y, sweeps, rng)
    truth = chain.mean(0), chain.var(0)
    half = chain[: sweeps // 2]
    rows: dict[str, Any] = {
        "Gibbs chain, half of it": compared(half[:: max(1, len(half) // samples)], truth, signals)
    }
    for name in names:
        sampler, settings = SAMPLERS[name]
        engine = score_engine(
            Processes(denoiser_sweeps, seed),
            KINDS,
            (1.0, 1.0),
            torch.device("cpu"),
            sampler,
            {**LEVELS, **settings},
        )
        seeds = torch.tensor([sample_seeds(item_seed(seed, n), 0, samples) for n in range(mixtures)])
        drawn = engine.sample(torch.from_numpy(mixture)[:, None].float(), seeds)
        each = drawn[:, :, :, 0].transpose(0, 1).double().numpy()
        rows[name] = {"evaluations": engine.evaluations, **compared(each, truth, signals)}
        print(name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)
    return {
        "format": 1,
        "kind": "levy-posterior",
        "mixtures": mixtures,
        "samples": samples,
        "sweeps": sweeps,
        "denoiser_sweeps": denoiser_sweeps,
        "seed": seed,
        "rows": rows,
    }


def main() -> None:
    """Measure all samplers and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mixtures", type=int, default=16)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--sweeps", type=int, default=2000)
    parser.add_argument("--denoiser-sweeps", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    report = measure(
        options.mixtures,
        options.samples,
        options.sweeps,
        options.denoiser_sweeps,
        options.seed,
        tuple(SAMPLERS),
    )
    options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
