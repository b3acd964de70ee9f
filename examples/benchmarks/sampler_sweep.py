"""Quality and cost of audio separation over samplers, settings and numbers of samples.

Every variant separates the same mixtures α_1 x_1 + α_2 x_2 + … of a folder of test items. Printed, per
variant and number of samples, are the SDR of the mean of the samples (it sums to the mixture) and after
Wiener masks, as ``sepcli evaluate --metric sdr`` measures it (museval's SDR, median over one-second windows,
mean over items and stems), and the time per second of audio.

    python examples/benchmarks/sampler_sweep.py PAIRS --prior slakh-drums --prior slakh-bass \\
        --sampler projected --variant steps=20 --variant steps=50 --variant steps=50,eta=0 --samples 1 2 4 8
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sepcli.datasets.pair_folder import Pair, PairFolder
from sepcli.evaluation.samples import mix, seeds_of
from sepcli.evaluation.score import score_track
from sepcli.priors.load import load_selection
from sepcli.priors.select import choose
from sepcli.protocols import Engine
from sepcli.signal.consistency import wiener
from sepcli.signal.spectra import fft_size

RMS = 0.1
"""RMS of normalized mixtures."""


def separate(separator: Engine, pairs: Sequence[Pair], samples: int, batch: int) -> list[Tensor]:
    """Return samples (S, K, T) of the sources of every item, at the gain of the item."""
    results: list[Tensor] = []
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        mixtures = torch.stack([mix(torch.from_numpy(pair.sources), separator.weights) for pair in part])
        gains = RMS / mixtures.square().mean(dim=-1, keepdim=True).sqrt()
        seeds = seeds_of(0, range(start, start + len(part)), samples)
        sources = separator.sample((gains * mixtures)[:, None], seeds)
        results += [item[:, :, 0] / gain for item, gain in zip(sources, gains, strict=True)]
    return results


def sdr(pair: Pair, names: Sequence[str], estimates: Tensor) -> float:
    """Return the mean SDR over the stems of estimates (K, T)."""
    references, values = pair.sources[..., None], estimates.float().numpy()[..., None]
    scores = score_track(pair.id, "", names, references, values, references.sum(0), ["sdr"], pair.sample_rate)
    return sum(score.value for score in scores) / len(scores)


def measure(
    separator: Engine, pairs: Sequence[Pair], counts: Sequence[int], exponent: float, batch: int
) -> list[dict[str, float]]:
    """Return one row per number of samples; the samples of a row are the first ones of the next."""
    started = time.perf_counter()
    results = separate(separator, pairs, max(counts), batch)
    seconds = sum(pair.sources.shape[-1] / pair.sample_rate for pair in pairs)
    cost = (time.perf_counter() - started) / seconds / max(counts)
    alpha = torch.tensor(separator.weights)[:, None]
    n_fft = fft_size(0.05, separator.sample_rate)
    rows = []
    for count in counts:
        mean, masked = 0.0, 0.0
        for pair, samples in zip(pairs, results, strict=True):
            chosen, mixture = samples[:count], mix(torch.from_numpy(pair.sources), separator.weights)
            refined = wiener(alpha * chosen, mixture[None], n_fft=n_fft, hop=n_fft // 4, exponent=exponent)
            mean += sdr(pair, separator.names, chosen.mean(0)) / len(pairs)
            masked += sdr(pair, separator.names, refined[:, 0] / alpha) / len(pairs)
        rows.append(
            {
                "samples": count,
                "SDR": round(mean, 2),
                "SDR masked": round(masked, 2),
                "s per s": round(cost * count, 3),
            }
        )
    return rows


def main() -> None:
    """Print a line per variant and number of samples."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path, help="folder of SOURCE/ITEM.flac")
    parser.add_argument("--prior", action="append", required=True, help="prior; one per source")
    parser.add_argument(
        "--names", nargs="+", default=["drums", "bass"], help="folders, in the order of the priors"
    )
    parser.add_argument("--weights", default="0.5,0.5")
    parser.add_argument("--variant", action="append", default=[], help="settings: key=value,key=value")
    parser.add_argument("--sampler")
    parser.add_argument("--samples", type=int, nargs="+", default=[1])
    parser.add_argument("--exponent", type=float, default=2.0, help="exponent of the masks")
    parser.add_argument("--items", type=int, help="number of items")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    a = parser.parse_args()
    weights = tuple(float(weight) for weight in a.weights.split(","))
    pairs = list(PairFolder(a.pairs, a.items).items(tuple(a.names)))
    rows = []
    for variant in a.variant or [""]:
        settings = dict(pair.split("=", 1) for pair in variant.split(",") if pair)
        selection = choose(a.prior, weights=weights, names=a.names, sampler=a.sampler, settings=settings)
        separator = load_selection(selection).engine
        for row in measure(separator, pairs, a.samples, a.exponent, a.batch):
            rows.append({"sampler": a.sampler or "", "settings": variant, "items": len(pairs), **row})
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    if a.json:
        a.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
