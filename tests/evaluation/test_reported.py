"""Reported standard deviations and confidence, of exact samples and of wrong ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sepcli.evaluation.reported import Confidence, confidence_of, within_deviation

MIXTURES, SAMPLES, PER_SECOND = 60, 9, 8.0


def recordings(width: float = 1.0, bias: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three seconds of two sources of N(0, 1), and samples given their sum, scaled and shifted."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(MIXTURES, 2, 1, 16, 24, generator=g)
    half = x.mean(1, keepdim=True)
    z = torch.randn(MIXTURES, SAMPLES, 1, 1, 16, 24, generator=g) * 0.5**0.5
    free = width * z + bias
    return x, torch.cat([half[:, None] + free, half[:, None] - free], dim=2)


def confidence(truths: Tensor, samples: Tensor, per_second: float = PER_SECOND) -> Confidence:
    found = confidence_of(truths, samples, per_second)
    assert found is not None
    return found


def test_exact_samples_have_the_confidence_that_they_attain() -> None:
    truths, samples = recordings()
    found = confidence(truths, samples)
    assert found.values == MIXTURES * 2 * 3
    # power 1/2 of the half and 1/2 of the posterior, variance 1/2
    assert found.reported == pytest.approx(10 * math.log10(2), abs=0.1)
    assert found.excess == pytest.approx(0.0, abs=0.15)
    assert found.nominal == pytest.approx(0.9)
    assert found.covered == pytest.approx(0.9, abs=0.05)
    assert within_deviation(truths, samples, torch.ones_like(truths).bool()) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(
    ("width", "bias", "least", "most"), [(0.5, 0.0, 0.0, 0.05), (2.0, 0.0, 0.99, 1.0), (1.0, 1.0, 0.0, 0.05)]
)
def test_wrong_samples_are_seen(width: float, bias: float, least: float, most: float) -> None:
    """The mean's squared error is (1 + w²/S)/2 + b² instead of (1 + 1/S) times the variance w²/2."""
    found = confidence(*recordings(width, bias))
    error, variance = 0.5 * (1 + width**2 / SAMPLES) + bias**2, 0.5 * width**2
    excess = 10 * math.log10(error / ((1 + 1 / SAMPLES) * variance))
    assert abs(excess) > 4.0
    assert found.excess == pytest.approx(excess, abs=0.2)
    assert least <= found.covered <= most


@pytest.mark.parametrize(("width", "covered"), [(0.5, 0.62), (2.0, 0.99)])
def test_a_wrong_deviation_covers_another_share(width: float, covered: float) -> None:
    truths, samples = recordings(width=width)
    share = within_deviation(truths, samples, torch.ones_like(truths).bool())
    assert share == pytest.approx(covered, abs=0.03)


def test_seconds_are_groups_of_the_last_axis_and_silence_is_left_out() -> None:
    truths, samples = recordings()
    truths[:, 0, ..., 8:16], samples[:, :, 0, ..., 8:16] = 0.0, 0.0
    assert confidence(truths, samples).values == MIXTURES * 5
    assert confidence(truths, samples, 100.0).values == MIXTURES * 2
    assert confidence_of(torch.zeros_like(truths), torch.zeros_like(samples), PER_SECOND) is None
    certain = confidence(truths, truths[:, None].expand(-1, SAMPLES, -1, -1, -1, -1))
    assert (certain.reported, certain.attained, certain.excess) == (60.0, 60.0, 0.0)


def test_the_confidence_is_that_of_results() -> None:
    """The same samples, counted window by window as for a result."""
    from sepcli.separation.spread import SampleTally

    g = torch.Generator().manual_seed(4)
    truth, samples = torch.randn(2, 24, generator=g), torch.randn(SAMPLES, 2, 24, generator=g)
    tally = SampleTally(SAMPLES, 2, 3.0, 8)
    tally.add(0.0, truth.sum(0).double(), samples.double(), None)
    reported = sorted(value for row in tally.report().confidence for value in row if value is not None)
    found = confidence(truth[None, :, None], samples[None, :, :, None], 8.0)
    assert found.reported == pytest.approx(reported[(len(reported) - 1) // 2], abs=0.051)


def test_confidence_and_error_are_in_one_order_where_mixtures_differ_in_how_sure_they_are() -> None:
    g = torch.Generator().manual_seed(1)
    scale = torch.logspace(-2, 0, MIXTURES).view(-1, 1, 1, 1, 1)
    certain = torch.randn(MIXTURES, 2, 1, 16, 24, generator=g)
    draws = scale[:, None] * torch.randn(MIXTURES, SAMPLES + 1, 2, 1, 16, 24, generator=g)
    truths, samples = certain + draws[:, 0], certain[:, None] + draws[:, 1:]
    assert confidence(truths, samples).rank_correlation > 0.98
    assert confidence(*recordings()).rank_correlation < 0.5  # not 0: both have the power above
    shuffled = certain[:, None] + draws[:, 1:].flip(0)  # sure where it should not be
    assert confidence(truths, shuffled).rank_correlation < 0.2
