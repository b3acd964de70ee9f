"""Calibrate the fit of a prior, and measure how often it flags mixtures with a foreign source.

    python examples/calibrate_fit.py slakh-drums-bass --explained drums-bass-test --foreign full-mix-test \
        --stem rest --count 120 --out fit.json [--card sepcli/catalog/bundled/slakh-drums-bass]
    python examples/calibrate_fit.py mnist --explained MNIST --foreign CIFAR10/test --sigma 0.3 --out fit.json

``--explained`` holds what the prior explains. Audio: a folder per source with files of equal names
(``drums/000.flac``, ``bass/000.flac``, mixed with the prior's weights), or songs with their ``mix.flac``.
``--foreign`` is searched for recordings of another source (``--stem NAME``: for files of this name), which is
added as loud as one of K sources; excerpts are of ``--seconds``. Images: MNIST's files, of whose test digits
pairs are mixed; in the foreign ones an image of ``--foreign``, gray and of the prior's size, is the second.

Mixtures are separated with the default settings; two thirds of the explained ones are the reference, which
``--card`` writes into a prior's folder, the others count false alarms. ``--statistic evidence`` compares
-log p(m | priors) per value (see ``sepcli.separation.evidence``) instead of the denoising error, ``levels``
the mean of the denoising errors at several noise levels, in dB; no card has references of these.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

import sepcli
from sepcli.catalog import card as cards
from sepcli.catalog.measured import Fit
from sepcli.evaluation.calibrate import signal_engine
from sepcli.separation.evidence import evidence
from sepcli.separation.fit import LEAST_FIT, FitReference
from sepcli.separation.separator import Separator

Signal = NDArray[np.float64]
UNITS = {"denoising": "dB", "levels": "dB", "evidence": "nats per value"}
"""Statistic → its unit; all are greater where the priors explain less."""
SETTINGS: dict[str, tuple[str, ...]] = {
    "denoising": ("sigma",),
    "levels": ("sigmas",),
    "evidence": ("noise", "steps", "samples", "products"),
}
"""Statistic → the options that it depends on."""


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("prior")
    parser.add_argument("--explained", type=Path, required=True)
    parser.add_argument("--foreign", type=Path, required=True)
    parser.add_argument("--stem", default="*")
    parser.add_argument("--count", type=int, default=90, help="mixtures of each kind")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--statistic", choices=UNITS, default="denoising")
    parser.add_argument("--sigma", type=float, default=0.08, help="noise of the denoising error")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.01, 0.02, 0.04, 0.08, 0.16, 0.3])
    parser.add_argument("--noise", type=float, default=0.003, help="noise of the mixture, for the evidence")
    parser.add_argument("--steps", type=int, default=24, help="noise levels, for the evidence")
    parser.add_argument("--samples", type=int, default=4, help="posterior samples, for the evidence")
    parser.add_argument("--products", type=int, default=1, help="Jacobian products, for the evidence")
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
    """Yield mixtures of audio that the prior explains."""
    rate, first = separator.sample_rate, folder / separator.names[0]
    if not first.is_dir():
        for path in sorted(folder.glob("*/mix.flac")):
            yield from excerpts(mono(path, rate), length)
        return
    for path in sorted(first.iterdir()):
        sources = (mono(folder / name / path.name, rate) for name in separator.names)
        mixture = sum(a * x for a, x in zip(separator.weights, sources, strict=True))
        yield from excerpts(np.asarray(mixture), length)


def recordings(options: argparse.Namespace, separator: Separator) -> tuple[list[Signal], list[Signal]]:
    """Return mixtures of audio that the prior explains, and the same with a foreign source."""
    length = round(options.seconds * separator.sample_rate)
    known = evenly([*explained(options.explained, separator, length)], options.count)
    files = sorted(options.foreign.rglob(f"{options.stem}.*"))
    other = [part for path in files for part in excerpts(mono(path, separator.sample_rate), length)]
    foreign = []
    for mixture, source in zip(known, evenly(other, len(known)), strict=False):
        level = mixture.std() / np.sqrt(len(separator.names)) / source.std()
        foreign.append(mixture + level * source)
    return known, foreign


def images(options: argparse.Namespace) -> tuple[list[Signal], list[Signal]]:
    """Return sums of two test digits, and of a digit and another image."""
    from sepcli import datasets
    from sepcli.datasets.image_decoder import Decoder
    from sepcli.priors.load import describe_images

    (channels, *size), _ = describe_images(options.prior)
    decoder = Decoder(size=tuple(size), channels=channels)
    digits = datasets.mnist(options.explained, "test", decoder)
    other = datasets.images(options.foreign, "test", decoder)
    known, mixed = (digits.pairs(options.count, other=second).items(0) for second in (None, other))
    return [pair.sources.mean(0) for pair in known], [pair.sources.mean(0) for pair in mixed]


def errors(separator: Separator, mixtures: list[Signal], sigma: float) -> list[float]:
    """Return the denoising error of every mixture, dB."""
    assessing, values = separator.configured(fit=FitReference(sigma, ())), []
    for seed, mixture in enumerate(mixtures):
        rate = {"sample_rate": separator.sample_rate} if separator.sample_rate else {"channel_axis": 0}
        result = assessing.separate(mixture, seed=seed, **rate)  # type: ignore[arg-type]
        assert result.denoising_error is not None
        values.append(round(result.denoising_error, 3))
    return values


def mean_errors(separator: Separator, mixtures: list[Signal], sigmas: list[float]) -> list[float]:
    """Return the denoising error of one sample of every mixture, dB, as the mean over noise levels."""
    engine: Any = separator.engine
    values = []
    for seed, mixture in enumerate(mixtures):
        signal, seeds = at_level(separator, mixture), torch.tensor([[seed]])
        sources = engine.sample(signal, seeds)[:, 0]
        pairs = [engine.denoising_energies(signal, sources, sigma, seeds[0])[0].tolist() for sigma in sigmas]
        errors_db = [10 * np.log10(error / power) for error, power in pairs]
        values.append(round(float(np.mean(errors_db)), 3))
    return values


def at_level(separator: Separator, mixture: Signal) -> torch.Tensor:
    """Return a mixture as a batch of one (1, C, *D), a recording at the level of the engine."""
    level = separator.stream.reference_rms if separator.sample_rate else None
    scaled = mixture * (1.0 if level is None else level / np.sqrt(np.square(mixture).mean()))
    signal = torch.from_numpy(scaled).float()
    return signal[None, None] if separator.sample_rate else signal[None]


def surprises(separator: Separator, mixtures: list[Signal], options: argparse.Namespace) -> list[float]:
    """Return -log p(m | priors) of every mixture at the engine's level, nats per value."""
    engine: Any = separator.engine
    inner, values = signal_engine(engine), []
    assert inner.prior is not None
    top = float(getattr(inner.sampler, "sigma_max"))  # noqa: B009
    if separator.sample_rate:
        top = max(top, 3.3)
    for seed, mixture in enumerate(mixtures):
        signal = at_level(separator, mixture)[0]
        found = evidence(
            inner.prior,
            [inner.scale * weight for weight in inner.weights],
            engine.entered(signal) if separator.sample_rate else inner.scale * signal,
            sigma_y=options.noise,
            sigma_max=top,
            steps=options.steps,
            samples=options.samples,
            products=options.products,
            seed=seed,
        )
        values.append(round(-found.per_value, 5))
    return values


