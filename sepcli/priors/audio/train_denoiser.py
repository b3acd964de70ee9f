"""Training of a denoiser of one source: recordings, network, card, curve and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.catalog.network import check_compiler
from sepcli.datasets.song_banks import holds_songs
from sepcli.datasets.stems import StemBank
from sepcli.errors import UsageError
from sepcli.posterior.unconditional import Unconditional
from sepcli.priors.audio import recordings, song_task
from sepcli.priors.audio.denoiser_task import INTERFERENCE, LOW_INTERFERENCE, AudioTask
from sepcli.priors.audio.load_denoisers import PART, load_mdct_denoiser, sigma_range
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.options import DenoiserOptions
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.priors.audio.start_denoiser import start_from, train_difference
from sepcli.samplers.projected import Projected
from sepcli.signal.mdct import imdct
from sepcli.training.checkpoints import Progress
from sepcli.training.config import TrainConfig
from sepcli.training.previews import CURVE, SIGNALS, save_curve, save_signals
from sepcli.training.run import Recipe, Setup, Stage, seeded
from sepcli.training.task import Task

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"width": 32, "blocks": 2, "embedding": 16},
    "small": {},
    "base": {"width": 768, "blocks": 12, "embedding": 256, "dilations": (1, 2, 4, 8, 16, 32)},
}
"""Sizes: ``small`` for two CPU cores (5 M parameters), ``base`` for a GPU (34 M), ``tiny`` for tests."""
STREAM: Mapping[str, Any] = {"window": 24.0, "overlap": 1.5, "batch": 1}
"""The card's stream: windows so long that the overlap costs little, one at a time, which keeps two cores
busy. The overlap is longer for networks with a longer reach; see ``overlap_for``."""
LOW: Mapping[str, Any] = {"low": 32, "p_mean": -3.5, "p_std": 1.2}
"""Bands of the second network, up to 690 Hz, and the noise of its training: that of a separation by
interference-trained priors."""
LOW_BANDS_START = "low_bands adds a network to a trained prior"
RANK_START = "rank needs a trained prior to start from"
OpenTask = Callable[[SpectralPrior, SpectralPrior], Task]
"""(network, its average) → what is trained."""
LABELS: Mapping[str, str] = {
    "train_mse": "training, current weights",
    "valid_mse": "held out, mean of the weights",
    "valid_wiener": "held out, Wiener's filter",
}
"""Legend of the training curve."""


def recipe(options: DenoiserOptions, config: TrainConfig) -> Recipe:
    """Decide how a denoiser of one source is trained.

    Raises:
        UsageError: several sources, ``low_bands`` or ``rank`` without a trained prior, or interference that
            is neither a folder nor a class of the songs.
    """
    for used, reason in ((options.low_bands, LOW_BANDS_START), (options.rank, RANK_START)):
        if used and config.init is None:
            raise UsageError(reason, "name the prior to start from", argument="init")
    config = replace(config, sources=recordings.source_names(config))
    others = tuple(_interference(config.data, name) for name in options.interference)
    identity = {k: value for k, value in asdict(options).items() if k not in ("compile", "validated")}
    identity["base"] = (options.base or config.init) if options.rank else None
    return Recipe(PART, config.sources, identity, partial(_open, options, config, others))


def sample_audio(
    prior: SpectralPrior, seed: int, count: int = 3, seconds: float = 4.0, steps: int = 50
) -> Tensor:
    """Generate unconditional samples (count, T) by ancestral sampling, on the CPU."""
    bins, length = prior.config.bins, round(seconds * prior.config.sample_rate)
    like = prior.band_std.new_empty((count, 1, 1, bins, -(-length // bins)))
    levels = sigma_range([prior])
    sampler = Projected(steps, levels["sigma_max"], levels["sigma_min"], levels["rho"], eta=None)
    seeds = torch.tensor([(seed + number) % (1 << 63) for number in range(count)])
    return imdct(sampler(Unconditional(prior, like), seeds), length)[:, 0, 0].cpu()


def overlap_for(config: SpectralConfig) -> float:
    """Return the overlap of windows in seconds: ends of a quarter each, where a network lacks context."""
    reach = config.reach * config.bins / config.sample_rate
    return float(min(max(STREAM["overlap"], round(4 * reach, 2)), STREAM["window"] / 8))


def _interference(data: Path, name: str) -> tuple[Path, str]:
    """Return folder and source of interference: recordings, or a class of the songs in ``data``."""
    if Path(name).is_dir():
        return Path(name), recordings.default_source(Path(name))
    if holds_songs(data):
        return data, name
    raise UsageError(
        f"there is no folder {name}", "name a folder of recordings", argument="settings.interference"
    )


def _open(
    options: DenoiserOptions, config: TrainConfig, others: tuple[tuple[Path, str], ...], *_: object
) -> Setup:
    fields = {**PRESETS[config.preset], **({} if options.width is None else {"width": options.width})}
    low = LOW if options.low_bands else {}
    spectrum = song_task.SPECTRUM if options.songs else {}
    wanted = SpectralConfig(**{**fields, **low, **spectrum}, interference_trained=bool(options.interference))
    rate = wanted.sample_rate
    with seeded(config.loop.seed):  # before the data are decoded, which takes minutes
        started = None if config.init is None else start_from(wanted, config.init)
        base = {} if started is None else train_difference(started, options, str(config.init))
    train, open_task = _data(options, config, others, wanted)
    if started is None:
        stds = recordings.measure_bands(train, config.tokens, wanted.bins)
        wanted = replace(wanted, band_std=tuple(stds))
    network_config = wanted if started is None else started.config

    def task(network: SpectralPrior, evaluated: SpectralPrior) -> Task:
        if options.compile:
            _compile_losses(network, config.device)
        return open_task(network, evaluated)

    def preview(progress: Progress) -> None:
        save_curve(progress.history, config.out / CURVE, LABELS, "denoising error")
        prior = load_mdct_denoiser(config.out).to(config.device)
        save_signals(config.out / SIGNALS, sample_audio(prior, config.loop.seed), rate)

    return Setup(
        network_config,
        Stage(lambda: _network(network_config, started, options.low_bands), task),
        recordings.card_of(config, "score", rate, {**STREAM, "overlap": overlap_for(network_config)}),
        identity=base,
        finish=lambda: _facts(train, network_config, config, options),
        preview=preview,
    )


def _data(
    options: DenoiserOptions,
    config: TrainConfig,
    others: tuple[tuple[Path, str], ...],
    shape: SpectralConfig,
) -> tuple[StemBank, OpenTask]:
    """Open the recordings of the source, and what makes the task of a network and its average."""
    length, rate, data, cache = config.tokens * shape.bins, shape.sample_rate, config.data, config.cache
    if options.songs:
        stems = (config.sources[0], *(name for _, name in others))
        banks = recordings.open_stems(data, stems, rate, cache)

        def songs(network: SpectralPrior, evaluated: SpectralPrior) -> Task:
            sizes, equalization = (config.batch, config.tokens), options.equalization
            return song_task.SongTask(network, evaluated, *banks, *sizes, equalization, options.validated)

        return banks[0], songs
    train, held_out = recordings.open_banks(data, config.sources[0], rate, length, cache)
    interference = tuple(recordings.open_banks(folder, name, rate, length, cache) for folder, name in others)

    def chunks(network: SpectralPrior, evaluated: SpectralPrior) -> Task:
        given = (train, held_out, config.batch, config.tokens, interference)
        return AudioTask(network, evaluated, *given, options.low_bands, options.validated)

    return train, chunks


def _network(config: SpectralConfig, started: SpectralPrior | None, low_bands: bool) -> SpectralPrior:
    prior = SpectralPrior(config) if started is None else started
    if low_bands and prior.low is not None:
        prior.requires_grad_(False)
        prior.low.requires_grad_(True)
    return prior


def _compile_losses(prior: SpectralPrior, device: torch.device) -> None:
    check_compiler(device)
    for name in ("errors", "low_errors", "song_errors"):
        setattr(prior, name, torch.compile(getattr(prior, name), dynamic=False))


def _facts(
    train: StemBank, network: SpectralConfig, config: TrainConfig, options: DenoiserOptions
) -> dict[str, Any]:
    stds = np.array(network.band_std)
    gains, share = recordings.GAINS, LOW_INTERFERENCE if options.low_bands else INTERFERENCE
    songs: dict[str, Any] = {}
    if options.songs:
        gains, share, songs = song_task.GAINS, song_task.PRESENT, {"equalization_db": options.equalization}
    median = round(float(np.median(stds)), 7)
    return {
        "hours_of_data": round(train.seconds[0] / 3600, 3),
        "frames": config.tokens,
        "gains_db": [gains.low, gains.high],
        **({"interference_share": share} if options.interference else {}),
        **({"rank": options.rank} if options.rank else {}),
        **songs,
        "band_std": {"least": float(stds.min()), "median": median, "greatest": float(stds.max())},
    }
