"""Nearest codes, gradients that pass through, a codebook that follows, codes that come back to life."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcli.priors.lass.quantizer import VectorQuantizer, perplexity


def latents(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), length=st.floats(0.01, 100))
def test_the_nearest_code_is_that_of_brute_force(seed: int, length: float) -> None:
    quantizer = VectorQuantizer(17, 5)
    h = length * latents(3, 7, 5, seed=seed)
    distance = (F.normalize(h, dim=-1)[..., None, :] - quantizer.codebook).square().sum(-1)
    tokens = quantizer.nearest(h)
    assert tokens.shape == (3, 7)
    torch.testing.assert_close(distance.gather(-1, tokens[..., None])[..., 0], distance.amin(-1))


def test_codes_that_lie_near_each_other_are_told_apart_under_autocast() -> None:
    quantizer = VectorQuantizer(512, 16)
    quantizer.codebook.copy_(F.normalize(quantizer.codebook[:1] + 0.02 * quantizer.codebook, dim=-1))
    h = quantizer.codebook + 0.001 * latents(512, 16)
    tokens = quantizer.nearest(h)
    assert len(tokens.unique()) > 400
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.nearest(h), tokens)


def test_codes_are_unit_vectors_that_are_their_own_tokens() -> None:
    quantizer = VectorQuantizer(17, 5)
    tokens = torch.arange(17)
    codes = quantizer.lookup(tokens)
    torch.testing.assert_close(codes.norm(dim=-1), torch.ones(17))
    assert torch.equal(quantizer.nearest(codes), tokens)


def test_the_gradient_passes_straight_through() -> None:
    quantizer = VectorQuantizer(8, 3)
    h = F.normalize(latents(5, 3), dim=-1).requires_grad_()
    codes, tokens, commitment = quantizer(h)
    torch.testing.assert_close(codes.detach(), quantizer.lookup(tokens))
    goal = latents(5, 3, seed=1)
    (given,) = torch.autograd.grad((codes * goal).sum(), h, retain_graph=True)
    unit = F.normalize(h, dim=-1)
    (expected,) = torch.autograd.grad((unit * goal).sum(), h)
    torch.testing.assert_close(given, expected)
    assert commitment.item() == pytest.approx(
        (h.detach() - quantizer.lookup(tokens)).square().sum(-1).mean().item(), rel=1e-5
    )
    (pull,) = torch.autograd.grad(commitment, h)
    nearer = quantizer(h.detach() - 0.1 * pull)[2]
    assert nearer < commitment


def test_the_codebook_moves_towards_the_data() -> None:
    quantizer, rng = VectorQuantizer(2, 2, decay=0.9), torch.Generator().manual_seed(0)
    data = F.normalize(torch.tensor([[1.0, 0.2], [1.0, -0.2], [-0.2, -1.0], [0.2, -1.0]]), dim=-1)
    quantizer.codebook.copy_(F.normalize(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), dim=-1))
    quantizer.sums.copy_(quantizer.codebook)
    quantizer.usage.fill_(1.0)
    distances = []
    for _ in range(100):
        distances.append(float(quantizer(data)[2]))
        quantizer.follow(data, quantizer.nearest(data), rng)
    assert distances[-1] < 0.1 * distances[0]
    found = quantizer.codebook[quantizer.codebook[:, 0].argsort(descending=True)]
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0], [0.0, -1.0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(quantizer.usage, torch.tensor([2.0, 2.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(quantizer.codebook.norm(dim=-1), torch.ones(2))


def test_dead_codes_become_latents_of_the_batch_and_live() -> None:
    quantizer, rng = VectorQuantizer(16, 4), torch.Generator().manual_seed(0)
    data = torch.tensor([1.0, 0.0, 0.0, 0.0]) + 0.2 * latents(200, 4)
    unused = torch.bincount(quantizer.nearest(data), minlength=16) == 0
    assert int(unused.sum()) > 8
    quantizer.follow(data, quantizer.nearest(data), rng)
    closest = (quantizer.codebook @ F.normalize(data, dim=-1).T).amax(-1)
    torch.testing.assert_close(closest[unused], torch.ones(int(unused.sum())))
    for _ in range(30):
        quantizer.follow(data, quantizer.nearest(data), rng)
    assert perplexity(quantizer.nearest(data), 16) > 8


def test_codes_in_use_are_left_to_the_average() -> None:
    quantizer, rng = VectorQuantizer(2, 2), torch.Generator().manual_seed(0)
    quantizer.codebook.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    quantizer.sums.copy_(quantizer.codebook)
    quantizer.usage.fill_(1.0)
    data = torch.tensor([[1.0, 0.0]])
    quantizer.follow(data, quantizer.nearest(data), rng)
    torch.testing.assert_close(quantizer.codebook, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))


def test_the_same_generator_revives_the_same_codes() -> None:
    one, two = VectorQuantizer(16, 4), VectorQuantizer(16, 4)
    assert torch.equal(one.codebook, two.codebook)
    for quantizer in (one, two):
        data = latents(50, 4)
        quantizer.follow(data, quantizer.nearest(data), torch.Generator().manual_seed(3))
    assert torch.equal(one.codebook, two.codebook)


@pytest.mark.parametrize("codes", [1, 2, 37])
def test_perplexity_has_closed_forms(codes: int) -> None:
    assert perplexity(torch.arange(codes).repeat(3, 5), 40) == pytest.approx(codes)
    assert perplexity(torch.full((4, 9), codes), 40) == pytest.approx(1)


def test_perplexity_of_unequal_use() -> None:
    p = torch.tensor([0.5, 0.25, 0.25])
    assert perplexity(torch.tensor([0, 0, 1, 2]), 3) == pytest.approx(float((-(p * p.log()).sum()).exp()))
