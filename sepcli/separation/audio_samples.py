"""Separations of recordings in memory: one of any length, or several short ones in one call of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.arrays import Layout
from sepcli.separation.blocks import ArrayReader, ArrayWriter
from sepcli.separation.engines import part_of
from sepcli.separation.fit import DenoisingError, FitReference
from sepcli.separation.levels import measure_gain
from sepcli.separation.result import Result
from sepcli.separation.seeds import sample_seeds
from sepcli.separation.settings import StreamSettings
from sepcli.separation.spread import SampleReport
from sepcli.separation.stream import separate_stream
from sepcli.separation.window_sampler import WindowSampler
from sepcli.separation.windows_plan import plan_windows
from sepcli.signal.windows import Signal


@dataclass(frozen=True)
class AudioSamples:
    """Samples of the sources of one recording, the best first.

    Attributes:
        stems: (S, K, C, T) float64, at their level in the mixture.
        raw: (K, C, T), the first sample of the engine, without consistency with the mixture.
        reports: quality of each of S ≥ 2 kept samples; () for one.
        residual: the largest |mixture - Σ stems|.
        confidence: per stem and second, dB; () for a single sample.
        seeds: (S,) of the first block.
        denoising_error: dB, see ``sepcli.separation.fit``; None: not measured.
    """

    stems: Tensor
    raw: Tensor
    reports: tuple[SampleReport, ...]
    residual: float
    confidence: tuple[tuple[float | None, ...], ...]
    seeds: tuple[int, ...]
    denoising_error: float | None = None

    def result(
        self,
        layout: Layout,
        names: Sequence[str],
        settings: Mapping[str, Any],
        sample_rate: int,
        fit: FitReference | None = None,
    ) -> Result:
        """Return them in the caller's layout, with their fit if there is a reference."""
        laid = layout.restore(self.stems)
        bounds = tuple(report.log_prior for report in self.reports if report.log_prior is not None)
        return Result(
            sources=dict(zip(names, laid[0], strict=True)),
            samples=laid,
            raw=layout.restore(self.raw),
            residual=tuple(report.residual_rms for report in self.reports) or (self.residual,),
            agreement=tuple(report.agreement_db for report in self.reports) or (float("nan"),),
            log_prior=bounds or None,
            settings={**settings, "samples": len(self.stems)},
            seeds=self.seeds,
            layout=layout,
            confidence=dict(zip(names, self.confidence, strict=False)),
            fit=None if fit is None else fit.fit(self.denoising_error),
            denoising_error=self.denoising_error,
            sample_rate=sample_rate,
        )


def sample_audio(
    engine: Engine,
    settings: StreamSettings,
    signal: Signal,
    sample_rate: int,
    seed: int,
    on_progress: ProgressCallback | None = None,
    fit_sigma: float | None = None,
) -> AudioSamples:
    """Separate a recording (C, T) in memory, window by window; see ``separate_stream``."""
    kept = settings.samples if settings.keep_samples else 1
    writers, raw = [ArrayWriter() for _ in range(kept)], ArrayWriter()

    def progress(done: float, total: float) -> None:
        if on_progress is not None:
            on_progress(round(1000 * done), round(1000 * total))

    reader = ArrayReader(signal, sample_rate)
    report = separate_stream(reader, writers, engine, settings, seed, progress, raw, fit_sigma)
    several = report.samples if settings.keep_samples else None
    order = (0,) if several is None else several.order
    seeds = sample_seeds(seed, 0, kept)
    return AudioSamples(
        stems=torch.stack([writers[number].stems for number in order]),
        raw=raw.stems,
        reports=() if several is None else several.reports,
        residual=report.residual,
        confidence=() if report.samples is None else report.samples.confidence,
        seeds=tuple(seeds[number] for number in order),
        denoising_error=report.denoising_error,
    )


def sample_audio_batch(
    engine: Engine,
    settings: StreamSettings,
    signals: Sequence[Signal],
    sample_rate: int,
    seeds: Sequence[int],
    on_progress: ProgressCallback | None = None,
    fit_sigma: float | None = None,
) -> list[AudioSamples]:
    """Separate recordings (C, T), each as ``sample_audio`` with its seed.

    Those of equal length that are one window, of one direction, share calls of the engine, unless several
    samples are kept.
    """
    lengths = {signal.shape[-1] for signal in signals}
    plan = plan_windows(settings, engine, max(lengths), sample_rate)
    sampler = WindowSampler(engine, settings, sample_rate)
    silent = any(not signal.any() for signal in signals)
    single = len(lengths) == plan.windows.count(max(lengths)) == 1 and not (settings.keep_samples or silent)
    readers = [ArrayReader(signal, sample_rate) for signal in signals]
    windows = [next(plan.windows.split(reader.read, plan.frames)) for reader in readers] if single else []
    parts = [sampler.directions(window) for window in windows]
    if not single or any(len(directions) > 1 for directions in parts):
        results = []
        for number, (signal, seed) in enumerate(zip(signals, seeds, strict=True)):
            progress = None if on_progress is None else part_of(on_progress, number, len(signals))
            results.append(sample_audio(engine, settings, signal, sample_rate, seed, progress, fit_sigma))
        return results
    for reader in readers:
        reader.rewind()
    gains = [measure_gain(reader, settings.reference_rms, settings.side) for reader in readers]
    window_seeds = torch.tensor([plan.seeds(seed, 0, settings.samples) for seed in seeds])
    mono = [directions[0].signal for directions in parts]
    mixtures, sources = sampler.sample(mono, gains, window_seeds, plan.engine_length, on_progress)
    energies = sampler.denoising_energies(mixtures, sources, window_seeds, fit_sigma)
    results = []
    each = zip(windows, signals, gains, sources, seeds, strict=True)
    for number, (window, signal, gain, sampled, seed) in enumerate(each):
        sampled_stems, length = sampler.stems_of(sampled, gain), signal.shape[-1]
        resampled = sampler.resampled(sampled_stems, window.shape[-1])
        output = sampler.consistent([resampled], window)[..., :length]
        residual = float(np.abs(signal - output.sum(axis=0)).max(initial=0))
        raw = torch.from_numpy(sampler.bare(window, [sampled_stems])[..., :length])
        first = tuple(sample_seeds(seed, 0, 1))
        error = DenoisingError()
        error.add(energies[number : number + 1])
        stems = torch.from_numpy(output)[None]
        results.append(AudioSamples(stems, raw, (), residual, (), first, error.decibels))
    return results


def keeping(settings: StreamSettings, samples: int) -> StreamSettings:
    """The settings that keep several samples; those of one result for one."""
    return settings if samples == 1 else replace(settings, samples=samples, keep_samples=True)
