"""The autoregressive prior: step by step it says what it says all at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from sepcli.priors.lass.transformer import State, TransformerConfig, TransformerPrior, rotate

CONFIG = TransformerConfig(
    vocabulary=11, sources=("drums", "bass"), dim=16, layers=2, heads=2, head_dim=8, context=6, mlp_ratio=2
)
CLOSE = {"atol": 1e-4, "rtol": 1e-3}


def prior() -> TransformerPrior:
    """Untrained, with weights large enough that everything has an effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TransformerPrior(CONFIG)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data = 0.4 * torch.randn_like(parameter)
    return model.eval()


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, CONFIG.vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def at_once(model: TransformerPrior, z: torch.Tensor) -> torch.Tensor:
    """Log-probabilities (R, L, K, V) of tokens (R, L, K)."""
    rows, length, sources = z.shape
    flat = z.permute(0, 2, 1).reshape(rows * sources, length)
    found = model.logits(flat, torch.arange(sources).repeat(rows)).log_softmax(-1)
    return found.view(rows, sources, length, -1).transpose(1, 2)


def step_by_step(
    model: TransformerPrior, z: torch.Tensor, state: State | None = None
) -> tuple[torch.Tensor, State]:
    """The same from the cache, without feeding the last token."""
    state, last, path = state or model.start(len(z)), None, []
    for t in range(z.shape[1]):
        log_prob, state = model.step(state, last)
        path.append(log_prob)
        last = z[:, t]
    return torch.stack(path, dim=1), state


@torch.inference_mode()
@pytest.mark.parametrize("length", [1, 5, 6, 7, 20])
def test_the_cache_changes_nothing_within_and_beyond_the_context(length: int) -> None:
    model, z = prior(), tokens(3, length, 2)
    torch.testing.assert_close(step_by_step(model, z)[0], at_once(model, z), **CLOSE)


@torch.inference_mode()
def test_log_probabilities_are_normalized() -> None:
    found, state = step_by_step(prior(), tokens(3, 9, 2))
    assert found.shape == (3, 9, 2, 11)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.logsumexp(-1), torch.zeros(3, 9, 2), atol=1e-5, rtol=0)
    assert state.position == 9


@torch.inference_mode()
def test_a_token_changes_what_follows_and_nothing_before() -> None:
    model, z = prior(), tokens(1, 12, 2)
    other = z.clone()
    other[0, 4, 0] = (other[0, 4, 0] + 1) % CONFIG.vocabulary
    difference = (at_once(model, z) - at_once(model, other)).abs().amax(-1)[0]
    assert float(difference[:5].max()) == 0
    assert float(difference[5:, 0].min()) > 1e-4
    assert float(difference[:, 1].max()) == 0


@torch.inference_mode()
def test_attention_ends_after_the_context() -> None:
    model = prior()
    one = TransformerConfig(**{**CONFIG.__dict__, "layers": 1})
    shallow = TransformerPrior(one).eval()
    shallow.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("blocks.1.")})
    z = tokens(1, 16, 2)
    other = z.clone()
    other[0, 2] = (other[0, 2] + 1) % CONFIG.vocabulary
    difference = (at_once(shallow, z) - at_once(shallow, other)).abs().amax((-1, -2))[0]
    reached = 3 + CONFIG.context  # token 2 is the input of entries 3 to 8
    assert float(difference[3:reached].min()) > 1e-4
    assert float(difference[reached:].max()) == 0


@torch.inference_mode()
def test_the_source_matters() -> None:
    model, z = prior(), tokens(2, 5, 1).expand(-1, -1, 2)
    found = at_once(model, z)
    assert float((found[:, :, 0] - found[:, :, 1]).abs().amin(0).max()) > 1e-3


@torch.inference_mode()
@pytest.mark.parametrize("length", [3, 15])
def test_select_branches(length: int) -> None:
    model, z, rows = prior(), tokens(3, length, 2), torch.tensor([2, 0, 2, 1])
    _, state = step_by_step(model, z)
    branched = model.select(state, rows)
    assert branched.rows == 4
    more = tokens(4, 9, 2, seed=1)
    path, last = [], z[rows, -1]
    for t in range(9):
        log_prob, branched = model.step(branched, last)
        path.append(log_prob)
        last = more[:, t]
    expected = at_once(model, torch.cat([z[rows], more], dim=1))[:, length:]
    torch.testing.assert_close(torch.stack(path, dim=1), expected, **CLOSE)


