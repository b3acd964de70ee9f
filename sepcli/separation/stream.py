"""Recordings through an engine, window by window: read, sample, make consistent, join, write.

Any length takes the memory of one batch of windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.errors import SepError, UsageError
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.blocks import BlockReader, BlockWriter
from sepcli.separation.levels import cutoff, downmix, measure_gain, resample
from sepcli.separation.settings import StreamSettings
from sepcli.separation.spread import SampleTally
from sepcli.separation.stem_report import StreamReport, Tally
from sepcli.separation.windows_plan import plan_windows
from sepcli.signal.consistency import completed, fft_size, project, wiener
from sepcli.signal.windows import Joiner, Signal

OnSeconds = Callable[[float, float], None]
"""Progress: called with (seconds of audio done, seconds in all)."""


def separate_stream(
    reader: BlockReader,
    writers: Sequence[BlockWriter],
    engine: Engine,
    settings: StreamSettings,
    seed: int,
    on_progress: OnSeconds | None = None,
    raw: BlockWriter | None = None,
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
    job = _Recording(reader, engine, settings, seed)
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
        rms=tallies[0].rms,
        residual=max(tally.residual for tally in tallies),
        sets=tuple(tally.stems() for tally in tallies),
        samples=quality,
    )


@dataclass(frozen=True)
class WindowSampler:
    """Samples of the sources of windows at a recording's rate, in Hz, and the stems computed from them."""

    engine: Engine
    settings: StreamSettings
    rate: int

    def sample(
        self,
        windows: Sequence[Signal],
        gains: Sequence[float],
        seeds: Tensor,
        length: int,
        on_progress: ProgressCallback | None,
    ) -> tuple[Tensor, Tensor]:
        """Sample the sources of B windows (C, samples), times their gains, with seeds (B, S[, Z]).

        Returns:
            The mixtures (B, 1, N) and the unweighted sources (B, S, K, 1, N), as the engine receives and
            returns them; ``length`` is N.

        Raises:
            SepError: the engine returned something that is not a signal.
        """
        target = self.engine.sample_rate
        mono = [
            resample(downmix(w).signal * gain, self.rate, target, length)
            for w, gain in zip(windows, gains, strict=True)
        ]
        mixture = torch.from_numpy(np.stack(mono)[:, None]).float()
        sources = self.engine.sample(mixture, seeds, on_progress).detach().cpu()
        expected = (len(windows), seeds.shape[1], len(self.engine.names), 1, length)
        if tuple(sources.shape) != expected or not bool(torch.isfinite(sources).all()):
            raise SepError(
                f"the engine returned {tuple(sources.shape)}, or values that are not finite, for {expected}",
                "try another prior, sampler or device; a custom prior may need more training",
            )
        return mixture, sources

    def stems_of(self, sources: Tensor, gain: float) -> Tensor:
        """Unweighted sources (S, K, 1, N) of the engine to stems (S, K, N) at the recording's level,
        float64."""
        return sources[:, :, 0].double() * self._weights[:, None] / gain

    def resampled(self, stems: Tensor, length: int) -> Signal:
        """Stems (S, K, N) to (S, K, length) at the recording's rate."""
        rates = (self.engine.sample_rate, self.rate)
        return np.array([[resample(stem.numpy(), *rates, length) for stem in sample] for sample in stems])

    def bare(self, window: Signal, stems: Tensor | None) -> Signal:
        """The first of the stems (S, K, N) of a window (C, samples), None for silence, spread over the
        channels."""
        if stems is None:
            return np.zeros((len(self.engine.names), *window.shape))
        first = self.resampled(stems[:1], window.shape[-1])[0]
        return np.asarray(first[:, None] * downmix(window).spread[:, None], dtype=np.float64)

    def consistent(self, estimates: Signal, window: Signal) -> Signal:
        """Estimates (S, K, samples) of a window (C, samples) to stems (K, C, samples)."""
        mixture, samples = torch.from_numpy(window), torch.from_numpy(estimates)
        n_fft = fft_size(self.settings.fft_seconds, self.rate)
        masks: dict[str, Any] = {
            "n_fft": n_fft,
            "hop": n_fft // 4,
            "exponent": self.settings.exponent,
            "cutoff": cutoff(self.engine.sample_rate, self.rate),
        }
        if self.settings.consistency == "wiener":
            return wiener(samples, mixture, **masks).numpy()
        raw = estimates.mean(axis=0)[:, None] * downmix(window).spread[:, None]
        if self.settings.consistency == "none":
            return np.asarray(raw, dtype=np.float64)
        kept = torch.from_numpy(raw)
        if self.settings.consistency == "residual":
            return completed(samples, kept, mixture, **masks).numpy()
        return np.asarray(project(kept, mixture, self._weights).numpy(), dtype=np.float64)

    @property
    def _weights(self) -> Tensor:
        return torch.tensor(self.engine.weights, dtype=torch.float64)


