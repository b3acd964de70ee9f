"""From file to stems with engines that are easy to predict."""

from __future__ import annotations

import gc
import re
import tracemalloc
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fake_engine import FakeEngine

from sepcli.errors import InputError, OutputError, SepError, UsageError
from sepcli.media.audio import AudioReader
from sepcli.media.stem_format import stem_format
from sepcli.media.stems import StemWriter, reorder
from sepcli.protocols import ProgressCallback
from sepcli.separation.levels import cutoff
from sepcli.separation.settings import StreamSettings
from sepcli.separation.stem_report import StreamReport
from sepcli.separation.stream import separate_stream


@dataclass
class Fractions(FakeEngine):
    """Every source is a fixed part of the mixture."""

    parts: Sequence[float] = (0.8, 0.2)
    weights: tuple[float, ...] = (1.0, 1.0)
    sample_rate: int = 22050
    seen: list[torch.Tensor] = field(default_factory=list)
    seeds: list[list[int]] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        return ("bass", "drums", "piano", "guitar")[: len(self.parts)]

    def sample(
        self, mixture: torch.Tensor, seeds: torch.Tensor, on_progress: ProgressCallback | None = None
    ) -> torch.Tensor:
        assert mixture.dtype == torch.float32
        assert seeds.dtype == torch.int64
        self.seen.append(mixture)
        self.seeds += seeds.tolist()
        if on_progress:
            on_progress(1, 2)
            on_progress(2, 2)
        parts = torch.tensor(self.parts) / torch.tensor(self.weights)
        return (mixture[:, None, None] * parts[:, None, None]).expand(-1, seeds.shape[1], -1, -1, -1)


class Bands(Fractions):
    """The oracle for a low and a high tone: an ideal low-pass and what it leaves."""

    def sample(
        self, mixture: torch.Tensor, seeds: torch.Tensor, on_progress: ProgressCallback | None = None
    ) -> torch.Tensor:
        super().sample(mixture, seeds, on_progress)
        spectrum = torch.fft.rfft(mixture)
        spectrum[..., torch.fft.rfftfreq(mixture.shape[-1], 1 / self.sample_rate) > 1000] = 0
        low = torch.fft.irfft(spectrum, n=mixture.shape[-1])
        sources = (
            torch.stack([low, mixture - low], dim=1)[:, None] / torch.tensor(self.weights)[:, None, None]
        )
        return sources.expand(-1, seeds.shape[1], -1, -1, -1)


class Noise(Fractions):
    """Draws that depend on their seed and on nothing else."""

    def sample(
        self, mixture: torch.Tensor, seeds: torch.Tensor, on_progress: ProgressCallback | None = None
    ) -> torch.Tensor:
        super().sample(mixture, seeds, on_progress)
        shape = (len(self.parts), 1, mixture.shape[-1])
        draws = [
            torch.randn(shape, generator=torch.Generator().manual_seed(s))
            for row in seeds.tolist()
            for s in row
        ]
        return torch.stack(draws).unflatten(0, tuple(seeds.shape))


def noise(frames: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, channels))


def separate(
    path: Path, separator: Fractions, seed: int = 0, **options: object
) -> tuple[StreamReport, np.ndarray]:
    """Separate into a folder beside ``path``; return the report and the stems read back, (N, K, C, T)."""
    settings = StreamSettings(**options)  # type: ignore[arg-type]
    steps: list[tuple[float, float]] = []
    with ExitStack() as stack:
        reader = stack.enter_context(AudioReader(path))
        extension = stem_format(reader.info).extension
        folders = [
            path.parent / "out" / str(n) for n in range(settings.samples if settings.keep_samples else 1)
        ]
        sets = [[folder / f"{name}.{extension}" for name in separator.names] for folder in folders]
        writers = [stack.enter_context(StemWriter(paths, reader.info, overwrite=True)) for paths in sets]
        report = separate_stream(
            reader, writers, separator, settings, seed, lambda done, total: steps.append((done, total))
        )
        if report.samples is not None and settings.keep_samples:
            reorder(writers, report.samples.order)
    assert steps[-1] == (report.seconds, report.seconds)
    assert steps == sorted(steps)
    return report, np.array([[soundfile.read(p, always_2d=True)[0].T for p in paths] for paths in sets])


