"""Separation by encoders: means and draws, lengths and batches, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from loading import engine_of
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.encoders import PRESETS, Encoders, EncodersConfig
from sepcli.priors.audio.load_encoders import VariationalEngine
from sepcli.training.loop import write_weights

WEIGHTS = (0.5, 0.25)


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    config = EncodersConfig(WEIGHTS, **PRESETS["tiny"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoders = Encoders(config)
        for parameter in encoders.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape)
    (tmp_path / "toys" / "encoders").mkdir(parents=True)
    write_weights(encoders, tmp_path / "toys" / "encoders" / "model.safetensors")
    (tmp_path / "toys" / "encoders" / "config.json").write_text(json.dumps(asdict(config)))
    return write_card(tmp_path / "toys", WEIGHTS)


def write_card(folder: Path, weights: tuple[float, ...]) -> Path:
    card = cards.Card(
        name=folder.name,
        medium="audio",
        engine="variational",
        sources=("a", "b"),
        weights=weights,
        sample_rate=14700,
    )
    cards.write(cards.with_files(card, folder), folder)
    return folder


def mixtures(count: int, length: int) -> Tensor:
    return torch.randn(count, 1, length, generator=torch.Generator().manual_seed(1))


def test_one_answer_is_the_mean_and_several_are_draws(prior: Path) -> None:
    separator = engine_of(str(prior))
    assert isinstance(separator, VariationalEngine)
    assert separator.hop is not None
    assert (separator.names, separator.weights, separator.hop) == (("a", "b"), WEIGHTS, 4)
    m, seeds = mixtures(2, 61), torch.tensor([[1, 2], [3, 1]])
    mean, draws = separator.sample(m, seeds[:, :1]), separator.sample(m, seeds)
    assert (mean.shape, draws.shape) == ((2, 1, 2, 1, 61), (2, 2, 2, 1, 61))
    for found in (mean, draws):
        summed = 0.5 * found[:, :, 0] + 0.25 * found[:, :, 1]
        torch.testing.assert_close(summed, m[:, None].expand_as(summed), atol=1e-5, rtol=0)
    assert torch.equal(mean, separator.sample(m, seeds[:, 1:]))  # a mean has no seed
    torch.testing.assert_close(separator.sample(m[1:], seeds[1:]), draws[1:], atol=1e-5, rtol=1e-4)
    many = separator.sample(m[:1], torch.arange(400)[None])
    error = many.std(1, keepdim=True) / 20
    assert bool(((many.mean(1, keepdim=True) - mean[:1]).abs() < 5 * error).all())


def test_parts_that_share_a_seed_share_their_noise(prior: Path) -> None:
    separator = engine_of(str(prior))
    one = separator.sample(torch.zeros(1, 1, 64), torch.tensor([[[7, 8], [1, 2]]]))
    other = separator.sample(torch.zeros(1, 1, 64), torch.tensor([[[7, 9], [1, 2]]]))
    same = one == other
    assert bool(same[:, 0, ..., :32].all())
    assert not bool(same[:, 0, ..., 32:].any())
    assert bool(same[:, 1].all())


def test_what_is_refused(prior: Path) -> None:
    with pytest.raises(UsageError, match="levels"):
        engine_of(str(prior), settings={"levels": "3"})
    with pytest.raises(UsageError, match="lass"):
        engine_of(str(prior), engine="lass")
    with pytest.raises(UsageError, match="toys"):
        engine_of(str(prior), engine="score")
    write_card(prior, (0.5, 0.5))
    with pytest.raises(PriorError, match="toys"):
        engine_of(str(prior))
    (prior / "encoders" / "model.safetensors").write_bytes(b"no")
    write_card(prior, WEIGHTS)
    with pytest.raises(PriorError, match="encoders"):
        engine_of(str(prior))
