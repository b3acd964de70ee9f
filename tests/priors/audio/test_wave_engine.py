"""Separation of waveforms with flows: closed forms, levels and lengths, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from loading import engine_of
from tiny_sound import make_sound
from tiny_waves import make_flow

from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.engine import AudioEngine
from sepcli.priors.audio.load_flows import load_wave_flow


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two priors of white noise, of standard deviations 0.5 and 0.25."""
    root = tmp_path_factory.mktemp("flows")
    return make_flow(root / "loud", "loud", std=0.5), make_flow(root / "quiet", "quiet", std=0.25)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", [None, 1.0])
def test_white_noise_gets_wieners_gain(pair: tuple[str, str], width: float | None) -> None:
    """With one level of noise, σ, the posterior of Gaussian sources and mixture is known."""
    words = {"sigma_max": "0.2", "sigma_min": "0.1999", "levels": "2", "steps": "100", "ratio": "0.2"}
    words |= {} if width is None else {"width": str(width)}
    separator = engine_of(pair, (1.0, 0.5), sampler="langevin", settings=words)
    assert isinstance(separator, AudioEngine)
    assert separator.hop is not None
    assert (separator.names, separator.weights, separator.sample_rate) == (
        ("loud", "quiet"),
        (1.0, 0.5),
        14700,
    )
    mixture = 0.6 * noise(1, 1, 1501)
    found = separator.sample(mixture, torch.tensor([[5]]))
    assert found.shape == (1, 1, 2, 1, 1501)
    powers, weights = torch.tensor([0.25, 0.0625]), torch.tensor([1.0, 0.5])
    loose = 0.04 * (width or 1.25 / 2)  # γ²: half of the noise that Σ α² σ² is, unless it is said
    gains = weights * powers / ((weights**2 * powers).sum() + loose)
    measured = (found[0, 0, :, 0] * mixture[0, 0]).mean(-1) / mixture.square().mean()
    torch.testing.assert_close(measured, gains, atol=0.05, rtol=0)
    spread = (found[0, 0, :, 0] - measured[:, None] * mixture[0]).std(dim=-1)
    torch.testing.assert_close(spread, (powers - powers * weights * gains).sqrt(), rtol=0.1, atol=0)


