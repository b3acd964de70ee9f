"""Refinement against closed forms: decoders that are linear, mixtures that can be made exactly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.samplers.refinement import Refinement
from sepcli.signal.mixing import WeightedSum

MIXING = WeightedSum((1.0, 1.0))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def decode(latents: Tensor) -> Tensor:
    """(R, L, D) to (R, 1, L, D): the latents are the image."""
    return latents[:, None]


def test_a_mixture_that_can_be_made_is_made() -> None:
    start, mixture = noise(3, 2, 4, 5), noise(3, 1, 4, 5, seed=1)
    found = Refinement(300, 0.05)(start, decode, MIXING, mixture)
    torch.testing.assert_close(MIXING(found), mixture, atol=1e-3, rtol=0)
    # Adam moves both sources alike, for their gradients are the same: the difference stays
    torch.testing.assert_close(found[:, 0] - found[:, 1], decode(start[:, 0] - start[:, 1]))


def test_a_step_is_adams() -> None:
    """The first goes as far as the rate, against the slope; the second as torch's own."""
    start, mixture = noise(2, 2, 4, 5), noise(2, 1, 4, 5, seed=1)
    slope = (MIXING(decode(start.flatten(0, 1)).view(2, 2, 1, 4, 5)) - mixture).sign()
    found = Refinement(1, 0.01)(start, decode, MIXING, mixture)
    torch.testing.assert_close(found, start[:, :, None] - 0.01 * slope[:, None], atol=1e-6, rtol=0)
    latents = start.clone().requires_grad_()
    theirs = torch.optim.Adam([latents], lr=0.01)
    for _ in range(9):
        theirs.zero_grad()
        (mixture - MIXING(latents[:, :, None])).square().sum().backward()
        theirs.step()
    found = Refinement(9, 0.01)(start, decode, MIXING, mixture)
    torch.testing.assert_close(found[:, :, 0], latents.detach(), atol=1e-5, rtol=0)


def test_without_steps_latents_are_decoded() -> None:
    start = noise(2, 2, 3, 4)
    assert torch.equal(Refinement(0)(start, decode, MIXING, noise(2, 1, 3, 4)), start[:, :, None])


def test_it_never_gets_worse_whatever_the_rate() -> None:
    start, mixture = noise(4, 2, 3, 4), noise(4, 1, 3, 4, seed=1)
    refined = Refinement(5, 1e3)(start, decode, MIXING, mixture)
    left = [(mixture - MIXING(s)).square().flatten(1).sum(1) for s in (start[:, :, None], refined)]
    assert bool((left[1] <= left[0]).all())


def test_items_do_not_see_each_other_and_nothing_is_changed() -> None:
    start, mixture, steps = noise(3, 2, 3, 4), noise(3, 1, 3, 4, seed=1), []
    before = start.clone()
    refine = Refinement(20)
    with torch.inference_mode():  # whoever calls it
        found = refine(start, decode, MIXING, mixture, lambda done, of: steps.append((done, of)))
    assert torch.equal(start, before)
    assert not found.requires_grad
    assert steps == [(n, 20) for n in range(1, 21)]
    torch.testing.assert_close(found[1:2], refine(start[1:2], decode, MIXING, mixture[1:2]))


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"rate": 0.0}, {"rate": float("nan")}])
def test_numbers_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Refinement(**wrong)  # type: ignore[arg-type]
