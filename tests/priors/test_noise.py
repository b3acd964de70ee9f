"""Noise of items: by their seeds alone."""

from __future__ import annotations

import numpy as np
import torch

from sepcli.priors.noise import noise_rows, noise_seeds


def test_noise_of_an_item_depends_on_its_seed_only() -> None:
    x, seeds = torch.zeros(6, 500, 4), noise_seeds(6, np.random.default_rng(0))
    whole = noise_rows(x, seeds)
    assert torch.equal(torch.cat([noise_rows(x[:2], seeds[:2]), noise_rows(x[2:], seeds[2:])]), whole)
    assert len({float(row[0, 0]) for row in whole}) == 6
    assert abs(float(whole.mean())) < 0.05
    assert abs(float(whole.std()) - 1.0) < 0.05
    uniform = noise_rows(x.double(), seeds, torch.rand)
    assert uniform.dtype == torch.float64
    assert 0.0 <= float(uniform.min()) < 0.01 < 0.99 < float(uniform.max()) < 1.0
