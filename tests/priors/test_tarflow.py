"""Autoregressive transformer flows: inverse, Jacobian, order, the noise that is known, reach and sampling."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sepcli.priors.causal import CausalTransformer
from sepcli.priors.tarflow import TarFlow, with_level

SHAPES = {"audio": (1, 1, 24), "two channels": (1, 2, 16), "images": (1, 1, 8, 8), "colors": (1, 3, 4, 8)}


def flow(channels: int = 1, patch: tuple[int, ...] = (4,), shaken: float = 0.2, **changes: Any) -> TarFlow:
    fields: dict[str, Any] = {"width": 8, "depths": (2, 1), "heads": 2, "embedding": 3, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = TarFlow(channels, patch, **fields)
        for parameter in made.parameters():
            parameter.data += shaken * torch.randn(parameter.shape)
    made.mean.fill_(0.2)
    made.std.fill_(0.5)
    return made.double().eval().requires_grad_(False)


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def context(count: int, noise: float = 0.3) -> Tensor:
    return with_level(torch.full((count,), noise).double(), draw(1, 3, seed=5).expand(count, -1))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("reach", [0, 2])
def test_inverse_and_log_determinant(name: str, reach: int) -> None:
    shape = SHAPES[name]
    patch = (4,) if len(shape) == 3 else (2, 2)
    positions = 0 if len(shape) == 3 else math.prod(shape[2:]) // 4
    p, x = flow(shape[1], patch, reach=reach, positions=positions), draw(*shape)
    latents, log_det = p(x, context(1))
    torch.testing.assert_close(p.inverse(latents, context(1), x), x, atol=1e-8, rtol=1e-8)
    rows = torch.autograd.functional.jacobian(
        lambda row: p(row.view(shape), context(1))[0].flatten(), x.flatten()
    )
    assert float(torch.linalg.slogdet(rows)[1]) == pytest.approx(float(log_det), abs=1e-8)
    assert abs(float(log_det)) > 0.1


def test_a_value_is_predicted_from_what_comes_before_it() -> None:
    """One block: the Jacobian is triangular in the order of the samples, and everything before matters."""
    p, x = flow(depths=(2,)), draw(1, 1, 16)
    rows = torch.autograd.functional.jacobian(
        lambda row: p(row.view(1, 1, -1), context(1))[0].flatten(), x[0, 0]
    )
    assert torch.equal(rows, rows.tril())
    below = rows[torch.tril_indices(16, 16, -1).unbind()]
    assert bool((below.abs() > 1e-9).all())


def test_nothing_is_known_better_than_the_noise_allows() -> None:
    p, x = flow(depths=(2,), shaken=3.0), draw(5, 1, 24)
    for noise in (1e-3, 0.1, 2.0):
        _, log_det = p(x, context(5, noise))
        assert bool((log_det <= -24 * math.log(noise) + 1e-6).all())


def test_white_data_of_known_units_at_first() -> None:
    """Fresh weights: a Gaussian with the data's mean and variance, beside the noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        p = TarFlow(1, (4,), width=8, depths=(1, 1), heads=2, embedding=3).double().requires_grad_(False)
    noise, clean = 0.3, 0.7 + 0.5 * draw(200, 1, 64, seed=2)
    noisy = clean + noise * draw(200, 1, 64, seed=3)
    p.initialize(noisy, context(200, noise))
    normal = torch.distributions.Normal(float(p.mean), math.hypot(float(p.std), noise))
    assert (float(p.mean), float(p.std)) == (pytest.approx(0.7, abs=0.02), pytest.approx(0.5, rel=0.02))
    torch.testing.assert_close(
        p.log_prob(noisy, context(200, noise)), normal.log_prob(noisy).flatten(1).sum(1)
    )


def test_its_density_integrates_to_one() -> None:
    p = flow(patch=(1,), shaken=0.3, depths=(1, 1, 1))
    side, count = 14.0, 281
    grid = torch.linspace(-side, side, count, dtype=torch.float64)
    pairs = torch.cartesian_prod(grid, grid).view(-1, 1, 2)
    total = float(p.log_prob(pairs, context(len(pairs))).exp().sum()) * (2 * side / (count - 1)) ** 2
    assert total == pytest.approx(1.0, abs=5e-3)


def test_samples_have_normal_latents() -> None:
    p, rng = flow(), torch.Generator().manual_seed(0)
    samples = p.sample(torch.zeros(200, 1, 32).double(), context(200), rng, 1.0)
    latents = p(samples, context(200))[0]
    assert float(latents.mean()) == pytest.approx(0.0, abs=0.04)
    assert float(latents.std()) == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("reach", [0, 3])
def test_one_by_one_is_as_all_at_once_and_blind_to_the_future(reach: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = CausalTransformer(8, 2, 2, reach).double().requires_grad_(False)
    x, caches = draw(3, 9, 8), net.caches()
    whole = net(x)
    each = torch.cat([net.step(x[:, n : n + 1], n, caches) for n in range(9)], dim=1)
    torch.testing.assert_close(each, whole, atol=1e-9, rtol=1e-9)
    changed = x.clone()
    changed[:, 5, 0] += 1.0
    moved = (net(changed) - whole).abs().amax(dim=(0, 2)) > 1e-12
    expected = [n >= 5 and (not reach or n < 5 + 2 * (reach - 1) + 1) for n in range(9)]
    assert moved.tolist() == expected
