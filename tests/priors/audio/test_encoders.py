"""Encoders of mixtures: where they begin, what they are told, independence of items, and bad sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sepcli.priors.audio.encoders import MAX_LOG_RATIO, PRESETS, Encoders, EncodersConfig

WEIGHTS = (0.5, -1.0, 0.25)


def encoders(shaken: float = 0.0) -> Encoders:
    """Encoders as they begin, or with all parameters moved."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Encoders(EncodersConfig(WEIGHTS, **PRESETS["tiny"]))
        for parameter in made.parameters():
            parameter.data += shaken * torch.randn(parameter.shape)
    return made.requires_grad_(False)


def mixtures(count: int, length: int = 32) -> Tensor:
    return torch.randn(count, 1, length, generator=torch.Generator().manual_seed(1))


def test_they_begin_as_shares_of_the_mixture() -> None:
    m = mixtures(2)
    mean, std = encoders()(m, torch.tensor(0.3))
    assert mean.shape == std.shape == (2, 3, 1, 32)
    for k, weight in enumerate(WEIGHTS):
        torch.testing.assert_close(mean[:, k], m / (3 * weight))
    torch.testing.assert_close(std, torch.full_like(std, 0.3))


def test_each_source_and_noise_has_its_own_answer() -> None:
    made, m = encoders(0.3), mixtures(3)
    mean, std = made(m, torch.tensor(0.3))
    finer, narrower = made(m, torch.tensor(0.03))
    added = mean - torch.stack([m / (3 * weight) for weight in WEIGHTS], dim=1)
    assert float((added[:, 0] - added[:, 1]).abs().max()) > 0.01
    assert float((mean - finer).abs().max()) > 0.01
    assert bool((narrower < std).any())
    assert bool(((std / 0.3).log().abs() <= MAX_LOG_RATIO + 1e-5).all())
    alone, _ = made(m[1:2], torch.tensor(0.3))
    torch.testing.assert_close(alone, mean[1:2], atol=1e-5, rtol=1e-4)


def test_samples_stay_in_their_order() -> None:
    """A change at one place is answered there, and nowhere beyond the reach of the networks."""
    made, m = encoders(0.3), mixtures(1, 256)
    moved = m.clone()
    moved[..., 101] += 1.0
    before, after = (made(x, torch.tensor(0.1))[1][0, 0, 0] for x in (m, moved))
    changed = (before != after).nonzero().flatten()
    reach = 4 * (1 + 2 + 1)  # squeezed by 4; layers look 1 and 2 places far
    assert len(changed) > 0
    assert changed.min() > 101 - reach
    assert changed.max() < 101 + reach


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": (1.0,)},
        {"weights": (1.0, 0.0)},
        {"weights": (1.0, float("nan"))},
        {"squeezes": 13},
        {"layers": 99},
        {"width": 0},
        {"noise": 0.0},
        {"noise": 0.6},
        {"mixture_noise": -0.1},
    ],
)
def test_bad_sizes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="encoders"):
        EncodersConfig(**{"weights": WEIGHTS, **changes})