@torch.inference_mode()
def test_a_branch_leaves_the_trunk_alone() -> None:
    model, z = prior(), tokens(2, 8, 2)
    _, state = step_by_step(model, z)
    branch = model.select(state, torch.tensor([1, 0]))
    model.step(branch, tokens(2, 2, seed=5))
    found, _ = model.step(state, z[:, -1])
    expected = at_once(model, torch.cat([z, z[:, :1]], dim=1))[:, -1]
    torch.testing.assert_close(found, expected, **CLOSE)


@torch.inference_mode()
def test_rows_do_not_depend_on_their_batch() -> None:
    model, z = prior(), tokens(5, 9, 2)
    torch.testing.assert_close(step_by_step(model, z)[0][3:4], step_by_step(model, z[3:4])[0], **CLOSE)


@torch.inference_mode()
def test_positions_are_relative() -> None:
    x = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))
    frequencies = prior().frequencies[: 8 // 2]
    near, far = ((rotate(x, (p * frequencies)[None]) for p in pair) for pair in ((3, 5), (103, 105)))
    torch.testing.assert_close(_inner(*near), _inner(*far), atol=1e-4, rtol=1e-4)


def _inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a[0] * b[1]).sum()


def test_the_loss_is_the_mean_negative_log_probability() -> None:
    model, z = prior(), tokens(4, 7)
    source = torch.tensor([0, 1, 1, 0])
    loss, figures = model.loss(z, source)
    log_prob = model.logits(z, source).log_softmax(-1).gather(-1, z[..., None])[..., 0]
    torch.testing.assert_close(loss, -log_prob.mean())
    assert figures["nll"] == pytest.approx(loss.item(), rel=1e-5)
    assert figures["nll_bass"] == pytest.approx(-log_prob[1:3].mean().item(), rel=1e-5)
    assert set(model.loss(z[:1], source[:1])[1]) == {"nll", "nll_drums"}


def test_an_untrained_prior_is_nearly_uniform_and_learns() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TransformerPrior(CONFIG)
    z = torch.arange(22).remainder(11).expand(4, -1)
    source = torch.tensor([0, 1, 0, 1])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss, _ = model.loss(z, source)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(11), abs=0.1)
    assert losses[-1] < 0.5


@torch.inference_mode()
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_embeddings_lie_as_the_codes_do(scale: float) -> None:
    model = TransformerPrior(replace(CONFIG, dim=4096)).eval()
    start = model.embed.weight[-1].clone()
    codes = torch.randn(CONFIG.vocabulary, 5, generator=torch.Generator().manual_seed(3))
    codes[7] = codes[2]
    model.embed_codes(scale * codes)
    embeddings = model.embed.weight[:-1]
    near, far = (torch.cdist(x, x) for x in (codes, embeddings))
    assert torch.allclose(near / near.mean(), far / far.mean(), atol=0.1)
    assert 0.05 < float(embeddings.std()) < 0.07
    assert torch.equal(model.embed.weight[-1], start)
    seven = model.logits(torch.tensor([[7, 0]]), torch.zeros(1, dtype=torch.int64))[0, 1]
    assert torch.equal(seven, model.logits(torch.tensor([[2, 0]]), torch.zeros(1, dtype=torch.int64))[0, 1])
    assert seven[7] == seven[2]
    with pytest.raises(ValueError, match=r"(?=.*\b10\b)(?=.*\b11\b)"):
        model.embed_codes(codes[:10])


@torch.inference_mode()
def test_chosen_sources_are_those_of_the_network() -> None:
    model, z = prior(), tokens(3, 6, 2)
    found, _ = model.step(model.step(model.start(3), None)[1], z[:, 0])
    for sources in ((1, 0), (1, 1)):
        chosen = model.of(sources)
        step, state = chosen.step(chosen.start(3), None)
        step, _ = chosen.step(state, z[:, 0])
        expected = torch.stack([at_once(model, z)[:, 1, k] for k in (0, 1)], dim=1)
        assert expected.shape == found.shape
        for place, k in enumerate(sources):
            alike = model.logits(z[..., place], torch.full((3,), k)).log_softmax(-1)[:, 1]
            torch.testing.assert_close(step[:, place], alike, **CLOSE)
        rows = torch.tensor(sources)
        each = [model.logits(z[..., p], rows[p].expand(3)).log_softmax(-1) for p in (0, 1)]
        total = sum(e.gather(-1, z[..., p, None]).sum((1, 2)) for p, e in enumerate(each))
        torch.testing.assert_close(chosen.log_prob(z.transpose(1, 2)), total, **CLOSE)


@pytest.mark.parametrize(
    "wrong", [{"context": 0}, {"context": 10**9}, {"context": 1.5}, {"sources": {"a": 1}}]
)
def test_what_no_weights_could_tell(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="context"):
        TransformerConfig(**({"vocabulary": 8, "sources": ("a",)} | wrong))
