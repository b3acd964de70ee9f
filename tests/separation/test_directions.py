"""Recordings whose channels differ: every direction is separated, and nothing gets into a silent channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_engine import FakeEngine

from sepcli import Separator
from sepcli.protocols import ProgressCallback
from sepcli.separation.blocks import ArrayReader, ArrayWriter
from sepcli.separation.levels import directions
from sepcli.separation.settings import StreamSettings
from sepcli.separation.stem_report import StreamReport
from sepcli.separation.stream import separate_stream

RATE = 8000
CONSISTENCY = pytest.mark.parametrize("consistency", ["wiener", "residual", "project", "none"])


class Bands(FakeEngine):
    """The oracle for a low and a high tone, with noise of its seed at -60 dB."""

    names, weights, sample_rate = ("low", "high"), (1.0, 1.0), RATE

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.rms: list[float] = []

    def sample(
        self, mixture: torch.Tensor, seeds: torch.Tensor, on_progress: ProgressCallback | None = None
    ) -> torch.Tensor:
        self.seeds += seeds.flatten().tolist()
        self.rms += mixture.square().mean(-1).sqrt().flatten().tolist()
        spectrum = torch.fft.rfft(mixture)
        spectrum[..., torch.fft.rfftfreq(mixture.shape[-1], 1 / RATE) > 1000] = 0
        low = torch.fft.irfft(spectrum, n=mixture.shape[-1])
        sources = torch.stack([low, mixture - low], dim=1)[:, None].repeat(1, seeds.shape[1], 1, 1, 1)
        for item, row in zip(sources, seeds.tolist(), strict=True):
            for sample, seed in zip(item, row, strict=True):
                sample += 1e-3 * torch.randn(sample.shape, generator=torch.Generator().manual_seed(seed))
        return sources


def tones(seconds: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    t = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * 200 * t), 0.2 * np.sin(2 * np.pi * 2500 * t)


def separate(mixture: np.ndarray, engine: Bands | None = None, **options: object) -> np.ndarray:
    return report_of(mixture, engine, **options)[1]


def report_of(
    mixture: np.ndarray, engine: Bands | None = None, **options: object
) -> tuple[StreamReport, np.ndarray]:
    """Separate (C, T); return the report and the stems (K, C, T)."""
    writer, settings = ArrayWriter(), StreamSettings(**{"window": 0.5, "overlap": 0.1, **options})  # type: ignore[arg-type]
    report = separate_stream(ArrayReader(mixture, RATE), [writer], engine or Bands(), settings, 0)
    return report, writer.stems.numpy()


def error_db(stem: np.ndarray, truth: np.ndarray) -> float:
    inner = slice(400, -400)
    error = np.mean((stem - truth)[..., inner] ** 2) / np.mean(truth[..., inner] ** 2)
    return float(10 * np.log10(error))


@CONSISTENCY
def test_a_source_out_of_phase_is_separated(consistency: str) -> None:
    low, high = tones()
    mixture = np.stack([low + high, low - high])
    stems = separate(mixture, consistency=consistency)
    assert error_db(stems[0], np.stack([low, low])) < -30
    assert error_db(stems[1], np.stack([high, -high])) < -30


@CONSISTENCY
def test_sources_panned_hard_are_separated(consistency: str) -> None:
    low, high = tones()
    stems = separate(np.stack([low, high]), consistency=consistency)
    assert error_db(stems[0, :1], low[None]) < -30
    assert error_db(stems[1, 1:], high[None]) < -30
    assert np.abs(stems[0, 1]).max() < 0.01
    assert np.abs(stems[1, 0]).max() < 0.01


@CONSISTENCY
@pytest.mark.parametrize("channels", [2, 6])
def test_a_silent_channel_stays_silent(consistency: str, channels: int) -> None:
    mixture = np.zeros((channels, RATE))
    mixture[0] = sum(tones())
    mixture[channels - 2] += 0.1 * np.random.default_rng(0).standard_normal(RATE) * (channels > 2)
    stems = separate(mixture, consistency=consistency)
    silent = ~mixture.any(axis=1)
    assert silent.sum() == (1 if channels == 2 else 4)
    assert not stems[:, silent].any()
    assert stems[:, ~silent].any(axis=-1).all()


@CONSISTENCY
def test_beside_a_silent_channel_the_other_is_as_mono(consistency: str) -> None:
    mono = sum(tones())[None]
    stems = separate(np.concatenate([np.zeros_like(mono), mono]), consistency=consistency)
    np.testing.assert_allclose(stems[:, 1:], separate(mono, consistency=consistency), atol=1e-12)


@CONSISTENCY
def test_what_mono_holds_is_separated_as_mono(consistency: str) -> None:
    low, high = tones()
    difference = 0.04 * (low + high)[::-1]  # -28 dB
    mixture = np.stack([low + high + difference, low + high - difference])
    engine = Bands()
    report, stems = report_of(mixture, engine, consistency=consistency)
    np.testing.assert_array_equal(stems, separate(mixture, consistency=consistency, side=False))
    assert [direction.windows for direction in report.directions] == [report.windows]
    assert report.side_db == pytest.approx(-28, abs=0.5)
    assert len(engine.seeds) == report.windows


def test_the_costs_of_all_directions_are_reported() -> None:
    low, high = tones(2.0)
    high[RATE:] = 0  # there the channels are equal
    engine = Bands()
    report, _ = report_of(np.stack([low + high, low - high]), engine)
    first, second = report.directions
    assert first.windows == report.windows == 5
    assert second.windows == 3
    assert len(set(engine.seeds)) == 8
    assert min(first.elapsed, second.elapsed) > 0
    assert report.side_db == pytest.approx(20 * np.log10(0.2 / 0.3 / np.sqrt(2)), abs=1)


def test_all_directions_reach_the_engine_at_its_level() -> None:
    low, high = tones()
    engine = Bands()
    separate(np.stack([low + 0.1 * high, low - 0.1 * high]), engine)
    np.testing.assert_allclose(engine.rms, 0.1, rtol=0.05)


def test_a_panned_source_is_one_direction() -> None:
    source = np.random.default_rng(0).standard_normal(1000)
    (found,) = directions(np.stack([0.9 * source, -0.2 * source, 0 * source]))
    np.testing.assert_allclose(found.signal * found.spread[0], 0.9 * source, atol=1e-12)
    np.testing.assert_allclose(found.spread / found.spread[0], [1, -2 / 9, 0], atol=1e-12)
    assert np.mean(found.signal**2) == pytest.approx(np.mean(source**2) * (0.81 + 0.04) / 2)


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_directions_make_up_the_channels(channels: int) -> None:
    signal = np.random.default_rng(1).standard_normal((channels, 500))
    found = directions(signal)
    assert len(found) == channels
    total = sum(one.signal * one.spread[:, None] for one in found)
    np.testing.assert_allclose(total, signal, atol=1e-12)


def test_several_samples_and_batches_agree_with_one_by_one() -> None:
    low, high = (tone[:3000] for tone in tones())
    mixtures = [torch.from_numpy(np.stack([low + high, low - sign * high])) for sign in (1, -1)]
    separator = Separator.of(Bands())
    for samples in (1, 3):
        results = separator.separate_batch(mixtures, seeds=[4, 5], samples=samples, sample_rate=RATE)
        for mixture, seed, result in zip(mixtures, (4, 5), results, strict=True):
            alone = separator.separate(mixture, sample_rate=RATE, seed=seed, samples=samples, channel_axis=0)
            torch.testing.assert_close(result.samples, alone.samples, rtol=0, atol=1e-12)
            assert result.samples.shape == (samples, 2, 2, 3000)
            torch.testing.assert_close(
                alone.samples.sum(1), mixture.expand(samples, -1, -1), rtol=0, atol=1e-9
            )