def load(path: Path) -> np.ndarray:
    return soundfile.read(path, always_2d=True)[0].T


@pytest.mark.parametrize("consistency", ["wiener", "residual", "project"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (96000, 6)])
def test_stems_sum_to_the_input_exactly(
    tmp_path: Path, consistency: str, subtype: str, rate: int, channels: int
) -> None:
    path = tmp_path / "mix.wav"
    signal = noise(int(1.3 * rate) + 7, channels)
    signal[100:2000] = np.sign(signal[100:2000])
    soundfile.write(path, signal, rate, subtype=subtype)
    report, stems = separate(path, Noise(), window=0.5, overlap=0.1, consistency=consistency)
    assert stems.shape == (1, 2, *load(path).shape)
    error = np.abs(stems[0].sum(axis=0) - load(path)).max()
    assert error == report.residual
    assert error <= (0 if "PCM" in subtype else 1e-6)
    assert soundfile.info(tmp_path / "out" / "0" / "bass.wav").samplerate == rate


@pytest.mark.parametrize("extension", ["mp3", "ogg", "flac", "aiff"])
def test_other_formats(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"mix.{extension}"
    soundfile.write(path, noise(30000, 2), 44100)
    report, stems = separate(path, Fractions(), window=0.25, overlap=0.05)
    assert stems.shape == (1, 2, 2, 30000)
    np.testing.assert_allclose(stems[0].sum(axis=0), load(path), atol=2**-15 if extension == "mp3" else 1e-7)
    written = soundfile.info(next((tmp_path / "out" / "0").iterdir()))
    assert written.subtype == ("FLOAT" if extension in ("mp3", "ogg") else "PCM_16")
    assert not any(stem.silent or stem.equals_mixture for stem in report.sets[0])


@pytest.mark.parametrize("consistency", ["wiener", "residual", "project", "none"])
@pytest.mark.parametrize("frames", [1, 2, 100, 5000])
def test_short_files(tmp_path: Path, frames: int, consistency: str) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, noise(frames, 2), 48000, subtype="PCM_24")
    report, stems = separate(path, Fractions(), consistency=consistency)
    assert (report.windows, report.frames) == (1, frames)
    assert stems.shape == (1, 2, 2, frames)
    if consistency != "none":
        np.testing.assert_array_equal(stems[0].sum(axis=0), load(path))


@pytest.mark.parametrize("consistency", ["wiener", "residual", "project", "none"])
def test_silence_in_silence_out_without_the_engine(tmp_path: Path, consistency: str) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, np.zeros((30000, 2)), 8000)
    engine = Noise()
    report, stems = separate(path, engine, window=1.0, overlap=0.25, consistency=consistency)
    assert not stems.any()
    assert engine.seen == []
    assert report.silent
    assert report.silent_windows == report.windows > 1
    assert all(stem.silent and not stem.equals_mixture for stem in report.sets[0])


