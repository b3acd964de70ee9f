"""Separation of waveforms in the MDCT domain: closed forms, laws, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from loading import engine_of
from tiny_sound import make_sound
from torch import Tensor

from sepcli.errors import PriorError, UsageError
from sepcli.posterior.dirac import DiracPosterior
from sepcli.priors.audio import load_denoisers as spectral
from sepcli.priors.audio.engine import AudioEngine
from sepcli.priors.audio.gaussian_bands import GaussianBands, fit_other
from sepcli.priors.audio.load_denoisers import DRAWING, EXTRACTING, sampler_defaults
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.protocols import Posterior, Sampler
from sepcli.samplers.msdm import MultiSource
from sepcli.samplers.projected import Projected
from sepcli.samplers.successive_halving import Halving
from sepcli.separation.engines import ScoreEngine
from sepcli.separation.independent import IndependentPriors
from sepcli.signal.mdct import mdct
from sepcli.signal.mixing import WeightedSum

BINS = 8
STDS = ((0.5, 0.3, 0.1, 0.05, 0.02, 0.01, 0.01, 0.01), (0.01, 0.02, 0.1, 0.1, 0.2, 0.2, 0.1, 0.05))


def separator(sampler: Sampler, weights: tuple[float, ...] = (1.0, 1.0)) -> AudioEngine:
    prior = IndependentPriors([GaussianBands(torch.tensor(stds).square()[None, :, None]) for stds in STDS])

    def posterior(mixture: Tensor) -> Posterior:
        return DiracPosterior(prior, WeightedSum(weights), mixture, moments=prior.moments)

    inner = ScoreEngine(posterior, sampler, ("a", "b"), weights, torch.device("cpu"), 1, 8000)
    return AudioEngine(inner, BINS, weights)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "sampler",
    [
        Projected(steps=300, sigma_max=10.0, sigma_min=5e-4, rho=7.0, eta=None),
        MultiSource(steps=150, repeats=2, churn=20.0, sigma_max=10.0, sigma_min=5e-4),
    ],
    ids=["projected", "multi-source"],
)
def test_gaussian_bands_get_wieners_filter_and_its_spread(sampler: Sampler) -> None:
    frames = 1500
    mixture = 0.3 * noise(1, 1, BINS * frames)
    found = separator(sampler).sample(mixture, torch.tensor([[5]]))
    assert found.shape == (1, 1, 2, 1, BINS * frames)
    first, variance = mdct(found[0, 0, 0, 0], BINS), torch.tensor(STDS) ** 2
    m = mdct(mixture[0, 0], BINS)
    for f in range(BINS):
        v, w = variance[0, f], variance[1, f]
        rest = first[f] - v / (v + w) * m[f]
        spread = (v * w / (v + w)).sqrt()
        assert abs(float(rest @ m[f] / (m[f] @ m[f]))) < 0.12 * float(spread) / 0.3
        assert float(rest.std()) == pytest.approx(float(spread), rel=0.1)
        assert abs(float(rest.mean())) < 0.1 * float(spread)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 2.0)])
@pytest.mark.parametrize("length", [1, 333])
def test_the_sources_sum_to_the_mixture(weights: tuple[float, float], length: int) -> None:
    mixture = noise(2, 1, length)
    found = separator(Projected(steps=8, sigma_max=2.0), weights).sample(
        mixture, torch.tensor([[1, 2], [3, 4]])
    )
    total = WeightedSum(weights)(found.flatten(0, 1)).view(2, 2, 1, length)
    torch.testing.assert_close(total, mixture[:, None].expand_as(total), atol=2e-6, rtol=0)


def test_an_item_depends_on_its_own_seeds_only() -> None:
    mixture, separate = noise(3, 1, 200), separator(Projected(steps=6, sigma_max=2.0))
    seeds = torch.tensor([[1, 2], [3, 4], [5, 6]])
    together = separate.sample(mixture, seeds)
    torch.testing.assert_close(together[1:2], separate.sample(mixture[1:2], seeds[1:2]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        together[2, 1], separate.sample(mixture[2:], seeds[2:, 1:])[0, 0], atol=1e-6, rtol=1e-5
    )
    assert not torch.allclose(together[0, 0], together[0, 1])


@pytest.mark.parametrize("sampler", [None, "projected", "halving", "multi-source", "langevin"])
def test_priors_from_disk(tmp_path: Path, sampler: str | None) -> None:
    priors = [make_sound(tmp_path / "a", "violin"), make_sound(tmp_path / "b", "cello")]
    separate = engine_of(priors, sampler=sampler, settings={"steps": "4"})
    assert (separate.names, separate.weights, separate.sample_rate) == (("violin", "cello"), (1.0, 1.0), 8000)
    mixture = 0.1 * noise(2, 1, 1000)
    found = separate.sample(mixture, torch.tensor([[1], [2]]))
    assert found.shape == (2, 1, 2, 1, 1000)
    assert torch.isfinite(found).all()
    if sampler != "langevin":
        torch.testing.assert_close(found.sum(2)[:, 0], mixture, atol=1e-5, rtol=0)


@dataclass(frozen=True)
class Estimating:
    """A posterior that keeps its states, and the estimates x + σ² score that samplers make of them."""

    inner: DiracPosterior
    seen: list[tuple[Tensor, Tensor]]

    @property
    def like(self) -> Tensor:
        return self.inner.like

    @property
    def start(self) -> Tensor:
        return self.inner.start

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        return self.assess(state, sigma)[0]

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        score, misfit = self.inner.assess(state, sigma)
        self.seen.append((self.sources(state), self.sources(state + sigma**2 * score)))
        return score, misfit

    def sources(self, state: Tensor) -> Tensor:
        return self.inner.sources(state)


@pytest.mark.parametrize("sampler", [None, "projected"])
def test_estimates_make_the_mixture_at_every_level_whatever_the_noise(
    tmp_path: Path, sampler: str | None
) -> None:
    priors = [make_sound(tmp_path / "a", "violin"), make_sound(tmp_path / "b", "cello")]
    separate, seen = engine_of(priors, (1.0, 0.5), sampler=sampler, settings={"steps": "12"}), []
    inner, known = separate.inner, separate.inner.likelihood
    assert type(inner.sampler) is (Halving if sampler is None else Projected)
    assert (known["isotropic"], known["weigh"]) == (1, 1)
    assert known.get("local", 0) == (48 if sampler is None else 0)
    watched = replace(inner, posterior=lambda mixture: Estimating(inner.posterior(mixture), seen))
    mixture = 0.1 * noise(2, 1, 1000)
    replace(separate, inner=watched).sample(mixture, torch.tensor([[1], [2]]))
    assert len(seen) == inner.evaluations
    mixing, expected = WeightedSum(inner.weights), mdct(mixture, 32)
    for state, estimate in seen:
        torch.testing.assert_close(mixing(estimate), expected, atol=2e-6, rtol=0)
        assert not torch.allclose(mixing(state), expected, atol=1e-4)  # there is noise in every direction


def test_selective_priors_begin_with_the_mixture(tmp_path: Path) -> None:
    priors = [make_sound(tmp_path / name, name, interference_trained=True) for name in ("violin", "cello")]
    unselective = make_sound(tmp_path / "harp", "harp")
    separate = engine_of(priors)
    assert isinstance(separate.inner.sampler, Projected)
    assert separate.inner.sampler.evaluations == EXTRACTING["steps"]
    assert separate.inner.sampler.sigma_min == EXTRACTING["sigma_min"]
    drawn = engine_of(priors, preset="draws").inner.sampler
    assert isinstance(drawn, Projected)
    assert drawn.sigma_min == DRAWING["sigma_min"] < EXTRACTING["sigma_min"]  # a sample, not a mean
    mixture = 0.1 * noise(1, 1, 32, 10)
    torch.testing.assert_close(
        separate.inner.posterior(mixture).start, mixture[:, None].expand(-1, 2, -1, -1, -1)
    )
    assert separate.interference_trained
    assert not engine_of(priors, sampler="halving").interference_trained
    for mixed in (engine_of([priors[0], unselective]), engine_of(priors, other=True)):
        assert not mixed.interference_trained
        assert not mixed.inner.posterior(mixture).start.any()
    assert isinstance(engine_of([priors[0], unselective]).inner.sampler, Halving)


def test_chains_compete_frame_by_frame_within_the_same_time_at_any_rate() -> None:
    for rate, bins, frames in ((22050, 512, 8), (44100, 512, 16), (8000, 32, 48), (8000, 4096, 1)):
        prior = SpectralPrior(SpectralConfig(rate, bins, width=4, blocks=1, embedding=4))
        assert sampler_defaults("halving", [prior])["local"] == frames
        assert "local" not in sampler_defaults("projected", [prior])


def test_one_prior_may_be_there_several_times(tmp_path: Path) -> None:
    priors = [make_sound(tmp_path / "a", "violin")] * 2 + [
        make_sound(tmp_path / "b", "cello", variance=False)
    ]
    separate = engine_of(priors, (0.5, 0.5, 1.0), settings={"steps": "2"})
    assert separate.names == ("violin-1", "violin-2", "cello")
    assert separate.weights == (0.5, 0.5, 1.0)
    assert separate.sample(0.1 * noise(1, 1, 100), torch.tensor([[1]])).shape == (1, 1, 3, 1, 100)
    separate = engine_of(priors, settings={"steps": "2", "weigh": "1"})
    with pytest.raises(PriorError):
        separate.sample(0.1 * noise(1, 1, 100), torch.tensor([[1]]))


@pytest.mark.parametrize("sampler", ["projected", "halving", "multi-source", "langevin"])
def test_a_rest_is_one_more_source(tmp_path: Path, sampler: str) -> None:
    priors = [make_sound(tmp_path / "a", "violin"), make_sound(tmp_path / "b", "cello")]
    separate = engine_of(
        priors, (0.5, 0.5), other=True, sampler=sampler, settings={"steps": "4", "other": "0.3"}
    )
    assert (separate.names, separate.weights) == (("violin", "cello", "other"), (0.5, 0.5, 0.5))
    mixture = torch.tensor([0.1, 0.01])[:, None, None] * noise(2, 1, 1000)
    found = separate.sample(mixture, torch.tensor([[1, 3], [2, 4]]))
    assert found.shape == (2, 2, 3, 1, 1000)
    alone = separate.sample(mixture[1:], torch.tensor([[2, 4]]))  # the rest is fitted item by item
    torch.testing.assert_close(found[1:], alone, atol=1e-5, rtol=1e-4)
    assert torch.isfinite(found).all()
    if sampler != "langevin":
        torch.testing.assert_close(
            0.5 * found.sum(2), mixture[:, None].expand(2, 2, 1, 1000), atol=1e-5, rtol=0
        )


def test_one_prior_and_a_rest_are_a_mixture(tmp_path: Path) -> None:
    separate = engine_of([make_sound(tmp_path / "a", "violin")], other=True, settings={"steps": "20"})
    assert (separate.names, separate.weights) == (("violin", "other"), (1.0, 1.0))
    assert (type(separate.inner.sampler).__name__, separate.inner.likelihood["weigh"]) == ("Projected", 0)
    mixture = 0.1 * noise(1, 1, 4000)
    found = separate.sample(mixture, torch.tensor([[1]]))[0, 0, :, 0]
    assert min(found.square().mean(-1)) > 0.05 * mixture.square().mean()
    # 40 dB louder than the prior can be, the mixture is the rest's
    found = separate.sample(100 * mixture, torch.tensor([[1]]))[0, 0, :, 0]
    assert found[0].square().mean() < 0.01 * found[1].square().mean()


@pytest.mark.parametrize(
    ("weights", "own"), [(None, 1.0), ((0.5, 0.5), 0.5), ((0.5, 0.25), 1.0), ((0.5, 0.5, -2.0), -2.0)]
)
def test_what_is_fitted_is_the_rest_before_it_is_weighted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: tuple[float, ...] | None, own: float
) -> None:
    seen: list[tuple[float, float]] = []

    def watch(mixture: Tensor, share: float, frames: float) -> GaussianBands:
        seen.append((share, frames))
        return fit_other(mixture, share, frames)

    monkeypatch.setattr(spectral, "fit_other", watch)
    violin = make_sound(tmp_path / "a", "violin")
    separate = engine_of([violin] * 2, weights, other=True, settings={"steps": "2", "other": "0.2"})
    assert separate.weights[-1] == own
    separate.sample(noise(1, 1, 500), torch.tensor([[1]]))
    scale = sum(abs(weight) for weight in separate.weights) / 3  # what the priors are told of is c x
    assert seen == [(pytest.approx(0.2 * scale**2 / own**2), 0.75 * 8000 / 32)]


def test_only_the_ratios_of_the_weights_count(tmp_path: Path) -> None:
    priors = [make_sound(tmp_path / "a", "violin"), make_sound(tmp_path / "b", "cello")]
    mixture, seeds, settings = 0.1 * noise(1, 1, 500), torch.tensor([[1]]), {"steps": "4"}
    whole = engine_of(priors, (1.0, 2.0), settings=settings)
    half = engine_of(priors, (0.5, 1.0), settings=settings)
    assert (whole.weights, half.weights) == ((1.0, 2.0), (0.5, 1.0))
    torch.testing.assert_close(half.sample(mixture, seeds), 2 * whole.sample(mixture, seeds))
    sources = whole.sample(mixture, seeds)[0]
    torch.testing.assert_close(half.log_prior(2 * sources), whole.log_prior(sources))


def refused(error: type[Exception], match: str, priors: Sequence[str], **options: object) -> None:
    with pytest.raises(error, match=match):
        engine_of(priors, **options)  # type: ignore[arg-type]


def test_what_does_not_mix_is_refused(tmp_path: Path, tiny_prior: Path) -> None:
    violin = make_sound(tmp_path / "a", "violin")
    refused(UsageError, "violin", [violin])
    with pytest.raises(UsageError, match="violin"):
        engine_of(violin)
    refused(UsageError, "3", [violin] * 2, weights=(1.0, 1.0, 1.0))
    refused(UsageError, "tiny", [violin, str(tiny_prior)])
    refused(UsageError, "16000", [violin, make_sound(tmp_path / "b", "cello", sample_rate=16000)])
    refused(UsageError, "magic", [violin] * 2, sampler="magic")
    refused(UsageError, "lam", [violin] * 2, settings={"lam": "2"})
    refused(UsageError, "other", [violin] * 2, settings={"other": "0.5"})
    for share in ("0", "1.1", "-1", "much"):
        refused(UsageError, f"other.*{share}", [violin], other=True, settings={"other": share})
    refused(UsageError, "4", [violin] * 2, other=True, weights=(1.0,) * 4)
    refused(UsageError, "2", [violin] * 2, names=("one",))
    bad = make_sound(tmp_path / "c", "viola")
    config = Path(bad) / "denoiser" / "config.json"
    config.write_text(config.read_text().replace("0.1", "0.2"))
    refused(PriorError, r"denoiser/config\.json", [violin, bad])