def evenly(items: list[Signal], count: int) -> list[Signal]:
    """Return at most ``count`` items, evenly spread over all."""
    return [items[int(n)] for n in np.linspace(0, len(items) - 1, min(count, len(items)))]


def document_of(
    options: argparse.Namespace, reference: FitReference, values: list[float], flagged: list[float]
) -> dict[str, Any]:
    """Return the report: shares that are flagged by the reference, and at 5 % of all explained ones."""
    held_out, unit = values[::3], UNITS[options.statistic].partition(" ")[0].lower()

    def share(found: list[float]) -> float:
        return sum((reference.fit(v) or 0.0) < LEAST_FIT for v in found) / len(found)

    threshold = float(np.quantile(values, 1 - LEAST_FIT))
    medians = {"explained": float(np.median(values)), "foreign": float(np.median(flagged))}
    return {
        "format": 1,
        "kind": "fit",
        "prior": options.prior,
        "statistic": options.statistic,
        **{key: getattr(options, key) for key in SETTINGS[options.statistic]},
        "seconds": options.seconds,
        "explained": options.explained.name,
        "foreign": options.foreign.name + ("" if options.stem == "*" else f", {options.stem}"),
        "reference": len(reference.errors),
        "false_alarms": {"mixtures": len(held_out), "flagged": share(held_out)},
        "foreign_source": {"mixtures": len(flagged), "flagged": share(flagged)},
        "flagged_at_5_percent": sum(v > threshold for v in flagged) / len(flagged),
        f"median_{unit}": medians,
    }


def main() -> None:
    """Measure, and write report and card."""
    options = parse()
    torch.set_num_threads(1)
    separator = sepcli.load(options.prior)
    known, foreign = recordings(options, separator) if separator.sample_rate else images(options)
    started = time.process_time()
    if options.statistic == "denoising":
        values, flagged = (errors(separator, part, options.sigma) for part in (known, foreign))
    elif options.statistic == "levels":
        values, flagged = (mean_errors(separator, part, options.sigmas) for part in (known, foreign))
    else:
        values, flagged = (surprises(separator, part, options) for part in (known, foreign))
    reference = FitReference(options.sigma, tuple(v for n, v in enumerate(values) if n % 3))
    document = document_of(options, reference, values, flagged)
    document["processor_seconds_per_mixture"] = round(
        (time.process_time() - started) / (len(known) + len(foreign)), 2
    )
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))
    if options.card is not None and options.statistic == "denoising":
        length = "" if not separator.sample_rate else f" of {options.seconds:g} s"
        data = f"{len(reference.errors)} mixtures{length} of {options.explained.name}"
        fit = Fit(reference.sigma, tuple(sorted(reference.errors)), data)
        cards.write(cards.replace(cards.read(options.card), fit=fit), options.card)


if __name__ == "__main__":
    main()
