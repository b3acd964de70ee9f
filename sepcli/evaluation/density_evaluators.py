"""Density evaluators: the log-likelihood of test items under priors of audio, in nats per sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.catalog import resolve
from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Card
from sepcli.catalog.verified import verified
from sepcli.datasets.chunks import draw_chunks
from sepcli.datasets.detect import TOY_WAVES
from sepcli.datasets.pair_folder import PairFolder
from sepcli.datasets.song_banks import held_out_split, holds_songs, open_songs
from sepcli.datasets.waves import SAMPLE_RATE, ToyWaves
from sepcli.errors import InputError, PriorError, UsageError
from sepcli.posterior.elbo import log_density_bound
from sepcli.priors.audio.engine import AUDIBLE, for_inference
from sepcli.priors.audio.load_denoisers import load_mdct_denoiser
from sepcli.priors.audio.load_flows import is_flow, load_wave_flow
from sepcli.priors.select import is_single
from sepcli.signal.mdct import mdct

LENGTH = 16_384
"""Samples of an item that are evaluated, at most."""

Signal = NDArray[np.float32]  # (T,)


@dataclass(frozen=True)
class DensityEvaluator:
    """A prior of one source, as a density.

    Attributes:
        prior: its name.
        source: its name.
        kind: properties that all evaluators must share, as their values are not comparable otherwise.
        files: sha256 of the prior's files.
        log_prob: signals (T,) and standard normal noise like them → log p in nats.
        factor: T is cut to a multiple of it.
    """

    prior: str
    source: str
    kind: dict[str, Any]
    files: dict[str, str]
    log_prob: Callable[[Tensor, Tensor], Tensor]
    factor: int

    def __call__(self, signal: Signal, noise: Signal) -> float:
        """Return log p of a signal (T,) in nats per sample; the noise (T,) is standard normal."""
        level, length = self.kind["level"], len(signal) // self.factor * self.factor
        power = float(np.square(signal).mean())
        gain = level / power**0.5 if level and power > 0 else 1.0
        x, eps = torch.from_numpy(signal[:length] * np.float32(gain)), torch.from_numpy(noise[:length])
        with torch.no_grad():
            return float(self.log_prob(x, eps)) / length


def open_evaluators(priors: Sequence[str], noise: float, device: torch.device) -> list[DensityEvaluator]:
    """Open priors of different sources that are comparable.

    Args:
        priors: K ≥ 2 names or folders.
        noise: σ of the noise on items, beside what a flow always adds; of a denoiser the finest noise that
            counts, or the prior's if that is 0.
        device: of the priors.

    Raises:
        UsageError: there are fewer than two, two of one source or of different kinds; or noise for which
            they were not trained.
        PriorError: a prior is missing, damaged or not of one source of audio.
    """
    if len(priors) < 2:
        raise UsageError(f"{len(priors)} prior has nothing to be compared with", "give one prior per source")
    evaluators = [_open(name, noise, device) for name in priors]
    if len({evaluator.source.casefold() for evaluator in evaluators}) < len(evaluators):
        listed = ", ".join(f"{evaluator.prior} ({evaluator.source})" for evaluator in evaluators)
        raise UsageError(f"two of the priors are of the same source: {listed}", "give one per source")
    for evaluator in evaluators[1:]:
        for key, value in evaluator.kind.items():
            if value != evaluators[0].kind[key]:
                raise UsageError(
                    f"{evaluator.prior} and {evaluators[0].prior} cannot be compared: they differ in {key}",
                    f"it is {value} and {evaluators[0].kind[key]}: choose priors that were trained alike",
                )
    return evaluators


def items_of(
    data: Path, names: Sequence[str], count: int, rate: int, seed: int, cache: Path | None = None
) -> tuple[Callable[[], Iterator[Signal]], int, dict[str, Any]]:
    """Find test items of the sources.

    Args:
        data: ``toy-waves``, a folder of STEM/ITEM files, or of songs with stems.
        names: K sources.
        count: number of items, at most all of a folder.
        rate: Hz.
        seed: of toy waves and of segments of songs.
        cache: a folder for decoded songs.

    Returns:
        A function that yields arrays (K, T) from the first; their number; settings for a report on songs.

    Raises:
        InputError: a source is missing; or, later, items are short or cannot be read.
        UsageError: the priors are not of toy waves.
    """
    if str(data) != TOY_WAVES or data.exists():
        if holds_songs(data):
            split = held_out_split(data)
            songs = partial(song_items, data, split, names, count, rate, seed, cache)
            return songs, count, {"subset": split, "samples": LENGTH}
        chosen = partial(folder_items, data, names, count, rate)
    else:
        chosen = partial(toy_items, names, count, rate, seed)
    return lambda: chosen()[0], chosen()[1], {}


def toy_items(names: Sequence[str], count: int, rate: int, seed: int) -> tuple[Iterator[Signal], int]:
    """Return arrays (K, T) of test waves, by the names of their shapes, and their number."""
    if rate != SAMPLE_RATE:
        raise UsageError(f"the priors have {rate} Hz and toy waves {SAMPLE_RATE} Hz", "use other data")
    waves = ToyWaves(names, "test", seed)
    count = min(count, len(waves))
    return (waves.item(n, LENGTH) for n in range(count)), count


def folder_items(folder: Path, names: Sequence[str], count: int, rate: int) -> tuple[Iterator[Signal], int]:
    """Return arrays (K, T) of the items of STEM/ITEM files, and their number."""
    total = len(PairFolder(folder, count).ids(names))
    return islice(_read(folder, names, rate), total), total


def song_items(
    data: Path, split: str, names: Sequence[str], count: int, rate: int, seed: int, cache: Path | None = None
) -> Iterator[Signal]:
    """Return arrays (K, T) of segments of songs with stems, at unrelated offsets that are not quiet.

    The first are the same for any count; the seed is that of the offsets.
    """
    bank = open_songs(data, split, tuple(names), rate, cache)
    rng = np.random.default_rng([seed, 0, 0, 1])  # none of the streams [seed, n, k] of the items' noise
    return (draw_chunks(bank, rng, 1, LENGTH, None)[0] for _ in range(count))


def _read(folder: Path, names: Sequence[str], rate: int) -> Iterator[Signal]:
    for pair in PairFolder(folder).items(names):
        sources = pair.sources
        if pair.sample_rate != rate:
            sources = np.asarray(soxr.resample(sources.T, pair.sample_rate, rate), np.float32).T
        if sources.shape[1] < rate // 10:
            raise InputError(f"item {pair.id} of {folder} is shorter than 0.1 s", "give longer items")
        yield np.ascontiguousarray(sources[:, :LENGTH])


Made = tuple[dict[str, Any], Callable[[Tensor, Tensor], Tensor], int]
"""Kind, log p and factor of a ``DensityEvaluator``."""


def _open(name: str, noise: float, device: torch.device) -> DensityEvaluator:
    card, folder = resolve.find(name)
    if not is_single(card):
        raise PriorError(
            f"prior {card.name} is not of one source of audio but of {card.engine}, {card.medium}",
            "choose a flow or a denoiser of one source of audio",
        )
    files = verified(card, folder)
    make = _flow if is_flow(files) else _denoiser
    kind, log_prob, factor = make(card, files, noise, device)
    kind |= {"sample_rate": card.sample_rate, "level": float(card.stream.get("reference_rms", 0.1))}
    hashes = {path: entry.sha256 for path, entry in card.files.items()}
    return DensityEvaluator(card.name, card.sources[0], kind, hashes, log_prob, factor)


def _flow(card: Card, folder: Files, noise: float, device: torch.device) -> Made:
    flow = load_wave_flow(folder).to(device)
    config = flow.config
    if noise > config.sigma_max:
        raise UsageError(
            f"prior {card.name} was trained with noise up to {config.sigma_max:g}, besides "
            f"its constant noise of {config.noise:g}",
            "use less noise, or train it with more",
        )
    spread = float(flow.noise_at(torch.tensor(noise)))

    def log_prob(x: Tensor, eps: Tensor) -> Tensor:
        clean, noisy = x.to(device)[None, None], (x + spread * eps).to(device)[None, None, None]
        return flow.log_prob(noisy, noise, flow.mel_frames(clean))

    likelihood = f"log p given {config.mels} mel bands" if config.mels else "log p"
    return {"likelihood": likelihood, "noise": spread}, log_prob, config.factor


def _denoiser(card: Card, folder: Files, noise: float, device: torch.device) -> Made:
    network = load_mdct_denoiser(folder)
    prior, bins, (most, least) = for_inference(network, device), network.config.bins, AUDIBLE
    finest = noise or least
    if finest >= most:
        raise UsageError(f"noise of {finest:g} hides every signal", f"use less than {most:g}")

    def log_prob(x: Tensor, eps: Tensor) -> Tensor:
        x = mdct(x.to(device)[None, None], bins)[:, None]
        return log_density_bound(prior, x, sigma_max=most, sigma_min=finest)

    return {"likelihood": "bound up to a constant", "noise": finest, "bands": bins}, log_prob, 1
