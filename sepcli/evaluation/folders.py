"""Finished estimates of a track against its references: read the files and compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from sepcli.errors import InputError
from sepcli.evaluation.baselines import AVERAGE, average, score_rows
from sepcli.evaluation.folder_layouts import MIXTURE, Source, Stems
from sepcli.evaluation.folder_pairs import FolderTrack
from sepcli.evaluation.previews import REFERENCE, Clip, clip
from sepcli.evaluation.score import TrackScore, image_values, in_best_order
from sepcli.media.audio import AudioReader
from sepcli.media.images import read_image
from sepcli.metrics import METRICS
from sepcli.metrics.audio import si_sdr
from sepcli.metrics.images import psnr
from sepcli.metrics.tracks import Signals

LEEWAY = 1024
"""Samples by which estimates may be longer or shorter than references: what encoders and windows leave."""
REMAINDER = 0.01
"""Share of the mixture's power that the scored stems may leave to coding and mastering: -20 dB."""


def score_track_files(
    track: FolderTrack, metrics: Sequence[str], any_order: bool = False
) -> list[TrackScore]:
    """Read and score one track, beside the baselines.

    The mixture is ``mixture.*`` beside the references if there is one, else the sum of the stems; of images
    always the sum. Where it holds more than the stems that are scored, the remainder is one more source for
    the baselines. Estimates that are up to ``LEEWAY`` samples longer or shorter than the references are cut
    at the end or padded with silence, as museval does.

    Args:
        track: its files.
        metrics: keys of ``sepcli.metrics.METRICS``, all of audio or all of images.
        any_order: put the estimates in the order of the greatest mean SI-SDR, of images PSNR.

    Raises:
        InputError: a file cannot be read, or files differ in sample rate, channels or length.
    """
    score = _score_images if METRICS[metrics[0]].medium == "image" else _score_sounds
    return score(track, metrics, any_order)


def track_clips(track: FolderTrack, images: bool) -> list[Clip]:
    """Return previews of a track's files: its mixture if there is a file, the references, the estimates."""
    load = _image_signal if images else _read_sound
    wanted = []
    if MIXTURE in track.references and not images:
        wanted.append((MIXTURE, MIXTURE, track.references[MIXTURE]))
    for row, stems in {REFERENCE: track.references, **track.estimates}.items():
        wanted += [(row, stem, stems[stem]) for stem in track.stems]
    return [clip(row, stem, *load(source)) for row, stem, source in wanted]


def _score_sounds(track: FolderTrack, metrics: Sequence[str], any_order: bool) -> list[TrackScore]:
    stems = track.stems
    wanted = [*stems, MIXTURE] if MIXTURE in track.references else stems
    signals, rate = read_alike(track.references, wanted)
    sources = signals[: len(stems)]
    mixture = signals[-1] if MIXTURE in wanted else sources.sum(axis=0)
    excess: dict[str, Mapping[str, int]] = {}

    def read(row: str, estimates: Stems) -> Signals:
        estimated, excess[row] = _read_estimates(estimates, stems, sources, rate)
        return in_best_order(sources, estimated, si_sdr) if any_order else estimated

    rows = {row: partial(read, row, estimates) for row, estimates in track.estimates.items()}
    other = mixture - sources.sum(axis=0)
    audible = np.vdot(other, other) > REMAINDER * np.vdot(mixture, mixture)
    every = np.concatenate([sources, other[None]]) if audible else sources
    scores = score_rows(track.id, rows, stems, every, mixture, (1.0,) * len(every), metrics, rate)
    return [replace(score, excess=excess.get(score.method, {}).get(score.stem, 0)) for score in scores]


def _read_estimates(
    estimates: Stems, stems: Sequence[str], sources: Signals, rate: int
) -> tuple[Signals, dict[str, int]]:
    """Return estimates like the sources (K, T, C), and by how many samples each file was longer."""
    signals, excess = np.zeros_like(sources), {}
    length = sources.shape[1]
    for number, stem in enumerate(stems):
        signal, other = _read_sound(estimates[stem])
        excess[stem] = len(signal) - length
        if other != rate or signal.shape[1] != sources.shape[2] or abs(excess[stem]) > LEEWAY:
            raise _unlike(
                f"{_name(estimates[stem])} has {_shape(signal, other)}, but the references "
                f"have {_shape(sources[0], rate)}"
            )
        signals[number, : len(signal)] = signal[:length]
    return signals, excess


