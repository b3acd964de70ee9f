"""A folder of recordings of one kind of audio, as a bank of stems with a single source.

Files may have any rate, length, number of channels and format that libsndfile decodes. They are mixed down
and resampled, silence is cut, and files of a few seconds (notes, hits) are laid end to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.cache import fingerprint, gather
from sepcli.datasets.recordings import read_resampled
from sepcli.datasets.stems import PEAK, SCALE, Samples, StemBank, at_peak
from sepcli.errors import InputError
from sepcli.media import MEDIA
from sepcli.media.folders import find_files

SUFFIXES = MEDIA["audio"].suffixes
"""What is taken from a folder and from its folders, in any case."""
CACHE_VERSION = 1
BLOCK = 0.05
"""Seconds whose energy separates silence from signal."""
SILENCE = 1e-6
"""Blocks with less than this fraction of the loudest block's energy are silence (-60 dB)."""
PAUSE = 0.5
"""Seconds that are left of a longer silence."""
SHORT = 10.0
"""Seconds: files that are shorter are joined, with half a pause after each, until they last as long."""
HELD_OUT = 0.1
"""Share of the recordings, by time, that is for validation."""
GATE = 1e-3
"""Seconds with less than this fraction of the loudest second's energy are pauses: no part of the level."""
HEARD = 60
"""Seconds of a recording, evenly spread, that its level is measured on."""


def audio_files(root: Path) -> list[Path]:
    """The audio files in a folder and its folders, sorted; see ``sepcli.media.folders``."""
    return find_files(root, SUFFIXES)[0]


def open_folder(root: Path, name: str, sample_rate: int = 22050, cache: Path | None = None) -> StemBank:
    """Open the recordings of one source in a folder and its folders; each file gets the same peak.

    Args:
        root: the folder.
        name: of the source.
        sample_rate: Hz; files are resampled to it and averaged to mono.
        cache: a folder for the decoded samples, which are read again if a file has changed.

    Raises:
        InputError: there are no audio files, one of them cannot be read, or all are silent.
        OutputError: the cache cannot be written.
    """
    files = audio_files(root)
    if not files:
        raise InputError(
            f"{root} holds no audio files" if root.is_dir() else f"there is no folder {root}",
            f"give a folder of recordings, such as {', '.join(SUFFIXES[:3])}",
        )
    folder = None
    if cache is not None:
        folder = cache / f"folder-{fingerprint(files, CACHE_VERSION, PEAK, sample_rate)}"
    recordings = ((0, song, samples) for song, samples in enumerate(_decode(root, files, sample_rate)))
    return gather(recordings, (name,), sample_rate, folder)


def without_silence(signal: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """A signal (T,) with its silences cut down to a pause; nothing is left of one that is silent.

    The cuts are in the middle of silences, so that attacks and decays are kept.
    """
    block = max(1, round(BLOCK * rate))
    padded = np.pad(signal, (0, -len(signal) % block)).reshape(-1, block)
    energy = np.square(padded).mean(axis=1)
    loud = np.flatnonzero((energy > SILENCE * energy.max(initial=0.0)) & (energy > 0))
    # a block is kept within half a pause of a loud one
    reach = max(1, round(PAUSE / 2 / BLOCK))
    marks = np.zeros(len(energy) + 1, dtype=np.int64)
    np.add.at(marks, np.maximum(loud - reach, 0), 1)
    np.add.at(marks, np.minimum(loud + reach + 1, len(energy)), -1)
    kept = np.repeat(np.cumsum(marks[:-1]) > 0, block)[: len(signal)]
    return np.ascontiguousarray(signal[kept])


def levelled(bank: StemBank, rms: float) -> StemBank:
    """The bank with the gains that bring each recording, without its pauses, to a root mean square."""
    gains = tuple(
        np.array([_gain(samples[start:stop], bank.sample_rate, rms) for start, stop in spans], np.float32)
        for samples, spans in zip(bank.samples, bank.spans, strict=True)
    )
    return replace(bank, gains=gains)


def split(bank: StemBank, length: int) -> tuple[StemBank, StemBank]:
    """Recordings of one source to learn from and held-out ones, by file; by time if only one is long enough.

    Only recordings of ``length`` samples, which a chunk needs, are held out.

    Raises:
        InputError: there is not enough for a chunk of each.
    """
    spans = bank.spans[0]
    lengths = spans[:, 1] - spans[:, 0]
    fit = np.flatnonzero(lengths >= length)
    if len(fit) > 1:
        order = fit[np.random.default_rng(0).permutation(len(fit))]
        due = int(np.searchsorted(np.cumsum(lengths[order]), HELD_OUT * lengths.sum())) + 1
        held = np.isin(np.arange(len(spans)), order[: min(due, len(order) - 1)])
        return _only(bank, spans[~held], ~held), _only(bank, spans[held], held)
    if not len(fit) or lengths[fit[0]] < 2 * length:
        seconds = lengths.max(initial=0) / bank.sample_rate
        raise InputError(
            f"{seconds:.1f} s of {bank.names[0]} without silence are too little: a chunk to learn from and "
            f"one to validate on last {2 * length / bank.sample_rate:.1f} s",
            "add recordings, or use shorter chunks",
        )
    start, stop = spans[fit[0]]
    border = stop - max(length, int(HELD_OUT * (stop - start)))
    first, last = spans.copy(), np.array([[border, stop]])
    first[fit[0]] = start, border
    return _only(bank, first, np.ones(len(spans), bool)), _only(bank, last, fit)


def _only(bank: StemBank, spans: NDArray[np.int64], rows: NDArray[np.bool_] | NDArray[np.int64]) -> StemBank:
    return replace(bank, spans=(spans,), songs=(bank.songs[0][rows],), gains=(bank.gains[0][rows],))


def _decode(root: Path, files: Sequence[Path], rate: int) -> Iterator[Samples]:
    """Recordings of ``SHORT`` seconds or more, and the remaining short files as the last one."""
    pause = np.zeros(round(PAUSE / 2 * rate), dtype=np.int16)
    joined: list[Samples] = []
    audible = False
    for file in files:
        signal = without_silence(read_resampled(file, rate), rate)
        peak = float(np.abs(signal).max(initial=0.0))
        if peak == 0.0:
            continue
        audible = True
        samples = at_peak(signal, peak)
        if len(samples) >= SHORT * rate:
            yield samples
            continue
        joined += [samples, pause]
        if sum(map(len, joined)) >= SHORT * rate:
            yield np.concatenate(joined)
            joined = []
    if joined:
        yield np.concatenate(joined)
    if not audible:
        raise InputError(f"all audio files in {root} are silent", "check how they were exported")


def _gain(samples: Samples, rate: int, rms: float) -> float:
    """Gain that brings samples (T,) to a level, measured on seconds that are evenly spread over them."""
    starts = np.linspace(0, max(0, len(samples) - rate), min(HEARD, 1 + len(samples) // rate)).astype(int)
    parts = (samples[start : start + rate].astype(np.float32) / SCALE for start in starts)
    energy = np.array([np.square(part).mean() for part in parts])
    if energy.max() <= 0.0:
        return 1.0
    return float(rms / np.sqrt(energy[energy >= GATE * energy.max()].mean()))