def test_only_silent_windows_skip_the_engine(tmp_path: Path) -> None:
    path = tmp_path / "mix.wav"
    signal = noise(80000, 1)
    signal[20000:60000] = 0
    soundfile.write(path, signal, 8000)
    engine = Fractions()
    report, stems = separate(path, engine, window=1.0, overlap=0.25)
    assert 0 < report.silent_windows < report.windows
    assert sum(len(batch) for batch in engine.seen) == report.windows - report.silent_windows
    assert not stems[..., 28000:52000].any()


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("consistency", ["wiener", "residual", "project", "none"])
def test_an_oracle_separates_tones(tmp_path: Path, consistency: str, weights: tuple[float, float]) -> None:
    path = tmp_path / "mix.wav"
    t = np.arange(44100 * 2) / 44100
    low, high = 0.4 * np.sin(2 * np.pi * 200 * t), 0.2 * np.sin(2 * np.pi * 3000 * t)
    soundfile.write(path, np.stack([low + high, low + high], axis=1), 44100, subtype="FLOAT")
    report, stems = separate(path, Bands(weights=weights), window=0.5, overlap=0.1, consistency=consistency)
    inner = slice(2000, -2000)
    for stem, truth in zip(stems[0], (low, high), strict=True):
        error = np.mean((stem[:, inner] - truth[inner]) ** 2) / np.mean(truth**2)
        assert 10 * np.log10(error) < -25
    assert report.residual < (0.05 if consistency == "none" else 1e-6)  # resampling rings at the ends


@pytest.mark.parametrize("consistency", ["wiener", "residual"])
def test_above_the_band_of_the_engine_the_stereo_image_is_kept(tmp_path: Path, consistency: str) -> None:
    path = tmp_path / "mix.wav"
    t = np.arange(44100) / 44100
    high = 0.2 * (np.sin(2 * np.pi * 4000 * t) + np.sin(2 * np.pi * 9000 * t) + np.sin(2 * np.pi * 16000 * t))
    low = 0.4 * np.sin(2 * np.pi * 200 * t)
    soundfile.write(path, np.stack([low, high], axis=1), 44100, subtype="FLOAT")
    _, stems = separate(path, Bands(), window=0.5, overlap=0.1, consistency=consistency)
    inner = slice(2000, -2000)
    assert np.abs(stems[0, 0, 0, inner] - low[inner]).max() < 0.02
    assert np.abs(stems[0, 1, 1, inner] - high[inner]).max() < 0.02
    assert np.abs(stems[0, 0, 1, inner]).max() < 0.02


@pytest.mark.parametrize("consistency", ["wiener", "residual", "project", "none"])
def test_channels_in_antiphase_are_heard(tmp_path: Path, consistency: str) -> None:
    path = tmp_path / "mix.wav"
    mono = noise(20000, 1)
    soundfile.write(path, np.concatenate([mono, -mono], axis=1), 22050, subtype="PCM_24")
    engine = Fractions(parts=(0.9, 0.1))
    _, stems = separate(path, engine, window=0.4, overlap=0.1, consistency=consistency)
    assert engine.seen[0].abs().max() > 0.05
    np.testing.assert_allclose(stems[:, :, 0], -stems[:, :, 1], atol=1e-6)
    assert np.abs(stems[0, 0]).max() > 0.4


def test_estimates_that_make_the_mixture_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, noise(20000, 1), 22050, subtype="FLOAT")
    options = {"window": 0.4, "overlap": 0.1, "reference_rms": None}
    found = {
        how: separate(path, Fractions(parts=(0.75, 0.25)), consistency=how, **options)[1][0]
        for how in ("residual", "none", "wiener")
    }
    np.testing.assert_allclose(found["residual"], found["none"], atol=1e-6)
    assert np.abs(found["wiener"] - found["none"]).max() > 0.01


def test_none_is_the_decoded_stems(tmp_path: Path) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, noise(20000, 2), 22050, subtype="FLOAT")
    report, stems = separate(
        path, Fractions(parts=(0.5, 0.1)), window=0.4, overlap=0.1, consistency="none", reference_rms=None
    )
    np.testing.assert_allclose(stems[0, 0], 0.5 * load(path), atol=1e-6)
    np.testing.assert_allclose(report.residual, 0.4 * np.abs(load(path)).max(), atol=1e-6)
    assert report.gain == 1


def test_levels_beyond_all_measure_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, 1e200 * noise(4000, 1), 8000, subtype="DOUBLE")
    with np.errstate(over="ignore"), pytest.raises(InputError, match=r"mix\.wav"):
        separate(path, Fractions(), reference_rms=0.1)