class _Recording:
    """The windows of one recording, and the engine's samples of them."""

    def __init__(self, reader: BlockReader, engine: Engine, settings: StreamSettings, seed: int) -> None:
        self.reader, self.engine, self.settings, self.seed = reader, engine, settings, seed
        info, rate = reader.info, engine.sample_rate
        self.gain = measure_gain(reader, settings.reference_rms)
        self.plan = plan_windows(settings, engine, info.frames, info.sample_rate)
        self.sampler = WindowSampler(engine, settings, info.sample_rate)
        several = settings.samples > 1
        self.tally = SampleTally(settings.samples, len(engine.names), info.seconds, rate) if several else None

    def run(self, on_progress: OnSeconds) -> Iterator[tuple[Signal, Tensor | None]]:
        """Yield every window (C, samples) and its stems (S, K, N) at the engine's rate, None for silence."""
        info, windows = self.reader.info, self.plan.windows
        source = windows.split(self.reader.read, info.frames)
        hop = float((windows.length - windows.overlap) * windows.block / info.sample_rate)
        first = 0
        while chunk := list(islice(source, self.settings.batch)):
            start, share = first * hop, len(chunk) * hop

            def inside(done: int, total: int, start: float = start, share: float = share) -> None:
                on_progress(min(info.seconds, start + share * done / max(1, total)), info.seconds)

            audible = [index for index, window in enumerate(chunk) if window.any()]
            samples = self._sample([chunk[i] for i in audible], [first + i for i in audible], inside)
            by_window = dict(zip(audible, samples, strict=True))
            for index, window in enumerate(chunk):
                yield window, by_window.get(index)
            first += len(chunk)
            on_progress(min(info.seconds, first * hop), info.seconds)
        on_progress(info.seconds, info.seconds)

    def sets(self, window: Signal, samples: Tensor | None) -> Iterator[Signal]:
        """Yield the set of consistent stems of a window (C, samples), or S, from (S, K, N); None: silence."""
        sets = self.settings.samples if self.settings.keep_samples else 1
        if samples is None:
            yield from (np.zeros((len(self.engine.names), *window.shape)) for _ in range(sets))
            return
        for group in samples.chunk(sets):
            yield self.sampler.consistent(self.sampler.resampled(group, window.shape[-1]), window)

    def _sample(
        self, windows: list[Signal], numbers: list[int], on_progress: ProgressCallback
    ) -> list[Tensor]:
        """Windows and their numbers in the recording to stems (S, K, N) at the engine's rate."""
        if not windows:
            return []
        samples = self.settings.samples
        seeds = torch.tensor([self.plan.seeds(self.seed, n, samples) for n in numbers])
        gains = [self.gain] * len(windows)
        mixtures, sources = self.sampler.sample(windows, gains, seeds, self.plan.engine_length, on_progress)
        if self.tally is not None:
            for number, mixture, sampled in zip(numbers, mixtures, sources, strict=True):
                start = self.plan.start(number) / self.reader.info.sample_rate
                log_prior = self.engine.log_prior(sampled) if self.settings.keep_samples else None
                stems = self.sampler.stems_of(sampled, gain=1.0)
                self.tally.add(start, mixture[0].double(), stems, log_prior)
        return [self.sampler.stems_of(sampled, self.gain) for sampled in sources]
