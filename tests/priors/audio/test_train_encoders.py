"""Encoders trained on mixtures alone find the posterior where it is known, and say what they learnt from."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_waves import make_flow

from sepcli.priors.audio.encoders import PRESETS, Encoders, EncodersConfig
from sepcli.priors.audio.load_encoders import posterior
from sepcli.priors.audio.load_flows import load_wave_flow
from sepcli.priors.audio.train_encoders import bound
from sepcli.priors.noise import noise_seeds

WEIGHTS = (1.0, 0.5)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_white_sources_get_wieners_gain(tmp_path: Path, noise: float) -> None:
    """The priors are white noise of standard deviations 0.5 and 0.25 whatever σ, and none is seen."""
    stds = (0.5, 0.25)
    flows = [load_wave_flow(Path(make_flow(tmp_path / f"p{std}", "p", std=std))) for std in stds]
    power = sum((w * s) ** 2 for w, s in zip(WEIGHTS, stds, strict=True)) + noise**2
    sizes = {**PRESETS["tiny"], "squeezes": 0, "layers": 1, "noise": 0.2, "noise_max": 0.2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoders = Encoders(EncodersConfig(WEIGHTS, **sizes, mixture_noise=noise))
    rng, optimizer = np.random.default_rng(0), torch.optim.Adam(encoders.parameters(), 0.03)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, 150)
    for _ in range(150):
        mixtures = torch.from_numpy(rng.normal(0.0, power**0.5, (8, 32))).float()
        loss = -bound(encoders, flows, mixtures, 0.2, noise_seeds(len(mixtures), rng)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    mixture = torch.from_numpy(rng.normal(0.0, power**0.5, (1, 1, 4096))).float()
    with torch.no_grad():
        found = posterior(encoders, mixture).expected()
        nats = float(bound(encoders, flows, mixture[:, 0], 0.2, noise_seeds(len(mixture), rng)))
    measured = (found[0, :, 0] * mixture[0]).mean(-1) / mixture.square().mean()
    gains = torch.tensor([w * s**2 / power for w, s in zip(WEIGHTS, stds, strict=True)])
    torch.testing.assert_close(measured, gains, atol=0.06, rtol=0)
    evidence = -0.5 * (float(mixture.square().mean()) / power + math.log(2 * math.pi * power))
    assert evidence - (0.05 if noise == 0 else 0.3) < nats < evidence + 0.01
