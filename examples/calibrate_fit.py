"""Calibrate the fit of a prior of recordings, and measure how often it flags mixtures with a foreign source.

    python examples/calibrate_fit.py slakh-drums-bass --explained drums-bass-test --foreign full-mix-test \
        --stem rest --count 100 --out fit.json [--card sepcli/catalog/bundled/slakh-drums-bass]

``--explained`` holds what the prior explains: a folder per source with files of equal names
(``drums/000.flac``, ``bass/000.flac``, mixed with the prior's weights), or songs with their ``mix.flac``.
``--foreign`` is searched for recordings of another source (``--stem NAME``: for files of this name), which is
added as loud as one of K sources. Excerpts of ``--seconds`` are separated with the default settings; two
thirds of the explained ones are the reference, which ``--card`` writes into a prior's folder, the others
count false alarms.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

import sepcli
from sepcli.catalog import card as cards
from sepcli.catalog.measured import Fit
from sepcli.separation.audio_samples import sample_audio
from sepcli.separation.fit import LEAST_FIT, FitReference
from sepcli.separation.separator import Separator

Signal = NDArray[np.float64]


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("prior")
    parser.add_argument("--explained", type=Path, required=True)
    parser.add_argument("--foreign", type=Path, required=True)
    parser.add_argument("--stem", default="*")
    parser.add_argument("--count", type=int, default=90, help="mixtures of each kind")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--sigma", type=float, default=0.08)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--card", type=Path)
    return parser.parse_args()


def mono(path: Path, rate: int) -> Signal:
    """Return a recording as one channel at a rate."""
    signal, own = soundfile.read(path, always_2d=True)
    return np.asarray(soxr.resample(signal.mean(1), own, rate), dtype=np.float64)


def excerpts(signal: Signal, length: int) -> Iterator[Signal]:
    """Yield the excerpts of a recording that are not silent."""
    for start in range(0, len(signal) - length + 1, length):
        part = signal[start : start + length]
        if part.std() > 1e-3:
            yield part


def explained(folder: Path, separator: Separator, length: int) -> Iterator[Signal]:
    """Yield mixtures that the prior explains."""
    rate, first = separator.sample_rate, folder / separator.names[0]
    if not first.is_dir():
        for path in sorted(folder.glob("*/mix.flac")):
            yield from excerpts(mono(path, rate), length)
        return
    for path in sorted(first.iterdir()):
        sources = (mono(folder / name / path.name, rate) for name in separator.names)
        mixture = sum(a * x for a, x in zip(separator.weights, sources, strict=True))
        yield from excerpts(np.asarray(mixture), length)


def errors(separator: Separator, mixtures: list[Signal], sigma: float) -> list[float]:
    """Return the denoising error of every mixture, dB."""
    values = []
    for seed, mixture in enumerate(mixtures):
        sampled = sample_audio(
            separator.engine, separator.stream, mixture[None], separator.sample_rate, seed, fit_sigma=sigma
        )
        assert sampled.denoising_error is not None
        values.append(round(sampled.denoising_error, 3))
    return values


def evenly(items: list[Signal], count: int) -> list[Signal]:
    """Return at most ``count`` items, evenly spread over all."""
    return [items[int(n)] for n in np.linspace(0, len(items) - 1, min(count, len(items)))]


def main() -> None:
    """Measure, and write report and card."""
    options = parse()
    torch.set_num_threads(1)
    separator = sepcli.load(options.prior)
    length = round(options.seconds * separator.sample_rate)
    known = evenly([*explained(options.explained, separator, length)], options.count)
    files = sorted(options.foreign.rglob(f"{options.stem}.*"))
    other = [part for path in files for part in excerpts(mono(path, separator.sample_rate), length)]
    other = evenly(other, len(known))
    foreign = []
    for mixture, source in zip(known, other, strict=False):
        level = mixture.std() / np.sqrt(len(separator.names)) / source.std()
        foreign.append(mixture + level * source)
    values, flagged = errors(separator, known, options.sigma), errors(separator, foreign, options.sigma)
    held_out = values[::3]
    reference = FitReference(options.sigma, tuple(v for n, v in enumerate(values) if n % 3))

    def share(found: list[float]) -> float:
        return sum((reference.fit(v) or 0.0) < LEAST_FIT for v in found) / len(found)

    threshold = float(np.quantile(values, 1 - LEAST_FIT))
    document = {
        "format": 1,
        "kind": "fit",
        "prior": options.prior,
        "sigma": options.sigma,
        "seconds": options.seconds,
        "explained": options.explained.name,
        "foreign": f"{options.foreign.name}, {options.stem}",
        "reference": len(reference.errors),
        "false_alarms": {"mixtures": len(held_out), "flagged": share(held_out)},
        "foreign_source": {"mixtures": len(flagged), "flagged": share(flagged)},
        "flagged_at_5_percent": sum(v > threshold for v in flagged) / len(flagged),
        "median_db": {"explained": float(np.median(values)), "foreign": float(np.median(flagged))},
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))
    if options.card is not None:
        data = f"{len(reference.errors)} excerpts of {options.seconds:g} s of {options.explained.name}"
        fit = Fit(reference.sigma, tuple(sorted(reference.errors)), data)
        cards.write(cards.replace(cards.read(options.card), fit=fit), options.card)


if __name__ == "__main__":
    main()
