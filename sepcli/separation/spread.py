"""Agreement and spread of several samples of one file, accumulated window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.separation.ranking import agreement, medoid, rank

SURE = 60.0
"""dB; samples that agree better than that count as equal."""
QUIET = 1e-5
"""A stem below this fraction of the mixture's energy in the same second counts as silent (-50 dB)."""


@dataclass(frozen=True)
class SampleReport:
    """One of several samples, over the whole file, at the engine's level and rate."""

    residual_rms: float
    """Root mean square of m - Σ α_k x_k, for a mixture at the engine's reference level."""
    log_prior: float | None
    """Nats, up to a constant, summed over windows; None: the engine has no density."""
    agreement_db: float
    """10 log10 of the mean power of all samples over this one's mean squared distance to the others."""


@dataclass(frozen=True)
class SamplesReport:
    """Quality of S ≥ 2 samples."""

    reports: tuple[SampleReport, ...]
    """The best first; see ``sepcli.separation.ranking.RULE``."""
    order: tuple[int, ...]
    """Index of each of them, from 0, before they were ranked."""
    medoid: int
    """Number, from 1 for the best, of the sample with the least mean squared distance to the others."""
    confidence: tuple[tuple[float | None, ...], ...]
    """Per stem and second: 10 log10 of the mean power of the samples over their variance, in dB, at most
    ``SURE``. At 0 dB samples have nothing in common, at 20 dB a hundredth of the power is uncertain. None:
    all samples are silent there. What such confidence exceeds errors by, as measured, is subtracted."""


class SampleTally:
    """Running sums over the windows of a file, at the engine's rate: a few numbers per second, whatever S.

    Args:
        samples: S.
        stems: K.
        seconds: length of the file.
        rate: Hz, the engine's.
        excess: dB that the confidence is lowered by.
    """

    def __init__(self, samples: int, stems: int, seconds: float, rate: int, excess: float = 0.0) -> None:
        self._excess = excess
        self._rate, self._count = rate, max(1, math.ceil(seconds))
        self._gram = torch.zeros(samples, samples, dtype=torch.float64)
        self._residual = torch.zeros(samples, dtype=torch.float64)
        self._log_prior: Tensor | None = None
        self._points = 0
        self._mixture = np.zeros(self._count)
        self._power = np.zeros((stems, self._count))
        self._variance = np.zeros((stems, self._count))

    def add(self, start: float, mixture: Tensor, samples: Tensor, log_prior: Tensor | None) -> None:
        """Count a window that starts at second ``start``; where windows overlap, both are counted.

        Args:
            start: in seconds.
            mixture: (N,), as given to the engine.
            samples: (S, K, N) of stems, at their level in that mixture.
            log_prior: (S,); None: unknown.
        """
        flat = samples.flatten(1)
        self._gram += flat @ flat.T
        self._residual += (mixture - samples.sum(1)).square().sum(1)
        self._points += mixture.numel()
        if log_prior is not None:
            self._log_prior = log_prior + (0.0 if self._log_prior is None else self._log_prior)
        second = (round(start * self._rate) + np.arange(mixture.numel())) // self._rate
        self._mixture += self._per_second(second, mixture.square())
        for k, stem in enumerate(samples.unbind(1)):
            self._power[k] += self._per_second(second, stem.square().mean(0))
            self._variance[k] += self._per_second(second, stem.var(0))

    def report(self) -> SamplesReport:
        """Return the quality of the samples so far."""
        squares = self._gram.diagonal()
        apart = (squares[:, None] + squares - 2 * self._gram).clamp(min=0)
        residual = (self._residual / max(1, self._points)).sqrt()
        agreed = agreement(apart / squares.mean().clamp(min=1e-300))
        order = rank(residual, agreed, self._log_prior)
        bounds = [None] * len(order) if self._log_prior is None else self._log_prior.tolist()
        reports = tuple(SampleReport(float(residual[s]), bounds[s], float(agreed[s])) for s in order)
        return SamplesReport(reports, order, order.index(medoid(apart)) + 1, self._confidence())

    def _confidence(self) -> tuple[tuple[float | None, ...], ...]:
        least = 10 ** (-SURE / 10)
        audible = self._power > QUIET * self._mixture
        ratio = np.maximum(self._variance, least * self._power) / np.where(audible, self._power, 1.0)
        return tuple(
            tuple(
                round(-10 * math.log10(value) - self._excess, 1) + 0.0 if there else None
                for value, there in zip(values, row, strict=True)
            )
            for values, row in zip(ratio, audible, strict=True)
        )

    def _per_second(self, second: NDArray[np.int64], values: Tensor) -> NDArray[np.float64]:
        sums = np.bincount(second, weights=values.numpy(), minlength=self._count)
        return np.asarray(sums[: self._count], dtype=np.float64)
