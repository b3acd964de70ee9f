"""What every token prior obeys; a new prior is a new row of ``PRIORS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.protocols import TokenPrior

SOURCES, VOCABULARY = 2, 13


def transformer(names: tuple[str, ...] = ("a", "b")) -> TransformerPrior:
    torch.manual_seed(0)
    config = TransformerConfig(
        VOCABULARY, names, dim=16, layers=2, heads=2, head_dim=8, context=5, mlp_ratio=2
    )
    model = TransformerPrior(config).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data + 0.3 * torch.randn_like(parameter)
    return model


PRIORS: dict[str, Callable[[], TokenPrior]] = {
    "transformer": transformer,
    "twice the same": lambda: transformer(("a",)).of((0, 0)),
    "two of three": lambda: transformer(("a", "b", "c")).of((2, 0)),
}


@pytest.fixture(params=PRIORS.values(), ids=PRIORS.keys())
def prior(request: pytest.FixtureRequest) -> TokenPrior:
    with torch.random.fork_rng(devices=[]):
        made: TokenPrior = request.param()
    return made


def tokens(rows: int, length: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(2)
    return torch.randint(0, VOCABULARY, (rows, length, SOURCES), generator=g)


def follow(prior: TokenPrior, z: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """Log-probabilities (R, L + 1, K, V) before every token (R, L, K) and after the last; the state then."""
    log_prob, state = prior.step(prior.start(len(z)), None)
    path = [log_prob]
    for t in range(z.shape[1]):
        log_prob, state = prior.step(state, z[:, t])
        path.append(log_prob)
    return torch.stack(path, dim=1), state


@torch.inference_mode()
def test_probabilities_sum_to_one(prior: TokenPrior) -> None:
    found, _ = follow(prior, tokens(3, 8))
    assert found.shape == (3, 9, SOURCES, VOCABULARY)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, 9, SOURCES))


@torch.inference_mode()
def test_all_sequences_together_have_probability_one(prior: TokenPrior) -> None:
    pairs = torch.cartesian_prod(torch.arange(VOCABULARY), torch.arange(VOCABULARY))  # (V², L)
    z = pairs[:, :, None].expand(-1, -1, SOURCES)
    found, _ = follow(prior, z)
    log_prob = found[:, :-1].gather(-1, z[..., None])[..., 0].sum(1)  # (V², K)
    torch.testing.assert_close(log_prob.exp().sum(0), torch.ones(SOURCES), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_rows_start_alike_and_do_not_depend_on_each_other(prior: TokenPrior) -> None:
    z = tokens(4, 9)
    found, _ = follow(prior, z)
    torch.testing.assert_close(found[:1, 0].expand(4, -1, -1), found[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[2:3], follow(prior, z[2:3])[0], atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_a_selected_row_goes_on_like_its_parent(prior: TokenPrior) -> None:
    z, rows = tokens(3, 7), torch.tensor([1, 1, 0, 2, 1])
    _, state = follow(prior, z)
    chosen = prior.select(state, rows)
    following = tokens(5, 4)
    path = []
    for t in range(4):
        log_prob, chosen = prior.step(chosen, following[:, t])
        path.append(log_prob)
    expected, _ = follow(prior, torch.cat([z[rows], following], dim=1))
    torch.testing.assert_close(torch.stack(path, dim=1), expected[:, 8:], atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_tokens_that_are_fed_are_not_changed(prior: TokenPrior) -> None:
    z = tokens(2, 6)
    before = z.clone()
    follow(prior, z)
    assert torch.equal(z, before)


@torch.inference_mode()
def test_the_log_probability_of_a_sequence_is_that_of_its_steps(prior: TokenPrior) -> None:
    z = tokens(3, 8)
    path, _ = follow(prior, z)
    steps = path[:, :-1].gather(-1, z[..., None])[..., 0].sum((1, 2))
    torch.testing.assert_close(prior.log_prob(z.transpose(1, 2)), steps, atol=1e-4, rtol=1e-4)