@pytest.mark.parametrize("count", [2, 4])
def test_weak_mixtures_are_met_with_the_usual_steps(pair: tuple[str, str], count: int) -> None:
    """Means of K waves, whose weights are 1/K: it holds at the end, as well as the last level says."""
    few = {"levels": "5", "steps": "40"}
    separator = engine_of(pair * (count // 2), (1 / count,) * count, settings=few)
    sampler = separator.inner.sampler
    assert (sampler.ratio, sampler.centred, sampler.sigma_max) == (0.05, 1, 0.5)
    mixture = 0.2 * noise(1, 1, 1024)
    found = separator.sample(mixture, torch.tensor([[5]]))[0, 0, :, 0]
    left = (found.mean(0) - mixture[0, 0]).square().mean()
    precision = 2 * count / 0.01**2  # of the mean, by the likelihood; the prior is loose in comparison
    step = 0.05 * 0.01**2 * precision / count
    torch.testing.assert_close(left, torch.tensor(1 / (1 - step / 2) / precision), rtol=0.2, atol=0)


def test_a_preset_and_the_own_settings_of_a_flow(pair: tuple[str, str], tmp_path: Path) -> None:
    own = make_flow(tmp_path / "own", "own", settings={"sampler": "langevin", "ratio": 0.1, "levels": 7})
    by_name = engine_of((own, pair[0]), sampler="langevin").inner.sampler
    assert (by_name.ratio, by_name.levels) == (0.1, 7)  # that sampler's settings, asked for by name or not
    preset = engine_of((own, pair[0]), (1.0, 1.0), settings={"preset": "released-mnist"}).inner.sampler
    assert (preset.ratio, preset.levels) == (0.3, 7)
    other = engine_of((own, pair[0]), sampler="projected").inner.sampler
    assert type(other).__name__ == "Projected"


def test_sounds_of_a_known_peak_stay_within_it(pair: tuple[str, str], tmp_path: Path) -> None:
    bounded = [
        make_flow(tmp_path / name, name, std=0.5, peak=peak) for name, peak in (("a", 0.3), ("b", 0.6))
    ]
    mixture = (0.2 * noise(1, 1, 64)).clamp(-0.5, 0.5)
    for priors, peak in ((bounded, 0.6), ((bounded[0], pair[0]), None)):
        separator = engine_of(priors, (0.5, 0.5))
        assert type(separator.inner.sampler).__name__ == ("Langevin" if peak is None else "Projected")
        found = separator.sample(mixture, torch.tensor([[5]]))[0, 0, :, 0]
        if peak is not None:
            torch.testing.assert_close(found.mean(0), mixture[0, 0], atol=1e-5, rtol=0)
            assert 0.5 < found.abs().max() <= peak + 1e-6
    free = engine_of(bounded, (0.5, 0.5), settings={"bounded": "0"}).sample(mixture, torch.tensor([[5]]))
    assert free.abs().max() > 0.6


def test_draws_have_their_log_density(pair: tuple[str, str]) -> None:
    separator = engine_of(pair)
    sources = noise(3, 2, 1, 16)
    known = separator.log_prior(sources)
    expected = sum(
        (-0.5 * (sources[:, k] / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
        for k, std in enumerate((0.5, 0.25))
    )
    torch.testing.assert_close(known, expected, rtol=1e-3, atol=0.05)


def test_seeds_and_defaults(pair: tuple[str, str], tmp_path: Path) -> None:
    few = {"levels": "2", "steps": "2"}
    separator, mixture = engine_of(pair, settings=few), noise(2, 1, 64)
    seeds = torch.tensor([[1, 2], [3, 1]])
    together = separator.sample(mixture, seeds)
    alone = separator.sample(mixture[1:], seeds[1:])
    torch.testing.assert_close(together[1:], alone)
    assert not torch.allclose(together[:, 0], together[:, 1])
    assert (separator.inner.sampler.levels, separator.inner.sampler.sigma_min) == (2, 0.01)
    own = make_flow(tmp_path / "own", "own", settings={"sampler": "projected", "steps": 3})
    steps = engine_of((own, pair[0])).inner.sampler
    assert (type(steps).__name__, steps.steps) == ("Projected", 3)
    found = engine_of((own, pair[0])).sample(mixture, seeds[:, :1])
    torch.testing.assert_close(found.sum(2)[:, 0], mixture, atol=1e-5, rtol=0)


def test_what_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    slow = make_flow(tmp_path / "slow", "slow", sample_rate=8000)
    spectral = make_sound(tmp_path / "spectral", "bands")
    with pytest.raises(UsageError, match=r"loud.*14700.*slow.*8000"):
        engine_of((pair[0], slow))
    for mixed in ((pair[0], spectral), (spectral, pair[0])):
        with pytest.raises(UsageError, match="spectral"):
            engine_of(mixed)
    with pytest.raises(UsageError):
        engine_of(pair, other=True)
    with pytest.raises(UsageError, match="lam"):
        engine_of(pair, settings={"lam": "3"})
    with pytest.raises(PriorError):
        engine_of(pair, sampler="projected", settings={"weigh": "1"}).sample(
            noise(1, 1, 16), torch.tensor([[1]])
        )


def test_a_flow_that_needs_mel_frames_cannot_separate(pair: tuple[str, str], tmp_path: Path) -> None:
    told = make_flow(tmp_path / "told", "told", mels=2)
    for priors in ((told, pair[0]), (pair[0], told)):
        with pytest.raises(PriorError, match="told"):
            engine_of(priors)


def test_a_config_from_before_mel_frames_is_the_same_flow(pair: tuple[str, str]) -> None:
    folder, x = Path(pair[0]), noise(2, 1, 1, 16)
    flow, file = load_wave_flow(folder), folder / "flow" / "config.json"
    told = file.read_text()
    config = json.loads(told)
    assert config.pop("mels") == 0
    file.write_text(json.dumps(config))
    earlier = load_wave_flow(folder)
    file.write_text(told)
    assert earlier.config == flow.config
    assert torch.equal(earlier.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize(
    "changes", [{"squeezes": [40]}, {"layers": 99}, {"width": 10**6}, {"variant": "nice"}, {"mels": 4}]
)
def test_a_config_of_another_network_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    folder = Path(make_flow(tmp_path / "p", "p"))
    config = json.loads((folder / "flow" / "config.json").read_text())
    (folder / "flow" / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(PriorError, match="flow/"):
        load_wave_flow(folder)
