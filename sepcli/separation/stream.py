"""From an open reader to open writers, a batch of windows at a time: any length takes the same memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from sepcli.errors import OutputError, SepError, UsageError
from sepcli.media.audio import AudioReader
from sepcli.media.stems import StemWriter
from sepcli.protocols import FramedSeparator, ProgressCallback, Separator
from sepcli.separation.levels import Signal, cutoff, downmix, measure_gain, resample
from sepcli.separation.settings import StreamSettings
from sepcli.separation.spread import DrawTally
from sepcli.separation.stem_report import StreamReport, Tally
from sepcli.separation.windows_plan import lay_out
from sepcli.signal.consistency import completed, fft_size, project, wiener
from sepcli.signal.windows import Joiner

OnSeconds = Callable[[float, float], None]
"""Progress: called with (seconds of audio done, seconds in all)."""


def separate_stream(
    reader: AudioReader,
    writers: Sequence[StemWriter],
    separator: Separator,
    settings: StreamSettings,
    seed: int,
    on_progress: OnSeconds | None = None,
) -> StreamReport:
    """Separate an open file into open writers.

    Args:
        reader: The mixture, at its start.
        writers: One; or one per draw with ``settings.keep_samples``. Each holds one path per source; in the
            end the first writer's paths are those of the best draw, and so on.
        separator: The engine.
        settings: See there.
        seed: Not negative; the same seed gives the same stems, whatever the batch size.
        on_progress: Told about progress.

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
    info, windows = reader.info, job.layout.windows
    joiners = [Joiner(windows, info.frames) for _ in writers]
    mixtures = Joiner(windows, info.frames)
    tallies = [Tally(separator.names) for _ in writers]
    silent = 0
    for mixture, sets in job.run(on_progress or (lambda done, total: None)):
        silent += not mixture.any()
        known = mixtures.push(mixture)
        for writer, joiner, tally, stems in zip(writers, joiners, tallies, sets, strict=True):
            block = joiner.push(stems)
            tally.add(writer.write(block, None if settings.consistency == "none" else known), known)
    draws = None if job.draws is None else job.draws.report()
    if draws is not None and settings.keep_samples:
        tallies = [tallies[number] for number in draws.order]
        paths = [writer.paths for writer in writers]
        for number, own in zip(draws.order, paths, strict=True):
            writers[number].redirect(own)
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
        draws=draws,
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
        info, rate = reader.info, separator.sample_rate
        self.layout = lay_out(settings, separator, info.frames, info.sample_rate)
        self.n_fft = fft_size(settings.fft_seconds, info.sample_rate)
        several = settings.samples > 1
        self.draws = (
            DrawTally(settings.samples, len(separator.names), info.seconds, rate) if several else None
        )

    def run(self, on_progress: OnSeconds) -> Iterator[tuple[Signal, Iterator[Signal]]]:
        """Yield every window (C, samples), and an iterator over its sets of stems (K, C, samples)."""
        info, windows = self.reader.info, self.layout.windows
        source = windows.split(self.reader.read, info.frames)
        hop = float((windows.length - windows.overlap) * windows.block / info.sample_rate)
        first = 0
        while chunk := list(islice(source, self.settings.batch)):
            start, share = first * hop, len(chunk) * hop

            def inside(done: int, total: int, start: float = start, share: float = share) -> None:
                on_progress(min(info.seconds, start + share * done / max(1, total)), info.seconds)

            loud = [index for index, window in enumerate(chunk) if window.any()]
            draws = self._engine([chunk[i] for i in loud], [first + i for i in loud], inside)
            answers = dict(zip(loud, draws, strict=True))
            for index, window in enumerate(chunk):
                yield window, self._sets(window, answers.get(index))
            first += len(chunk)
            on_progress(min(info.seconds, first * hop), info.seconds)
        on_progress(info.seconds, info.seconds)

    def _engine(
        self, windows: list[Signal], numbers: list[int], on_progress: ProgressCallback
    ) -> torch.Tensor:
        """Windows (C, samples) and their numbers in the file to stems (B, S, K, N), at the engine's rate."""
        if not windows:
            return torch.empty(0)
        rate, target = self.reader.info.sample_rate, self.separator.sample_rate
        length, samples = self.layout.engine_length, self.settings.samples
        mono = [resample(downmix(w).signal * self.gain, rate, target, length) for w in windows]
        mixture = torch.from_numpy(np.stack(mono)[:, None]).float()
        seeds = torch.tensor([self.layout.seeds(self.seed, n, samples) for n in numbers], dtype=torch.int64)
        sources = self.separator(mixture, seeds, on_progress).detach().cpu()
        expected = (len(windows), samples, len(self.separator.names), 1, length)
        if tuple(sources.shape) != expected or not bool(torch.isfinite(sources).all()):
            raise SepError(
                f"the separator returned {tuple(sources.shape)}, or NaN, where finite {expected} was due",
                "try another prior, sampler or device; with a prior of your own, train it again",
            )
        weights = torch.tensor(self.separator.weights, dtype=torch.float64)[:, None]
        stems = sources[:, :, :, 0].double() * weights
        if self.draws is not None:
            for number, heard, drawn, own in zip(
                numbers, mixture[:, 0].double(), stems, sources, strict=True
            ):
                self.draws.add(self.layout.start(number) / rate, heard, drawn, self._log_prior(own))
        return stems.div_(self.gain)

    def _log_prior(self, draws: torch.Tensor) -> torch.Tensor | None:
        """How probable draws (S, K, 1, N) are, (S,); not asked for draws that make one set together."""
        if not (self.settings.keep_samples and isinstance(self.separator, FramedSeparator)):
            return None
        return self.separator.log_prior(draws)

    def _sets(self, window: Signal, draws: torch.Tensor | None) -> Iterator[Signal]:
        """A window (C, samples) and its draws (S, K, N), None for silence, to one set of stems or S."""
        sets = self.settings.samples if self.settings.keep_samples else 1
        if draws is None:
            silence = np.zeros((len(self.separator.names), *window.shape))
            yield from (silence for _ in range(sets))
            return
        rates = (self.separator.sample_rate, self.reader.info.sample_rate)
        for group in draws.chunk(sets):
            estimates = [
                [resample(stem.numpy(), *rates, window.shape[-1]) for stem in draw] for draw in group
            ]
            yield self._consistent(np.array(estimates), window)

    def _consistent(self, estimates: Signal, window: Signal) -> Signal:
        """Estimates (S, K, samples) of a window (C, samples) to stems (K, C, samples)."""
        mixture, draws = torch.from_numpy(window), torch.from_numpy(estimates)
        masks: dict[str, Any] = {
            "n_fft": self.n_fft,
            "hop": self.n_fft // 4,
            "exponent": self.settings.exponent,
            "cutoff": cutoff(self.separator.sample_rate, self.reader.info.sample_rate),
        }
        if self.settings.consistency == "wiener":
            return wiener(draws, mixture, **masks).numpy()
        raw = estimates.mean(axis=0)[:, None] * downmix(window).spread[:, None]
        if self.settings.consistency == "none":
            return np.asarray(raw, dtype=np.float64)
        kept = torch.from_numpy(raw)
        if self.settings.consistency == "residual":
            return completed(draws, kept, mixture, **masks).numpy()
        weights = torch.tensor(self.separator.weights, dtype=torch.float64)
        return np.asarray(project(kept, mixture, weights).numpy(), dtype=np.float64)
