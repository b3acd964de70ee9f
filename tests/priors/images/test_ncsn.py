"""The score network: its normalization, shapes, ladder and training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sepcli.errors import InputError, PriorError
from sepcli.priors.images.independent import ClassPrior
from sepcli.priors.images.ncsn import NcsnConfig, NcsnPrior
from sepcli.priors.images.refinenet import InstanceNormPlus
from sepcli.separation.independent import IndependentPriors

TINY = NcsnConfig(width=4)


def prior(config: NcsnConfig = TINY) -> NcsnPrior:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NcsnPrior(config).eval().requires_grad_(False)


def image_set(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class ExactGaussian(nn.Module):
    """The score of white Gaussian images seen through the noise of a level, times a factor."""

    def __init__(self, sigmas: Tensor, mean: float, std: float, factor: float = 1.0) -> None:
        super().__init__()
        self.sigmas, self.mean, self.std, self.factor = sigmas, mean, std, factor

    def forward(self, shown: Tensor, rows: Tensor) -> Tensor:
        variance = self.sigmas[rows][:, None, None, None] ** 2 + self.std**2
        return -self.factor * ((shown + 1) / 2 - self.mean) / variance


def test_the_normalization_is_its_formula() -> None:
    channels, norm, x = 5, InstanceNormPlus(5, 3), 2 + 3 * image_set(2, 5, 6, 7).numpy()
    norm.embed.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    actual = norm(torch.from_numpy(x), torch.tensor([2, 0])).detach().numpy()
    for item, row in ((0, 2), (1, 0)):
        gamma, alpha, beta = norm.embed.weight.detach().numpy()[row].reshape(3, channels)
        means = x[item].mean((1, 2))
        for c in range(channels):
            z = (x[item, c] - means[c]) / np.sqrt(x[item, c].var() + 1e-5)
            m = (means[c] - means.mean()) / np.sqrt(means.var(ddof=1) + 1e-5)
            assert np.allclose(actual[item, c], gamma[c] * (z + alpha[c] * m) + beta[c], atol=1e-4)


@pytest.mark.parametrize("size", [(28, 28), (5, 9), (1, 1), (16, 6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_channels(size: tuple[int, int], channels: int) -> None:
    x = image_set(1, 2, channels, *size)
    score = prior(replace(TINY, channels=channels)).score(x.double(), torch.tensor(0.3))
    assert score.shape == x.shape
    assert score.dtype == torch.float64
    assert torch.isfinite(score).all()


def test_the_ladder_is_the_paper_s() -> None:
    schedule = [1.0, 0.59948425, 0.35938137, 0.21544347, 0.12915497]
    schedule += [0.07742637, 0.04641589, 0.02782559, 0.01668101, 0.01]
    assert prior().sigmas.tolist() == pytest.approx(schedule, rel=1e-5)
    assert prior().net.norm.embed.weight.shape == (10, 12)


def test_off_the_ladder_the_nearest_level_is_rescaled() -> None:
    p, x = prior(), image_set(2, 3, 1, 8, 8)
    for level, sigma in ((0, 1.0), (0, 0.78), (1, 0.77), (9, 0.01), (9, 0.002), (0, 4.0)):
        own = p(x.flatten(0, 1), torch.full((6,), level)).view_as(x)
        actual = p.score(x, torch.tensor(sigma))
        assert torch.allclose(actual * sigma, own * p.sigmas[level], rtol=1e-4, atol=1e-6)


def test_an_item_does_not_depend_on_its_batch_or_place() -> None:
    p, x, sigma = prior(), image_set(3, 2, 1, 12, 12), torch.tensor(0.4)
    together = p.score(x, sigma)
    assert torch.allclose(p.score(x[1:2], sigma), together[1:2], atol=1e-4)
    assert torch.allclose(p.score(x.flip(1), sigma), together.flip(1), atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_every_class_has_a_row_for_every_level() -> None:
    p = prior(replace(TINY, classes=("0-4", "5-9")))
    x, sigma = image_set(2, 3, 1, 8, 8), torch.tensor(0.4)
    first, second, either = p.score(x, sigma, 0), p.score(x, sigma, 1), p.score(x, sigma)
    assert not torch.allclose(first, second, atol=1e-3)
    assert torch.equal(either, p.score(x, sigma, 2))
    low, high = ClassPrior(p, 0), ClassPrior(p, 1)
    expected = torch.cat([first[:, :2], second[:, 2:]], dim=1)
    assert torch.allclose(IndependentPriors((low, low, high)).score(x, sigma), expected, atol=1e-4)


def test_the_exact_score_of_gaussian_images_has_the_least_loss() -> None:
    mean, std = 0.4, 0.2
    rng = torch.Generator().manual_seed(3)
    images = mean + std * torch.randn(4000, 1, 6, 6, generator=rng)
    p, losses = prior(), []
    for factor in (1.0, 0.9, 1.1):
        p.net = ExactGaussian(p.sigmas, mean, std, factor)  # type: ignore[assignment]
        loss, figures = p.loss(images, np.random.default_rng(0))
        losses.append(float(loss))
        assert figures["mse"] == pytest.approx(2 * float(loss))
    # what stays is the variance of the noise given the noisy image: s²/(s² + σ²)
    least = (0.5 * std**2 / (std**2 + p.sigmas**2)).mean()
    assert losses[0] == pytest.approx(float(least), rel=0.03)
    assert losses[0] < min(losses[1:])


def test_classes_are_withheld() -> None:
    images, zeros = image_set(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64)
    for share, same in ((1.0, True), (0.0, False)):
        p = prior(replace(TINY, classes=("0-4", "5-9"), class_dropout=share))
        first, _ = p.loss(images, np.random.default_rng(0), zeros)
        second, _ = p.loss(images, np.random.default_rng(0), zeros + 1)
        assert torch.equal(first, second) is same


def test_it_learns_a_constant_image() -> None:
    config = NcsnConfig(width=4, levels=2, sigma_min=0.3)
    p, images = prior(config).train().requires_grad_(True), torch.full((8, 1, 6, 6), 0.9)
    optimizer = torch.optim.Adam(p.parameters(), 1e-2)
    before, _ = p.loss(images, np.random.default_rng(100))
    for step in range(12):
        loss, _ = p.loss(images, np.random.default_rng(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after, _ = p.loss(images, np.random.default_rng(100))
    assert after.item() < 0.6 * before.item(), (before.item(), after.item())


def test_normalizations_stay_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert (
            InstanceNormPlus(4, 1)(image_set(2, 4, 3, 3).bfloat16(), torch.zeros(2).long()).dtype
            == torch.float32
        )
        score = prior().score(image_set(1, 2, 1, 8, 8), torch.tensor(0.5))
    assert score.dtype == torch.float32


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(3, 8, 8\)"):
        prior().score(image_set(1, 2, 3, 8, 8), torch.tensor(0.5))
    with pytest.raises(PriorError, match="variance"):
        prior().moments(image_set(1, 2, 1, 8, 8), torch.tensor(0.5))
