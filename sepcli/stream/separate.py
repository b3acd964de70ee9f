"""From an open reader to open writers, a batch of windows at a time: any length takes the same memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

import numpy as np
import torch

from sepcli.consistency import fft_size, project, wiener
from sepcli.errors import OutputError, SepError, UsageError
from sepcli.media.audio import AudioReader
from sepcli.media.stems import StemWriter
from sepcli.protocols import OnStep, Separator
from sepcli.stream.report import StreamReport, Tally
from sepcli.stream.signal import Signal, downmix, measure_gain, resample
from sepcli.windows import Joiner, Windows

Consistency = Literal["wiener", "project", "none"]
OnSeconds = Callable[[float, float], None]
"""Progress: called with (seconds of audio done, seconds in all)."""

PASSBAND = 0.45
"""Up to this fraction of the engine's rate its output survives resampling undamped."""


@dataclass(frozen=True)
class StreamSettings:
    """How a file goes through an engine.

    Raises:
        UsageError: A value is out of its range.
    """

    window: float = 3.0
    """Seconds that the engine sees at once."""
    overlap: float = 0.5
    """Seconds of crossfade between windows."""
    batch: int = 8
    """Windows that the engine sees side by side; changes speed and memory only."""
    samples: int = 1
    """S, posterior draws per window."""
    keep_samples: bool = False
    """Write every draw as its own set of stems, instead of one set from all of them."""
    consistency: Consistency = "wiener"
    """wiener: masks on the mixture; project: estimates plus what is missing; none: bare estimates."""
    exponent: float = 2.0
    """Of the masks."""
    fft_seconds: float = 0.05
    """The short-time window of the masks, rounded to the next power of two in samples."""
    reference_rms: float | None = 0.1
    """Level that the mixture is brought to for the engine; None leaves it alone."""

    def __post_init__(self) -> None:
        checks = {
            "samples": self.samples >= 1,
            "batch": self.batch >= 1,
            "window": 0 < self.window < math.inf,
            "overlap": 0 <= self.overlap <= self.window / 2,
            "exponent": 0 < self.exponent < math.inf,
            "fft_seconds": 0 < self.fft_seconds <= 1,
            "reference_rms": self.reference_rms is None or 0 < self.reference_rms <= 1,
            "consistency": self.consistency in get_args(Consistency),
        }
        for name, fine in checks.items():
            if not fine:
                raise UsageError(
                    f"{name} = {getattr(self, name)} is out of range",
                    "the overlap is at most half the window; counts are at least 1; see --help for the rest",
                )


def separate_stream(
    reader: AudioReader,
    writers: Sequence[StemWriter],
    separator: Separator,
    settings: StreamSettings,
    seed: int,
    on_step: OnSeconds | None = None,
) -> StreamReport:
    """Separate an open file into open writers.

    Args:
        reader: The mixture, at its start.
        writers: One; or one per draw, in order, with ``settings.keep_samples``. Each holds one path per
            source.
        separator: The engine.
        settings: See there.
        seed: Not negative; the same seed gives the same stems, whatever the batch size.
        on_step: Told about progress.

    Returns:
        What came out.

    Raises:
        InputError: The file turns out to be damaged; nothing has been written then.
        OutputError: A writer would overwrite the mixture, or a write failed.
        UsageError: The seed is negative.
        SepError: The engine returned something that is not a signal.
    """
    started = time.perf_counter()
    _check(reader, writers, separator, settings, seed)
    gain = measure_gain(reader, settings.reference_rms)
    job = _Job(reader, separator, settings, seed, gain)
    info, windows = reader.info, job.windows
    joiners = [Joiner(windows, info.frames) for _ in writers]
    mixtures = Joiner(windows, info.frames)
    tallies = [Tally(separator.names) for _ in writers]
    silent = 0
    for mixture, sets in job.run(on_step or (lambda done, total: None)):
        silent += not mixture.any()
        known = mixtures.push(mixture)
        for writer, joiner, tally, stems in zip(writers, joiners, tallies, sets, strict=True):
            block = joiner.push(stems)
            tally.add(writer.write(block, None if settings.consistency == "none" else known), known)
    return StreamReport(
        frames=info.frames,
        sample_rate=info.sample_rate,
        seconds=info.seconds,
        elapsed=time.perf_counter() - started,
        windows=windows.count(info.frames),
        silent_windows=silent,
        gain=gain,
        rms=tallies[0].rms,
        residual=max(tally.residual for tally in tallies),
        sets=tuple(tally.stems() for tally in tallies),
    )


def _check(
    reader: AudioReader,
    writers: Sequence[StemWriter],
    separator: Separator,
    settings: StreamSettings,
    seed: int,
) -> None:
    if seed < 0:
        raise UsageError(f"the seed {seed} is negative", "use 0 or a positive number")
    sets = settings.samples if settings.keep_samples else 1
    if len(writers) != sets or any(len(writer.paths) != len(separator.names) for writer in writers):
        raise ValueError(f"{sets} writers of {len(separator.names)} stems are needed")
    for writer in writers:
        for path in writer.paths:
            if path.exists() and path.samefile(reader.info.path):
                raise OutputError(
                    f"a stem would replace the mixture {path}", "choose another --out folder or file name"
                )