@pytest.mark.parametrize("level", [1e-4, 0.05, 1.9])
def test_the_engine_hears_a_usual_level_and_the_stems_keep_theirs(tmp_path: Path, level: float) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, level * noise(40000, 1), 22050, subtype="FLOAT")
    engine = Fractions()
    _, stems = separate(path, engine, window=0.5, overlap=0.1, consistency="none", reference_rms=0.1)
    assert float(engine.seen[0].square().mean().sqrt()) == pytest.approx(0.1, rel=0.05)
    np.testing.assert_allclose(stems[0, 0], 0.8 * load(path), rtol=1e-4, atol=1e-6 * level)


def test_results_depend_on_the_seed_and_not_on_the_batch(tmp_path: Path) -> None:
    path = tmp_path / "mix.wav"
    signal = noise(50000, 1)
    signal[10000:26000] = 0
    soundfile.write(path, signal, 8000)
    options = {"window": 1.0, "overlap": 0.25, "samples": 2, "keep_samples": True}
    engine = Noise()
    _, one = separate(path, engine, batch=1, **options)
    _, five = separate(path, Noise(), batch=5, **options)
    np.testing.assert_array_equal(one, five)
    assert len({seed for row in engine.seeds for seed in row}) == 2 * len(engine.seeds)
    assert min(seed for row in engine.seeds for seed in row) >= 0
    _, other = separate(path, Noise(), seed=1, **options)
    assert (one != other).any()


@pytest.mark.parametrize("consistency", ["wiener", "project", "none"])
def test_draws_are_kept_or_merged(tmp_path: Path, consistency: str) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, noise(20000, 2), 22050, subtype="DOUBLE")
    options = {"window": 0.4, "overlap": 0.1, "consistency": consistency, "samples": 3}
    report, kept = separate(path, Noise(), keep_samples=True, **options)
    assert kept.shape == (3, 2, 2, 20000)
    assert len(report.sets) == 3
    assert (kept[0] != kept[1]).any()
    report, merged = separate(path, Noise(), **options)
    assert len(report.sets) == 1
    single = 1e-6 if consistency == "wiener" else 1e-12  # spectra in float32
    np.testing.assert_allclose(merged[0], kept.mean(axis=0), atol=single, rtol=0)
    _, first = separate(path, Noise(), **{**options, "samples": 1})
    assert report.samples is not None
    np.testing.assert_array_equal(first[0], kept[report.samples.order.index(0)])


def test_stems_that_hold_nothing_or_everything_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, noise(20000, 2), 22050)
    report, _ = separate(path, Fractions(parts=(1.0, 0.0)), window=0.4, overlap=0.1)
    bass, drums = report.sets[0]
    assert (bass.name, bass.silent, bass.equals_mixture) == ("bass", False, True)
    assert (drums.name, drums.silent, drums.equals_mixture) == ("drums", True, False)
    assert bass.rms == pytest.approx(report.rms, rel=1e-3)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    arrays, tensors = [], []
    for seconds in (4, 40):
        path, separator = tmp_path / f"{seconds}.wav", Weighed(sample_rate=8000)
        soundfile.write(path, noise(seconds * 8000, 2), 8000)
        gc.collect()
        before = bytes_of_tensors()
        tracemalloc.start()  # sees numpy's memory and not torch's
        separate_only(path, separator)
        arrays.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        tensors.append(max(separator.held) - before)
    assert arrays[1] < 1.1 * arrays[0]
    assert 0 < tensors[1] < 1.1 * tensors[0]


def bytes_of_tensors() -> int:
    """What all tensors hold, those behind arrays as well."""
    tensors = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
    storages = [tensor.untyped_storage() for tensor in tensors if tensor.layout == torch.strided]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@dataclass
