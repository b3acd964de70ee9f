"""Separation with several codebooks: every decision by enumeration, batches, lengths, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loading import engine_of
from tiny_musicgen import CODEBOOKS, CONTEXT, HOP, RATE, VOCABULARY, make_prior
from torch import Tensor

from sepcli.errors import PriorError, UsageError
from sepcli.priors.lass.encodec import quantize
from sepcli.samplers import names

LONGEST = HOP * (CONTEXT - CODEBOOKS + 1)


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("music")
    return [make_prior(folder / name, name, seed) for seed, name in enumerate(("drums", "bass"), 1)]


def noise(batch: int, samples: int) -> Tensor:
    return 0.2 * torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(5))


@torch.inference_mode()
def test_every_greedy_decision_is_the_likeliest_of_all_pairs(priors: list[str]) -> None:
    weights, lam, temperature = (1.0, 0.6), 0.8, 1.3
    settings = {"lam": lam, "temperature": temperature}
    engine: Any = engine_of(priors, weights, sampler="greedy", settings=settings)
    codes, latents = engine.codec.codes, engine.codec.latents(noise(2, 160))
    tokens = engine.tokens(latents, torch.zeros(2, dtype=torch.int64))
    log_prior = [prior.log_probs(tokens[:, k]) for k, prior in enumerate(engine.priors.priors)]
    variances = quantize(latents, codes)[1]
    for row in range(2):
        for frame in range(latents.shape[1]):
            rest = latents[row, frame]
            for level in range(CODEBOOKS):
                made = weights[0] * codes[level][:, None] + weights[1] * codes[level]
                error = (rest - made).square().sum(-1)
                prior = log_prior[0][row, level, frame][:, None] + log_prior[1][row, level, frame]
                value = prior / temperature - lam * error / (2 * variances[row, level])
                first, second = tokens[row, :, level, frame].tolist()
                assert float(value[first, second]) >= float(value.max()) - 1e-4
                rest = rest - made[first, second]
    assert len(tokens.unique()) > VOCABULARY // 2


def test_samples_do_not_depend_on_the_batch(priors: list[str]) -> None:
    engine: Any = engine_of(priors)
    mixture, seeds = noise(3, 300), torch.arange(6).view(3, 2)
    latents = engine.codec.latents(mixture)
    together = engine.tokens(latents, seeds[:, 0])
    for row in range(3):
        assert torch.equal(engine.tokens(latents[row : row + 1], seeds[row, :1])[0], together[row])
    assert not torch.equal(engine.tokens(latents, seeds[:, 1]), together)
    samples = engine.sample(mixture, seeds)
    assert samples.shape == (3, 2, 2, 1, 300)
    torch.testing.assert_close(samples[:, 0].flatten(0, 1), engine.codec.decode(together.flatten(0, 1)))


def test_one_prior_may_be_of_all_of_three_sources(priors: list[str]) -> None:
    engine: Any = engine_of([priors[0], priors[0], priors[1]], settings={"sweeps": "2", "shortlist": "5"})
    assert engine.names == ("drums-1", "drums-2", "bass")
    assert engine.priors.priors[0] is engine.priors.priors[1]
    samples = engine.sample(noise(1, 100), torch.tensor([[0, 1]]))
    assert samples.shape == (1, 2, 3, 1, 100)
    assert not torch.equal(samples[:, 0], samples[:, 1])
    assert engine.describe()["settings"] == {"lam": 1.0, "temperature": 1.0, "shortlist": 5, "sweeps": 2}
    assert engine.evaluations == RATE // HOP


def test_a_window_is_as_long_as_the_positions_of_the_priors(priors: list[str]) -> None:
    engine: Any = engine_of(priors, settings={"shortlist": "4"})
    seeds = torch.zeros(1, 1, dtype=torch.int64)
    assert engine.sample(noise(1, LONGEST), seeds).shape[-1] == LONGEST
    with pytest.raises(UsageError, match="longer") as refused:
        engine.sample(noise(1, LONGEST + 1), seeds)
    assert refused.value.argument == "settings.window"
    assert f"{(LONGEST - HOP) / RATE:g}"[:4] in refused.value.hint


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"sampler": "beam"}, "sampler"),
        ({"settings": {"latent": "1"}}, "settings.latent"),
        ({"settings": {"shortlist": "0"}}, "settings.shortlist"),
        ({"weights": (1.0, -1.0)}, "weights"),
        ({"other": True}, "other"),
        ({"engine": "score"}, "engine"),
    ],
)
def test_what_does_not_fit_is_refused(priors: list[str], options: dict[str, Any], argument: str) -> None:
    with pytest.raises(UsageError) as refused:
        engine_of(priors, **options)
    assert refused.value.argument == argument
    assert "top-k" in names("token")
    engine_of(priors, sampler="top-k")


def test_priors_of_different_codecs_or_codebooks_are_refused(priors: list[str], tmp_path: Path) -> None:
    foreign = make_prior(tmp_path / "foreign", "voice", 3, codec_seed=1)
    with pytest.raises(UsageError, match="foreign") as refused:
        engine_of([priors[0], foreign])
    assert refused.value.argument == "priors"
    fewer = make_prior(tmp_path / "fewer", "voice", 3, num_codebooks=CODEBOOKS - 1)
    with pytest.raises(UsageError, match="fewer"):
        engine_of([priors[0], fewer])
    with pytest.raises(UsageError, match="alone"):
        engine_of([priors[0]])
    (Path(fewer) / "encodec" / "config.json").unlink()
    with pytest.raises(PriorError, match="encodec"):
        engine_of([fewer, fewer])


@torch.inference_mode()
def test_estimates_are_nearer_to_the_sources_than_samples_of_the_priors(priors: list[str]) -> None:
    """The sources are samples of the priors, and the latents of the mixture are exactly their sum."""
    prior_only: Any = engine_of(priors, settings={"lam": "0"})
    codes, seeds = prior_only.codec.codes, torch.arange(16)

    def latents_of(tokens: Tensor) -> Tensor:
        return sum((codes[q][tokens[:, :, q]] for q in range(CODEBOOKS)), torch.zeros(()))

    truth = latents_of(prior_only.tokens(torch.zeros(16, 12, codes.shape[-1]), seeds))
    mixture, errors = truth.sum(1), {}
    for lam in (0, 1):
        engine: Any = engine_of(priors, settings={"lam": str(lam)})
        found = latents_of(engine.tokens(mixture, seeds + 100))
        errors[lam] = [float((a - b).square().mean()) for a, b in ((found, truth), (found.sum(1), mixture))]
    assert errors[1][0] < 0.8 * errors[0][0]
    assert errors[1][1] < 0.5 * errors[0][1]