class _Job:
    """The windows of one file, and the engine's answers to them."""

    def __init__(
        self, reader: AudioReader, separator: Separator, settings: StreamSettings, seed: int, gain: float
    ) -> None:
        self.reader, self.separator, self.settings = reader, separator, settings
        self.seed, self.gain = seed, gain
        rate = reader.info.sample_rate
        length = max(2, round(settings.window * rate))
        self.windows = Windows(length, min(round(settings.overlap * rate), length // 2))
        self.engine_length = max(1, round(length * separator.sample_rate / rate))
        self.n_fft = fft_size(settings.fft_seconds, rate)

    def run(self, on_step: OnSeconds) -> Iterator[tuple[Signal, Iterator[Signal]]]:
        """Yield every window (C, length), and an iterator over its sets of stems (K, C, length)."""
        info = self.reader.info
        source = self.windows.split(self.reader.read, info.frames)
        hop = (self.windows.length - self.windows.overlap) / info.sample_rate
        first = 0
        while chunk := list(islice(source, self.settings.batch)):
            start, share = first * hop, len(chunk) * hop

            def inside(done: int, total: int, start: float = start, share: float = share) -> None:
                on_step(min(info.seconds, start + share * done / max(1, total)), info.seconds)

            loud = [index for index, window in enumerate(chunk) if window.any()]
            draws = self._engine([chunk[i] for i in loud], [first + i for i in loud], inside)
            answers = dict(zip(loud, draws, strict=True))
            for index, window in enumerate(chunk):
                yield window, self._sets(window, answers.get(index))
            first += len(chunk)
            on_step(min(info.seconds, first * hop), info.seconds)
        on_step(info.seconds, info.seconds)

    def _engine(self, windows: list[Signal], numbers: list[int], on_step: OnStep) -> torch.Tensor:
        """Windows (C, length) and their numbers in the file to stems (B, S, K, N), at the engine's rate."""
        if not windows:
            return torch.empty(0)
        rate, target = self.reader.info.sample_rate, self.separator.sample_rate
        mono = [resample(downmix(w).signal * self.gain, rate, target, self.engine_length) for w in windows]
        mixture = torch.from_numpy(np.stack(mono)[:, None]).float()
        seeds = [[_seed(self.seed, n, draw) for draw in range(self.settings.samples)] for n in numbers]
        sources = self.separator(mixture, torch.tensor(seeds, dtype=torch.int64), on_step).detach().cpu()
        expected = (len(windows), self.settings.samples, len(self.separator.names), 1, self.engine_length)
        if tuple(sources.shape) != expected or not bool(torch.isfinite(sources).all()):
            raise SepError(
                f"the separator returned {tuple(sources.shape)}, or NaN, where finite {expected} was due",
                "try another prior, sampler or device; with a prior of your own, train it again",
            )
        weights = torch.tensor(self.separator.weights, dtype=torch.float64)[:, None]
        return sources[:, :, :, 0].double() * weights / self.gain

    def _sets(self, window: Signal, draws: torch.Tensor | None) -> Iterator[Signal]:
        """A window (C, length) and its draws (S, K, N), None for silence, to one set of stems or S."""
        sets = self.settings.samples if self.settings.keep_samples else 1
        if draws is None:
            silence = np.zeros((len(self.separator.names), *window.shape))
            yield from (silence for _ in range(sets))
            return
        rates = (self.separator.sample_rate, self.reader.info.sample_rate)
        for group in draws.chunk(sets):
            estimates = [
                [resample(stem.numpy(), *rates, self.windows.length) for stem in draw] for draw in group
            ]
            yield self._consistent(np.array(estimates), window)

    def _consistent(self, estimates: Signal, window: Signal) -> Signal:
        """Estimates (S, K, length) of a window (C, length) to stems (K, C, length)."""
        mixture = torch.from_numpy(window)
        if self.settings.consistency == "wiener":
            return wiener(
                torch.from_numpy(estimates),
                mixture,
                n_fft=self.n_fft,
                hop=self.n_fft // 4,
                exponent=self.settings.exponent,
                cutoff=min(0.5, PASSBAND * self.separator.sample_rate / self.reader.info.sample_rate),
            ).numpy()
        raw = estimates.mean(axis=0)[:, None] * downmix(window).spread[:, None]
        if self.settings.consistency == "none":
            return np.asarray(raw, dtype=np.float64)
        weights = torch.tensor(self.separator.weights, dtype=torch.float64)
        stems = project(torch.from_numpy(raw), mixture, weights)
        return np.asarray(stems.numpy(), dtype=np.float64)


def _seed(seed: int, window: int, draw: int) -> int:
    """One seed per window and draw, 63 bits, from the user's."""
    state = np.random.SeedSequence(seed, spawn_key=(window, draw)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