def _score_images(track: FolderTrack, metrics: Sequence[str], any_order: bool) -> list[TrackScore]:
    stems = track.stems
    sources = _read_images(track.references, stems)
    for metric in metrics:
        least = METRICS[metric].smallest
        if min(sources.shape[2:]) < least:
            raise InputError(f"{metric} needs images of {least} pixels or more", "use psnr")
    shares = average(sources.sum(axis=0), (1.0,) * len(stems)).clip(0.0, 1.0)
    rows = {row: _read_images(estimates, stems) for row, estimates in track.estimates.items()}
    scores: list[TrackScore] = []
    for method, estimates in {**rows, AVERAGE: shares}.items():
        if estimates.shape != sources.shape:
            raise InputError(
                f"images of {estimates.shape[1:]} by {method} for references of {sources.shape[1:]}",
                "compare images of the same size and channels",
            )
        ordered = in_best_order(sources, estimates, psnr) if any_order else estimates
        scores += image_values(track.id, method, stems, metrics, sources, ordered)
    return scores


def _read_images(stems: Stems, names: Sequence[str]) -> Signals:
    """Images (K, C, H, W)."""
    images = [read_image(path).pixels for path in (stems[name] for name in names) if isinstance(path, Path)]
    if len({image.shape for image in images}) > 1:
        raise InputError(f"{_name(stems[names[0]])} and its like differ in size", "make them alike")
    return np.stack(images)


def read_alike(stems: Mapping[str, Source], names: Sequence[str]) -> tuple[Signals, int]:
    """Read signals (N, T, C) of equal length, channels and sample rate, and return that rate, too.

    The stems of a data set's song start together; shorter ones end in silence.

    Raises:
        InputError: one cannot be read, or they differ.
    """
    first, sample_rate = _read_sound(stems[names[0]])
    signals = np.empty((len(names), *first.shape), dtype=np.float32)
    signals[0] = first
    for number, name in enumerate(names[1:], start=1):
        signal, rate = _read_sound(stems[name])
        if not isinstance(stems[name], Path) and len(signal) != signals.shape[1]:
            length = max(len(signal), signals.shape[1])
            signals, signal = (_padded(x, length) for x in (signals, signal))
            first = signals[0]
        if rate != sample_rate or signal.shape != first.shape:
            raise _unlike(
                f"{_name(stems[name])} has {_shape(signal, rate)}, but {_name(stems[names[0]])} has "
                f"{_shape(first, sample_rate)}"
            )
        signals[number] = signal
    return signals, sample_rate


def _padded(signals: Signals, length: int) -> Signals:
    """Return signals (..., T, C) with silence at the end."""
    return np.pad(signals, [*[(0, 0)] * (signals.ndim - 2), (0, length - signals.shape[-2]), (0, 0)])


def _read_sound(source: Source) -> tuple[Signals, int]:
    """Samples (T, C) and the sample rate."""
    if not isinstance(source, Path):
        return source.read()
    with AudioReader(source) as reader:
        return reader.read(reader.info.frames).T.astype(np.float32), reader.info.sample_rate


def _image_signal(source: Source) -> tuple[Signals, int]:
    if not isinstance(source, Path):
        raise InputError(f"{source.paths[0]} is no image", "give folders of images")
    return read_image(source).pixels, 0


def _unlike(message: str) -> InputError:
    return InputError(message, "compare files of the same sample rate, channels and length")


def _name(source: Source) -> str:
    return str(source if isinstance(source, Path) else source.paths[0])


def _shape(signal: Signals, rate: int) -> str:
    return f"{signal.shape[0]} samples, {signal.shape[1]} channel(s), {rate} Hz"
