"""The prior of a network of diffusers against the library's own scheduler steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepcli.errors import PriorError
from sepcli.priors.images.diffusers import DiffusionUnetConfig, DiffusionUnetPrior

pytest.importorskip("diffusers", exc_type=(ImportError, AttributeError))  # or another torch

from diffusers import DDPMScheduler, ScoreSdeVeScheduler
from tiny_unet import exploding_unet, tiny_unet


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def levels(scheduler: DDPMScheduler) -> tuple[float, ...]:
    kept = (1.0 - scheduler.betas.double()).cumprod(0)
    return tuple(((1.0 - kept) / kept).sqrt().tolist())


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_clean_image_is_the_scheduler_s(schedule: str, prediction: str) -> None:
    scheduler = DDPMScheduler(beta_schedule=schedule, prediction_type=prediction, clip_sample=False)
    unet, sigmas = tiny_unet(), levels(scheduler)
    prior = DiffusionUnetPrior(DiffusionUnetConfig(3, (8, 8), sigmas, prediction, multiple=2), unet)
    for t in (3, 200, 700):
        x_t, root = noise(2, 3, 8, 8), (1 + sigmas[t] ** 2) ** 0.5
        expected = scheduler.step(unet(x_t, t).sample, t, x_t).pred_original_sample
        x, sigma = (x_t * root + 1) / 2, torch.tensor(sigmas[t] / 2)
        clean = x + sigma**2 * prior.score(x[None], sigma)[0]
        torch.testing.assert_close(2 * clean - 1, expected, rtol=1e-3, atol=1e-3 * root)


def test_the_score_is_the_one_of_the_library_s_variance_exploding_steps() -> None:
    scheduler, unet = ScoreSdeVeScheduler(sigma_max=380.0), exploding_unet()
    scheduler.set_timesteps(50)
    scheduler.set_sigmas(50)
    prior = DiffusionUnetPrior(DiffusionUnetConfig(3, (8, 8), (0.01, 380.0), "score", multiple=2), unet)
    for step in (0, 25, 45):
        sigma, x = scheduler.sigmas[step], 0.5 + scheduler.sigmas[step] * noise(2, 3, 8, 8)
        actual = prior.score(x[None], sigma)[0]
        t = scheduler.timesteps[step]
        answer = unet(x, sigma * torch.ones(2)).sample
        expected = scheduler.step_pred(answer, t, x, generator=torch.Generator().manual_seed(0))
        moved = scheduler.step_pred(actual, t, x, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(moved.prev_sample_mean, expected.prev_sample_mean)
        torch.testing.assert_close(actual, answer)
        assert float(sigma * actual.std()) > 1e-3  # it says something


def test_the_network_s_time_is_not_rounded() -> None:
    unet, x = tiny_unet(), noise(1, 3, 8, 8)
    at = [unet(x, torch.tensor([t])).sample for t in (400.0, 400.5, 401.0)]
    ends = float((at[2] - at[0]).norm())
    assert 0 < float((at[1] - at[0]).norm()) < ends
    torch.testing.assert_close(at[1], (at[0] + at[2]) / 2, rtol=0.0, atol=0.2 * ends)


def test_a_network_with_classes_is_told_one() -> None:
    config = DiffusionUnetConfig(3, (8, 8), (0.01, 1.0, 100.0), multiple=2, classes=("0", "1"))
    prior, x = DiffusionUnetPrior(config, tiny_unet(num_class_embeds=2)), noise(1, 2, 3, 8, 8)
    sigma = torch.tensor(0.5)
    assert not torch.equal(prior.score(x, sigma, 0), prior.score(x, sigma, 1))
    with pytest.raises(PriorError, match=r"\b2\b"):
        prior.score(x, sigma)


def test_an_item_alone_is_scored_as_in_a_batch_and_autocast_changes_nothing() -> None:
    config = DiffusionUnetConfig(3, (8, 8), (0.01, 1.0, 100.0), multiple=2)
    prior, x, sigma = DiffusionUnetPrior(config, tiny_unet()), noise(3, 2, 3, 8, 8), torch.tensor(0.5)
    every = prior.score(x, sigma)
    torch.testing.assert_close(every[1:2], prior.score(x[1:2], sigma))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(prior.score(x, sigma), every)
