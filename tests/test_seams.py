"""Windows that share their noise: what is joined is what one long window would have been."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from exact_priors import MixturePixels
from fake_engine import FakeEngine
from torch import Tensor

from sepcli.media.audio import AudioReader
from sepcli.media.stems import StemWriter, reorder
from sepcli.posterior.dirac import DiracPosterior
from sepcli.priors.audio.engine import AudioEngine
from sepcli.priors.audio.gaussian_bands import GaussianBands
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.priors.audio.train_denoiser import STREAM, overlap_for
from sepcli.protocols import DenoisingPrior, Engine, Posterior, ProgressCallback
from sepcli.samplers.projected import Projected
from sepcli.samplers.successive_halving import Halving
from sepcli.separation.engines import ScoreEngine
from sepcli.separation.independent import IndependentPriors
from sepcli.separation.ranking import agreement, distances, medoid
from sepcli.separation.settings import StreamSettings
from sepcli.separation.stem_report import StreamReport
from sepcli.separation.stream import separate_stream
from sepcli.signal.mixing import WeightedSum

RATE, BINS = 8000, 16
WHOLE = 100.0
"""Seconds: one window for any file here."""


@dataclass
class Watched(DiracPosterior):
    """A posterior that remembers how far its sources were from making the mixture."""

    prior: DenoisingPrior
    mixing: WeightedSum
    mixture: Tensor
    gaps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.prior, self.mixing, self.mixture, moments=self.prior.moments)

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        self.gaps.append(float((self.mixing(self.sources(state)) - self.mixture).abs().max()))
        return super().score(state, sigma)


@dataclass(frozen=True)
class Unshared(FakeEngine):
    """The same engine, which does not say that its noise can be shared."""

    inner: AudioEngine

    @property
    def names(self) -> tuple[str, ...]:
        return self.inner.names

    @property
    def weights(self) -> tuple[float, ...]:
        return self.inner.weights

    @property
    def sample_rate(self) -> int:
        return self.inner.sample_rate

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        return self.inner.sample(mixture, seeds, on_progress)


def engine(
    prior: DenoisingPrior, sources: int, steps: int = 25, gaps: list[float] | None = None, bins: int = BINS
) -> AudioEngine:
    weights, names = (1.0,) * sources, tuple(f"source-{k}" for k in range(sources))

    def posterior(mixture: Tensor) -> Posterior:
        return Watched(prior, WeightedSum(weights), mixture, [] if gaps is None else gaps)

    sampler = Projected(steps=steps, sigma_max=2.0, sigma_min=1e-3, rho=7.0, eta=None)
    inner = ScoreEngine(posterior, sampler, names, weights, torch.device("cpu"), 1, RATE, prior=prior)
    return AudioEngine(inner, bins, inner.weights)


def choosing(prior: DenoisingPrior, local: int, isotropic: bool = False) -> AudioEngine:
    """Two sources, drawn by chains that compete at every frame or as a whole (0)."""
    separator, mixing = engine(prior, 2), WeightedSum((1.0, 1.0))

    def posterior(mixture: Tensor) -> Posterior:
        return DiracPosterior(prior, mixing, mixture, moments=prior.moments, isotropic=isotropic, local=local)

    levels = {"steps": 12, "sigma_max": 2.0, "sigma_min": 1e-3, "rho": 7.0}
    sampler = Halving(candidates=4, decide_from=0.3, decide_to=0.03, end_from=0.03, **levels)  # type: ignore[arg-type]
    return replace(separator, inner=replace(separator.inner, posterior=posterior, sampler=sampler))


def bands(*variances: Sequence[float] | float) -> IndependentPriors:
    """Independent Gaussian bands: per source a variance for every band, or one for all."""
    return IndependentPriors(
        [GaussianBands(torch.tensor(v).expand(BINS)[None, :, None].clone()) for v in variances]
    )


def separate(path: Path, separator: Engine, **options: object) -> tuple[StreamReport, np.ndarray]:
    """Bare estimates, (S, K, T)."""
    given = {"consistency": "none", "reference_rms": None, "window": 0.8, "overlap": 0.1, **options}
    settings = StreamSettings(**given)  # type: ignore[arg-type]
    sets = settings.samples if settings.keep_samples else 1
    places = [[path.parent / f"{s}-{name}.wav" for name in separator.names] for s in range(sets)]
    with ExitStack() as stack:
        reader = stack.enter_context(AudioReader(path))
        writers = [stack.enter_context(StemWriter(p, reader.info, overwrite=True)) for p in places]
        report = separate_stream(reader, writers, separator, settings, 3)
        if report.samples is not None and sets > 1:
            reorder(writers, report.samples.order)
    return report, np.array([[soundfile.read(place)[0] for place in paths] for paths in places])


def noise(path: Path, seconds: float, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    signal = level * np.random.default_rng(0).standard_normal(round(seconds * rate))
    soundfile.write(path, signal, rate, subtype="FLOAT")
    return signal


def decibels(power: float) -> float:
    return 10 * float(np.log10(power))


def step_at_borders(stems: np.ndarray) -> float:
    """dB by which the middle of overlaps is louder than what lies clear of them; windows of 0.4 s."""
    time, hop, overlap = np.arange(stems.shape[-1]), round(0.3 * RATE), round(0.1 * RATE)
    border = (time % hop - overlap / 2 + 0.5) / overlap  # -1/2 to 1/2 across an overlap
    inner = (time > hop) & (time < len(time) - 2 * hop)
    middle = np.mean(stems[..., (np.abs(border) < 0.04) & inner] ** 2)
    return decibels(middle / np.mean(stems[..., (np.abs(border) > 0.6) & inner] ** 2))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("seconds", [0.01, 0.75, 2.0, 3.33])
def test_windows_of_an_exact_prior_are_one_long_window(tmp_path: Path, seconds: float, batch: int) -> None:
    noise(tmp_path / "mix.wav", seconds)
    separator = engine(bands(0.06, 0.03), 2, steps=8)
    assert separator.hop is not None
    _, whole = separate(tmp_path / "mix.wav", separator, window=WHOLE)
    report, joined = separate(tmp_path / "mix.wav", separator, batch=batch)
    assert (report.windows > 1) == (seconds > 0.8)
    np.testing.assert_allclose(joined, whole, atol=2e-6)
    _, unshared = separate(tmp_path / "mix.wav", Unshared(separator))
    assert np.std(unshared - whole) > 0.05


@pytest.mark.parametrize(("shared", "dip"), [(True, 0.0), (False, -2.04)])
def test_a_stationary_signal_keeps_its_level_at_window_borders(
    tmp_path: Path, shared: bool, dip: float
) -> None:
    """Of four equal sources a quarter of the power is known; half of the rest is lost between two draws."""
    noise(tmp_path / "mix.wav", 12.0)
    separator = engine(bands(*(0.3**2 / 4,) * 4), 4, steps=40)
    _, stems = separate(tmp_path / "mix.wav", separator if shared else Unshared(separator), window=0.4)
    assert step_at_borders(stems) == pytest.approx(dip, abs=0.3)


def network() -> SpectralPrior:
    """Random weights."""
    config = SpectralConfig(RATE, BINS, width=12, blocks=3, dilations=(1, 2), embedding=8, band_std=(0.2,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = SpectralPrior(config).requires_grad_(False)
        for parameter in prior.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return prior


def test_windows_of_a_network_agree_where_they_are_joined(tmp_path: Path) -> None:
    noise(tmp_path / "mix.wav", 2.5)
    separator = engine(network(), 2, steps=12)
    _, whole = separate(tmp_path / "mix.wav", separator, window=WHOLE)
    _, joined = separate(tmp_path / "mix.wav", separator)
    _, unshared = separate(tmp_path / "mix.wav", Unshared(separator))
    error = np.mean((joined - whole) ** 2)
    assert decibels(error / np.mean(whole**2)) < -30
    assert decibels(error / np.mean((unshared - whole) ** 2)) < -30


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("local", [2, 0])
@pytest.mark.parametrize("exact", [True, False])
def test_windows_choose_the_same_frames_of_competing_chains(
    tmp_path: Path, exact: bool, local: int, isotropic: bool
) -> None:
    """Chains as a whole win in one window and lose in the next."""
    noise(tmp_path / "mix.wav", 3.33)
    separator = choosing(bands(0.06, 0.03) if exact else network(), local, isotropic)
    _, whole = separate(tmp_path / "mix.wav", separator, window=WHOLE)
    report, joined = separate(tmp_path / "mix.wav", separator)
    assert report.windows == 5
    apart = np.mean((joined - whole) ** 2) / np.mean(whole**2)
    assert apart < 1e-6 if local else apart > 0.02


@pytest.mark.parametrize(("local", "dip"), [(2, 0.0), (0, -1.0)])
def test_competing_chains_keep_the_level_at_window_borders(tmp_path: Path, local: int, dip: float) -> None:
    """Almost nothing is heard of two sources, and every cell is one's 0.2 and the other's -0.2."""
    noise(tmp_path / "mix.wav", 12.0, level=0.05)
    prior = MixturePixels(torch.full((2, 2), 0.5), torch.tensor([[-0.2, 0.2]] * 2), torch.full((2, 2), 0.01))
    _, stems = separate(tmp_path / "mix.wav", choosing(prior, local), window=0.4)
    assert step_at_borders(stems) == pytest.approx(dip, abs=0.3)


@pytest.mark.parametrize(("rate", "least"), [(16000, -60.0), (11025, -20.0), (6000, -20.0)])
def test_any_rate(tmp_path: Path, rate: int, least: float) -> None:
    noise(tmp_path / "mix.wav", 3.0, rate)
    low = [0.1 * 0.5**f for f in range(BINS)]
    separator = engine(bands(low, [0.5 * v for v in low]), 2, steps=8)
    _, whole = separate(tmp_path / "mix.wav", separator, window=WHOLE)
    _, joined = separate(tmp_path / "mix.wav", separator)
    assert decibels(np.mean((joined - whole) ** 2) / np.mean(whole**2)) < least
    _, unshared = separate(tmp_path / "mix.wav", Unshared(separator))
    assert decibels(np.mean((unshared - whole) ** 2) / np.mean(whole**2)) > -10


def test_the_constraint_holds_at_every_step(tmp_path: Path) -> None:
    noise(tmp_path / "mix.wav", 2.0)
    gaps: list[float] = []
    separator = engine(bands(0.06, 0.03, 0.01), 3, steps=10, gaps=gaps)
    report, _ = separate(tmp_path / "mix.wav", separator)
    assert len(gaps) == 10
    assert max(gaps) < 1e-5  # states are of the order of sigma_max, ten times the mixture
    assert gaps[-1] < 1e-6
    assert report.residual < 1e-6


def test_a_source_that_is_absent_comes_out_near_silence(tmp_path: Path) -> None:
    """The mixture is low, and so is the one source; the other is known to be high."""
    t = np.arange(2 * RATE) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 500 * t)
    soundfile.write(tmp_path / "mix.wav", tone, RATE, subtype="FLOAT")
    low = [0.1 if f < BINS // 2 else 1e-7 for f in range(BINS)]
    _, stems = separate(tmp_path / "mix.wav", engine(bands(low, low[::-1]), 2))
    absent, there = stems[0, 1, 400:-400], stems[0, 0, 400:-400]
    assert decibels(np.mean(absent**2) / np.mean(tone**2)) < -30
    np.testing.assert_allclose(there, tone[400:-400], atol=0.02)


@pytest.mark.parametrize("keep", [True, False])
def test_confidence_is_what_a_gaussian_posterior_has(tmp_path: Path, keep: bool) -> None:
    v, w = 0.07, 0.02
    signal = noise(tmp_path / "mix.wav", 2.5)
    signal[RATE : 2 * RATE] = 0
    soundfile.write(tmp_path / "mix.wav", signal, RATE, subtype="FLOAT")
    report, _ = separate(
        tmp_path / "mix.wav", engine(bands(v, w), 2, steps=120), samples=4, keep_samples=keep, window=0.5
    )
    assert report.samples is not None
    first, second = report.samples.confidence
    assert len(first) == len(second) == 3
    for n in (0, 2):
        assert first[n] == pytest.approx(decibels((v + w) / w), abs=0.5)
        assert second[n] == pytest.approx(decibels((v + w) / v), abs=0.5)
    assert first[1] == second[1] == pytest.approx(0, abs=0.5)  # of silence, they are what cancels
    assert (report.samples.reports[0].log_prior is not None) == keep


def test_draws_are_judged_as_they_would_be_side_by_side(tmp_path: Path) -> None:
    noise(tmp_path / "mix.wav", 3.0)
    separator = engine(bands(0.06, 0.03), 2)
    report, stems = separate(tmp_path / "mix.wav", separator, samples=4, keep_samples=True, window=WHOLE)
    drawn = torch.from_numpy(stems)[:, :, None]
    judged = report.samples
    assert judged is not None
    apart = distances(drawn)
    assert judged.medoid == medoid(apart) + 1
    expected = agreement(apart / drawn.square().mean())
    assert [d.agreement_db for d in judged.reports] == pytest.approx(expected.tolist(), abs=1e-3)
    bound = separator.log_prior(drawn.float())
    assert bound is not None
    assert bound.argsort(descending=True).tolist() == [0, 1, 2, 3]  # the files are ranked
    assert sorted(judged.order) == [0, 1, 2, 3]
    assert all(d.residual_rms < 1e-6 for d in judged.reports)


def test_equal_draws_are_sure_and_one_draw_says_nothing(tmp_path: Path) -> None:
    noise(tmp_path / "mix.wav", 1.5)
    certain = engine(bands(0.06, 1e-9), 2, steps=8)
    report, _ = separate(tmp_path / "mix.wav", certain, samples=2)
    assert report.samples is not None
    assert min(report.samples.confidence[0]) > 50  # type: ignore[type-var]
    assert report.samples.confidence[1] == (None, None)
    assert separate(tmp_path / "mix.wav", certain)[0].samples is None


def test_networks_that_look_further_overlap_more_within_what_windows_allow() -> None:
    overlaps = [overlap_for(SpectralConfig(bins=bins)) for bins in (256, 512, 1024, 4096)]
    assert overlaps == [1.5, 2.79, 3.0, 3.0]
    StreamSettings(**{**STREAM, "overlap": max(overlaps)})


@pytest.mark.parametrize("overlap", [0.0, 0.001, 0.5])
def test_windows_are_rounded_to_frames(tmp_path: Path, overlap: float) -> None:
    noise(tmp_path / "mix.wav", 2.3)
    separator = engine(bands(0.06, 0.03), 2, steps=3)
    report, stems = separate(tmp_path / "mix.wav", separator, window=1.0, overlap=overlap)
    assert report.windows == {0.0: 3, 0.001: 3, 0.5: 4}[overlap]
    assert stems.shape == (1, 2, round(2.3 * RATE))
    assert report.residual < 1e-6