class Weighed(Fractions):
    """It also notes, a few times, how much there is in tensors when it is asked."""

    held: list[int] = field(default_factory=list)
    calls: int = 0

    def sample(
        self, mixture: torch.Tensor, seeds: torch.Tensor, on_progress: ProgressCallback | None = None
    ) -> torch.Tensor:
        self.calls += 1
        if self.calls % 4 == 0:
            self.held.append(bytes_of_tensors())
        return super().sample(mixture, seeds, on_progress)


def separate_only(path: Path, separator: Fractions) -> None:
    settings = StreamSettings(window=0.5, overlap=0.1, batch=2)
    paths = [path.parent / f"{path.stem}-{name}.wav" for name in separator.names]
    with AudioReader(path) as reader, StemWriter(paths, reader.info) as writer:
        separator.seen = _Nothing()  # type: ignore[assignment]
        separate_stream(reader, [writer], separator, settings, 0)


class _Nothing(list[torch.Tensor]):
    def append(self, item: torch.Tensor) -> None:
        pass


class Broken(Fractions):
    def sample(
        self, mixture: torch.Tensor, seeds: torch.Tensor, on_progress: ProgressCallback | None = None
    ) -> torch.Tensor:
        return super().sample(mixture, seeds, on_progress) * torch.nan


class Interrupted(Fractions):
    def sample(
        self, mixture: torch.Tensor, seeds: torch.Tensor, on_progress: ProgressCallback | None = None
    ) -> torch.Tensor:
        if self.seen:
            raise KeyboardInterrupt
        return super().sample(mixture, seeds, on_progress)


@pytest.mark.parametrize(("engine", "error"), [(Broken(), SepError), (Interrupted(), KeyboardInterrupt)])
def test_nothing_is_left_after_a_failure(
    tmp_path: Path, engine: Fractions, error: type[BaseException]
) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, noise(40000, 2), 8000)
    with pytest.raises(error):
        separate(path, engine, window=0.5, overlap=0.1, batch=2, samples=2, keep_samples=True)
    assert list(tmp_path.iterdir()) == [path]


def test_damage_is_found_before_the_engine_starts(tmp_path: Path) -> None:
    path = tmp_path / "mix.wav"
    signal = noise(40000, 2)
    signal[-1] = np.nan
    soundfile.write(path, signal, 8000, subtype="FLOAT")
    engine = Fractions()
    with pytest.raises(InputError):
        separate(path, engine)
    assert engine.seen == []
    assert list(tmp_path.iterdir()) == [path]


def test_the_mixture_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "bass.wav"
    soundfile.write(path, noise(100, 1), 8000)
    before = path.read_bytes()
    with (
        pytest.raises(OutputError, match=re.escape(str(path))),
        AudioReader(path) as reader,
        StemWriter([path, tmp_path / "drums.wav"], reader.info, overwrite=True) as writer,
    ):
        separate_stream(reader, [writer], Fractions(), StreamSettings(), 0)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"batch": 0},
        {"window": 0.0},
        {"overlap": 2.0},
        {"overlap": -1.0},
        {"exponent": float("nan")},
        {"reference_rms": 0.0},
        {"consistency": "magic"},
        {"fft_seconds": 0.0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        StreamSettings(**wrong)  # type: ignore[arg-type]


def test_a_negative_seed_and_the_wrong_number_of_writers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, noise(100, 1), 8000)
    with pytest.raises(UsageError, match="seed"):
        separate(path, Fractions(), seed=-1)
    with AudioReader(path) as reader, pytest.raises(ValueError, match="writers"):
        separate_stream(reader, [], Fractions(), StreamSettings(), 0)


@pytest.mark.parametrize(
    ("engine", "file", "expected"), [(8000, 8000, 0.5), (8000, 16000, 0.225), (44100, 8000, 0.5)]
)
def test_estimates_end_at_half_their_rate_unless_resampled(engine: int, file: int, expected: float) -> None:
    assert cutoff(engine, file) == pytest.approx(expected)
