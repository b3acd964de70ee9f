"""Finished estimates against references: read one track after the other, and score it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sepcli.errors import InputError, SepError
from sepcli.evaluation.baselines import AVERAGE, ORACLE, average, oracle_mask
from sepcli.evaluation.folder_layouts import MIXTURE, FolderTrack, Pairing, Source, Stems
from sepcli.evaluation.report import Failure
from sepcli.evaluation.score import Signals, TrackScore, score_track
from sepcli.media.audio import AudioReader
from sepcli.media.images import read_image
from sepcli.metrics import METRICS
from sepcli.metrics.assignment import best_permutation
from sepcli.metrics.audio import si_sdr
from sepcli.metrics.images import psnr

Result = list[TrackScore] | Failure
OTHERS = 0.01
"""Share of the mixture's power that the scored stems may leave to coding and mastering: -20 dB."""


def score_folders(
    pairing: Pairing, metrics: Sequence[str], *, any_order: bool = False, workers: int = 1
) -> Iterator[Result]:
    """Read and score one track after the other, beside the baselines.

    The mixture is the references' own ``mixture.*`` if there is one, else the sum of the stems; of images
    always the sum. Where it holds more than the stems that are scored, the baselines know the rest as one
    more source.

    Args:
        pairing: From ``pair_folders``.
        metrics: Keys of ``sepcli.metrics.METRICS``, all of tracks or all of images.
        any_order: Put the estimates of a track in the order of the greatest mean SI-SDR, of images PSNR.
        workers: Processes, with one thread each; results do not depend on them.

    Yields:
        Per track its scores, or why it has none.

    Raises:
        SepError: A worker was killed.
    """
    score = partial(_try, pairing.stems, tuple(metrics), any_order)
    if workers == 1 or len(pairing.tracks) < 2:
        yield from map(score, pairing.tracks)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has threads may hang
    pool = ProcessPoolExecutor(min(workers, len(pairing.tracks)), context, initializer=_prepare_worker)
    try:
        yield from pool.map(score, pairing.tracks)
    except BrokenProcessPool as error:
        raise SepError(
            "a process that scores was ended from outside, as happens when memory is short",
            "ask for fewer --workers; with --out the same command continues",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word: the parent has the last
    torch.set_num_threads(1)
    threadpool_limits(1)


def _try(stems: Sequence[str], metrics: Sequence[str], any_order: bool, track: FolderTrack) -> Result:
    try:
        if METRICS[metrics[0]].medium == "image":
            return _score_images(track, stems, metrics, any_order)
        return _score_sounds(track, stems, metrics, any_order)
    except SepError as error:
        return Failure(track.name, error.message)


def _score_sounds(
    track: FolderTrack, stems: Sequence[str], metrics: Sequence[str], any_order: bool
) -> list[TrackScore]:
    wanted = [*stems, MIXTURE] if MIXTURE in track.references else stems
    signals, rate = read_alike(track.references, wanted)
    sources = signals[: len(stems)]
    mixture = signals[-1] if MIXTURE in wanted else sources.sum(axis=0)
    mixed, x = torch.from_numpy(mixture).T, _with_rest(sources, mixture)
    weights, asked = (1.0,) * len(x), slice(len(stems))
    rows: dict[str, Callable[[], Signals]] = {
        row: partial(_read_estimates, estimates, stems, sources, rate, any_order)
        for row, estimates in track.estimates.items()
    }
    rows |= {
        AVERAGE: lambda: average(mixed, weights)[asked].transpose(1, 2).numpy(),
        ORACLE: lambda: oracle_mask(mixed, x, weights, rate)[asked].transpose(1, 2).numpy(),
    }
    return [
        score
        for method, row in rows.items()
        for score in score_track(track.name, method, stems, sources, row(), mixture, metrics, rate)
    ]


def _with_rest(sources: Signals, mixture: Signals) -> torch.Tensor:
    """Sources (K, T, C) as (K, C, T), and as one more what they leave of the mixture (T, C) if it is much."""
    rest = mixture - sources.sum(axis=0)
    heard = np.vdot(rest, rest) > OTHERS * np.vdot(mixture, mixture)
    every = np.concatenate([sources, rest[None]]) if heard else sources
    return torch.from_numpy(every).transpose(1, 2)


def _read_estimates(
    estimates: Stems, stems: Sequence[str], sources: Signals, rate: int, any_order: bool
) -> Signals:
    signals, own = read_alike(estimates, stems)
    if own != rate or signals.shape != sources.shape:
        raise InputError(
            f"{_name(estimates[stems[0]])} has {_shape(signals[0], own)}, but the references "
            f"have {_shape(sources[0], rate)}",
            "compare files of the same sample rate, channels and length",
        )
    if not any_order:
        return signals
    return signals[list(best_permutation([[si_sdr(s, e) for e in signals] for s in sources]))]


def _score_images(
    track: FolderTrack, stems: Sequence[str], metrics: Sequence[str], any_order: bool
) -> list[TrackScore]:
    sources = _read_images(track.references, stems)
    for metric in metrics:
        least = METRICS[metric].smallest
        if min(sources.shape[2:]) < least:
            raise InputError(f"{metric} needs images of {least} pixels or more", "use psnr")
    shares = average(torch.from_numpy(sources.sum(axis=0)), (1.0,) * len(stems)).clamp(0.0, 1.0)
    rows = {row: _read_images(estimates, stems) for row, estimates in track.estimates.items()}
    scores: list[TrackScore] = []
    for method, estimates in {**rows, AVERAGE: shares.numpy()}.items():
        if estimates.shape != sources.shape:
            raise InputError(
                f"images of {estimates.shape[1:]} by {method} for references of {sources.shape[1:]}",
                "compare images of the same size and channels",
            )
        order: Sequence[int] = range(len(stems))
        if any_order:
            order = best_permutation([[psnr(s, e) for e in estimates] for s in sources])
        for metric in metrics:
            measure = METRICS[metric].resolve()
            scores += [
                TrackScore(track.name, method, stem, metric, measure(source, estimates[j]))
                for stem, source, j in zip(stems, sources, order, strict=True)
            ]
    return scores


def _read_images(stems: Stems, names: Sequence[str]) -> Signals:
    """(K, C, H, W)."""
    images = [read_image(path).pixels for path in (stems[name] for name in names) if isinstance(path, Path)]
    if len({image.shape for image in images}) > 1:
        raise InputError(f"{_name(stems[names[0]])} and its like differ in size", "make them alike")
    return np.stack(images)


def read_alike(stems: Mapping[str, Source], names: Sequence[str]) -> tuple[Signals, int]:
    """Signals (N, T, C) that have everything in common, and their sample rate.

    Raises:
        InputError: One cannot be read, or they differ.
    """
    first, sample_rate = read_sound(stems[names[0]])
    signals = np.empty((len(names), *first.shape), dtype=np.float32)
    signals[0] = first
    for number, name in enumerate(names[1:], start=1):
        sound, rate = read_sound(stems[name])
        if rate != sample_rate or sound.shape != first.shape:
            raise InputError(
                f"{_name(stems[name])} has {_shape(sound, rate)}, but {_name(stems[names[0]])} has "
                f"{_shape(first, sample_rate)}",
                "compare files of the same sample rate, channels and length",
            )
        signals[number] = sound
    return signals, sample_rate


def read_sound(source: Source) -> tuple[Signals, int]:
    """(T, C) and the sample rate.

    Raises:
        InputError: It cannot be read.
    """
    if not isinstance(source, Path):
        return source.read()
    with AudioReader(source) as reader:
        return reader.read(reader.info.frames).T.astype(np.float32), reader.info.sample_rate


def _name(source: Source) -> str:
    return str(source if isinstance(source, Path) else source.paths[0])


def _shape(sound: Signals, rate: int) -> str:
    return f"{sound.shape[0]} samples, {sound.shape[1]} channel(s), {rate} Hz"
