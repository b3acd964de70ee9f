"""Calibration accepts exact samples and rejects samples that are too narrow, too wide or biased."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.evaluation.calibration import binned, calibration, uniform_p

MIXTURES, SAMPLES = 400, 19


def gaussian(width: float = 1.0, bias: float = 0.0, seed: int = 0, pixels: int = 6) -> tuple[Tensor, Tensor]:
    """Truths of N(0, 1) pixels with their sum known, and samples of their posterior, scaled and shifted."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(MIXTURES, 2, 1, pixels, generator=g)
    half = x.mean(1, keepdim=True)
    z = torch.randn(MIXTURES, SAMPLES, 1, 1, pixels, generator=g) * 0.5**0.5
    free = width * z + bias
    return x, torch.cat([half[:, None] + free, half[:, None] - free], dim=2)


@pytest.mark.parametrize("seed", range(3))
def test_exact_samples_are_accepted(seed: int) -> None:
    result = calibration(*gaussian(seed=seed))
    assert result.p_value > 0.05
    assert result.nominal == pytest.approx(0.9)
    assert result.covered == pytest.approx(0.9, abs=0.015)
    assert result.error_ratio == pytest.approx(1.0, abs=0.05)
    assert (result.mixtures, result.samples) == (MIXTURES, SAMPLES)


@pytest.mark.parametrize(
    ("wrong", "covered", "deviations"),
    [({"width": 0.67}, 0.75, 2.15), ({"width": 1.5}, 0.98, 0.46), ({"bias": 0.4}, 0.84, 1.3)],
)
def test_wrong_samples_are_rejected(wrong: dict[str, float], covered: float, deviations: float) -> None:
    result = calibration(*gaussian(**wrong))
    assert result.p_value < 1e-3
    assert result.covered == pytest.approx(covered, abs=0.03)
    assert result.error_ratio == pytest.approx(deviations, abs=0.12)


def test_narrow_samples_leave_the_truth_at_both_ends() -> None:
    counts = calibration(*gaussian(width=0.5)).histogram("projection of a difference")
    assert counts.sum() == MIXTURES
    assert min(counts[0], counts[-1]) > 2 * counts[1:-1].mean()


def test_a_wrong_correlation_is_seen_by_tarp() -> None:
    """Every value has the right distribution, but all values of a sample move together."""
    truth, samples = gaussian(pixels=40)
    free = samples[:, :, :1, :, :1] - samples[:, :, :1].mean((1, 4), keepdim=True)
    half = truth.mean(1, keepdim=True)[:, None]
    together = torch.cat([half + free, half - free], dim=2)
    assert calibration(truth, together).p_values()["tarp"] < 1e-3


def test_ties_are_random() -> None:
    truth, samples = torch.zeros(MIXTURES, 2, 1, 3), torch.zeros(MIXTURES, SAMPLES, 2, 1, 3)
    truth[0], samples[0] = 1.0, torch.rand(SAMPLES, 2, 1, 3)
    assert calibration(truth, samples).p_values()["power of a source"] > 0.01


def test_bins_divide_the_ranks() -> None:
    assert len(binned(range(20), 19)) == 10
    assert len(binned(range(10), 9)) == 10
    assert len(binned(range(9), 8)) == 9
    assert uniform_p(list(range(20)) * 10, 19) == pytest.approx(1.0)
    assert uniform_p([0] * 100, 19) < 1e-9


def test_too_few_say_nothing() -> None:
    with pytest.raises(UsageError):
        calibration(torch.zeros(5, 2, 1, 3), torch.zeros(5, 9, 2, 1, 3))


def test_the_document_is_complete() -> None:
    document = calibration(*gaussian(), about={"prior": "exact"}).as_dict()
    assert document["kind"] == "calibration"
    assert np.allclose(document["tarp"]["coverage"], document["tarp"]["levels"], atol=0.1)
    assert all(sum(counts) == MIXTURES for counts in document["histograms"].values())
    assert document["about"] == {"prior": "exact"}
