"""Recordings through an engine, window by window: read, sample, make consistent, join, write.

Any length takes the memory of one batch of windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.blocks import BlockReader, BlockWriter
from sepcli.separation.fit import DenoisingError
from sepcli.separation.levels import measure_gain, side_level
from sepcli.separation.parallel import threads_of
from sepcli.separation.settings import StreamSettings
from sepcli.separation.spread import SampleTally
from sepcli.separation.stem_report import DirectionReport, StreamReport, Tally
from sepcli.separation.window_sampler import WindowSampler
from sepcli.separation.windows_plan import plan_windows
from sepcli.signal.windows import Joiner, Signal

OnSeconds = Callable[[float, float], None]
"""Progress: called with (seconds of audio done, seconds in all)."""
WINDOWS = 8
"""Windows that several threads are given at once, at most, however small the batch is."""
CHANNELS = 128
"""Channels of all windows that are in memory at once: those of many channels are not batched."""


def separate_stream(
    reader: BlockReader,
    writers: Sequence[BlockWriter],
    engine: Engine,
    settings: StreamSettings,
    seed: int,
    on_progress: OnSeconds | None = None,
    raw: BlockWriter | None = None,
    fit_sigma: float | None = None,
) -> StreamReport:
    """Separate a recording; the same seed gives the same stems, whatever the batch size.

    Args:
        reader: the mixture, at its start.
        writers: one; or one per sample with ``settings.keep_samples``, in the order of sampling;
            the report's ``samples.order`` ranks them.
        engine: samples the sources.
        settings: windows, samples and consistency.
        seed: at least 0.
        on_progress: called with seconds of audio.
        raw: receives the first sample of every window, without consistency.
        fit_sigma: σ of the noise of ``denoising_error`` in the report; None: it is not measured.

    Raises:
        InputError: the recording turns out to be damaged; nothing has been written then.
        OutputError: a write failed.
        UsageError: the seed is negative.
        SepError: the engine returned something that is not a signal.
    """
    started = time.perf_counter()
    if seed < 0:
        raise UsageError(f"the seed {seed} is negative", "use 0 or a positive number", argument="seed")
    if len(writers) != (settings.samples if settings.keep_samples else 1):
        raise ValueError(f"{len(writers)} writers for {settings.samples} samples")
    job = _Recording(reader, engine, settings, seed, fit_sigma)
    info, windows = reader.info, job.plan.windows
    joiners = [Joiner(windows, info.frames) for _ in writers]
    mixtures, bare = Joiner(windows, info.frames), Joiner(windows, info.frames)
    tallies = [Tally(engine.names) for _ in writers]
    silent = 0
    for mixture, samples in job.run(on_progress or (lambda done, total: None)):
        silent += not mixture.any()
        block = mixtures.push(mixture)
        sets = zip(writers, joiners, tallies, job.sets(mixture, samples), strict=True)
        for writer, joiner, tally, stems in sets:
            joined = joiner.push(stems)
            tally.add(writer.write(joined, None if settings.consistency == "none" else block), block)
        if raw is not None:
            raw.write(bare.push(job.sampler.bare(mixture, samples)))
    quality = None if job.tally is None else job.tally.report()
    if quality is not None and settings.keep_samples:
        tallies = [tallies[number] for number in quality.order]
    return StreamReport(
        frames=info.frames,
        sample_rate=info.sample_rate,
        seconds=info.seconds,
        elapsed=time.perf_counter() - started,
        windows=windows.count(info.frames),
        silent_windows=silent,
        gain=job.gain,
        side_db=job.side_db,
        directions=tuple(DirectionReport(*cost) for cost in zip(job.sampled, job.elapsed, strict=True)),
        rms=tallies[0].rms,
        residual=max(tally.residual for tally in tallies),
        sets=tuple(tally.stems() for tally in tallies),
        samples=quality,
        denoising_error=job.error.decibels,
    )


class _Recording:
    """The windows of one recording, and the engine's samples of their directions.

    Attributes:
        sampled: number of windows of which the first, second, … direction was sampled.
        elapsed: seconds that took.
        side_db: energy of what the mean of the channels lacks, relative to that mean's; None: no mean.
        error: of the first sample of the first direction, if there is a σ to measure it at.
    """

    def __init__(
        self,
        reader: BlockReader,
        engine: Engine,
        settings: StreamSettings,
        seed: int,
        fit_sigma: float | None = None,
    ) -> None:
        self.reader, self.engine, self.settings, self.seed = reader, engine, settings, seed
        info, rate = reader.info, engine.sample_rate
        self.gain = measure_gain(reader, settings.reference_rms, settings.side)
        self.plan = plan_windows(settings, engine, info.frames, info.sample_rate)
        self.sampler = WindowSampler(engine, settings, info.sample_rate)
        self.error, self._fit_sigma = DenoisingError(), fit_sigma
        counts = settings.samples, len(engine.names), info.seconds, rate, settings.confidence_excess
        self.tally = SampleTally(*counts) if settings.samples > 1 else None
        self.sampled, self.elapsed = list[int](), list[float]()
        self._energies = np.zeros(2)

    @property
    def side_db(self) -> float | None:
        mid, side = self._energies
        return round(float(10 * np.log10(side / mid)), 1) if mid > 0 and side > 0 else None

    def run(self, on_progress: OnSeconds) -> Iterator[tuple[Signal, list[Tensor]]]:
        """Yield every window (C, samples) and, per direction, its stems (S, K, N) at the engine's rate; none
        for silence."""
        info, windows = self.reader.info, self.plan.windows
        source = windows.split(self.reader.read, info.frames)
        hop = float((windows.length - windows.overlap) * windows.block / info.sample_rate)
        first, threads = 0, threads_of(self.engine.device)
        together = max(self.settings.batch, min(threads, WINDOWS))
        together = max(1, min(together, CHANNELS // info.channels))
        while chunk := list(islice(source, together)):
            start, share = first * hop, len(chunk) * hop

            def inside(done: int, total: int, start: float = start, share: float = share) -> None:
                on_progress(min(info.seconds, start + share * done / max(1, total)), info.seconds)

            audible = [index for index, window in enumerate(chunk) if window.any()]
            samples = self._sample([chunk[i] for i in audible], [first + i for i in audible], inside)
            by_window = dict(zip(audible, samples, strict=True))
            for index, window in enumerate(chunk):
                self._energies += side_level(window)
                yield window, by_window.get(index, [])
            first += len(chunk)
            on_progress(min(info.seconds, first * hop), info.seconds)
        on_progress(info.seconds, info.seconds)

    def sets(self, window: Signal, samples: Sequence[Tensor]) -> Iterator[Signal]:
        """Yield the set of consistent stems of a window (C, samples), or S, from (S, K, N) per direction."""
        sets = self.settings.samples if self.settings.keep_samples else 1
        if not samples:
            yield from (np.zeros((len(self.engine.names), *window.shape)) for _ in range(sets))
            return
        for group in zip(*(of_direction.chunk(sets) for of_direction in samples), strict=True):
            estimates = [self.sampler.resampled(stems, window.shape[-1]) for stems in group]
            yield self.sampler.consistent(estimates, window)

    def _sample(
        self, windows: list[Signal], numbers: list[int], on_progress: ProgressCallback
    ) -> list[list[Tensor]]:
        """Windows and their numbers in the recording to stems (S, K, N) at the engine's rate, per direction.

        The directions of all windows share a call of the engine, with separate seeds; so do its seconds.
        """
        if not windows:
            return []
        started, samples = time.perf_counter(), self.settings.samples
        parts = [self.sampler.directions(window) for window in windows]
        rows = [(index, rank) for index, of_window in enumerate(parts) for rank in range(len(of_window))]
        gains = [self.sampler.gain(parts[index], rank, self.gain) for index, rank in rows]
        seeds = torch.tensor([self.plan.seeds(self.seed, numbers[i], samples, rank) for i, rank in rows])
        mixtures, sources = self.sampler.sample(
            [parts[index][rank].signal for index, rank in rows],
            gains,
            seeds,
            self.plan.engine_length,
            on_progress,
        )
        first = [row for row, (_, rank) in enumerate(rows) if rank == 0]
        self.error.add(
            self.sampler.denoising_energies(mixtures[first], sources[first], seeds[first], self._fit_sigma)
        )
        elapsed = time.perf_counter() - started
        stems: list[list[Tensor]] = [[] for _ in windows]
        for (index, rank), mixture, sampled, gain in zip(rows, mixtures, sources, gains, strict=True):
            stems[index].append(self.sampler.stems_of(sampled, gain))
            self._add(numbers[index], mixture, sampled, gain / self.gain)
            self._count(rank, elapsed / len(rows))
        return stems

    def _add(self, number: int, mixture: Tensor, sampled: Tensor, level: float) -> None:
        """Count samples (S, K, 1, N) of a window's direction, at a level relative to the recording's."""
        if self.tally is not None:
            start = self.plan.start(number) / self.reader.info.sample_rate
            log_prior = self.engine.log_prior(sampled) if self.settings.keep_samples else None
            stems = self.sampler.stems_of(sampled, level)
            self.tally.add(start, mixture[0].double() / level, stems, log_prior)

    def _count(self, rank: int, seconds: float) -> None:
        if rank == len(self.sampled):
            self.sampled.append(0)
            self.elapsed.append(0.0)
        self.sampled[rank] += 1
        self.elapsed[rank] += seconds
