"""From a request to a finished prior of one kind of sound: data, network, card, curve and samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.catalog import engines, resolve
from sepcli.catalog.network import check_compiler, load_network
from sepcli.datasets.audio_folder import levelled, open_folder, split
from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.song_banks import has_split, holds_songs, open_songs
from sepcli.datasets.stems import StemBank
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.load_denoisers import load_spectral
from sepcli.priors.audio.mdct_denoiser import SpectralConfig, SpectralPrior
from sepcli.priors.audio.previews import draw_samples, write_samples
from sepcli.priors.images.train import check_alone
from sepcli.priors.images.train_task import Averaged, keep_ema
from sepcli.protocols import ProgressCallback
from sepcli.signal.mdct import mdct
from sepcli.training.config import Request, history_of, training_entry
from sepcli.training.loop import Progress, train, write_text
from sepcli.training.previews import save_curve

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"width": 32, "blocks": 2, "embedding": 16},
    "small": {},
    "base": {"width": 768, "blocks": 12, "embedding": 256, "dilations": (1, 2, 4, 8, 16, 32)},
}
"""Sizes: ``small`` for two CPU cores (5 M parameters), ``base`` for a GPU (34 M), ``tiny`` for tests."""
REFERENCE = 0.1
"""RMS, without pauses, that every recording is brought to: that of mixtures on their way to an engine."""
LEVELS = Gains(low=-18.0, high=6.0)
"""Gains on top of it: a source may be 18 dB below the mixture that it is looked for in, or 6 dB above."""
STREAM: Mapping[str, Any] = {"window": 24.0, "overlap": 1.5, "batch": 1, "reference_rms": REFERENCE}
"""What the card says of the stream: windows so long that the overlap costs little, one at a time, which keeps
two cores busy. The overlap is longer for networks that look further; see ``overlap_for``."""
FLOOR = 1e-4
"""No band is taken for more silent than this (-80 dB of full scale)."""
MEASURED = 512
"""Chunks that the bands are measured on."""
VALIDATED = 64
"""Held-out chunks."""
FOREIGN = 0.5
"""Share of chunks with other sounds in them, where there are some to learn from."""
LOW: Mapping[str, Any] = {"low": 32, "p_mean": -3.5, "p_std": 1.2}
"""Bands that a network of their own is for, up to 690 Hz, and the noise it is trained under: that of a
separation by priors that have learnt what is not theirs."""
LOW_FOREIGN = 0.9
"""Share of chunks with other sounds in its training."""


@dataclass(frozen=True)
class AudioTask:
    """Denoising score matching on chunks of recordings; fulfils ``sepcli.training.loop.Task``.

    Attributes:
        model: the network and its mean.
        train: recordings to learn from, of one source.
        held_out: recordings to validate on.
        batch: chunks per step.
        frames: MDCT frames per chunk.
        foreign: recordings of other sounds, to learn from and held out; a share ``FOREIGN`` of the chunks, or
            ``LOW_FOREIGN``, has some in it.
        low: whether only the network of the lowest bands is trained.
    """

    model: Averaged[SpectralPrior]
    train: StemBank
    held_out: StemBank
    batch: int
    frames: int
    foreign: tuple[tuple[StemBank, StemBank], ...] = ()
    low: bool = False

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of a random batch; the mean takes in the weights of the step before."""
        self.model.update()
        x, foreign = self._draw(self.train, rng, self.batch), self._draw_foreign(0, rng, self.batch)
        return (
            self.model.live.low_loss(x, rng, foreign) if self.low else self.model.live.loss(x, rng, foreign)
        )

    def validate(self) -> dict[str, float]:
        """Figures of the mean weights on the same held-out chunks, with the same noise, every time.

        They are of the typical chunk, e^(mean ln(1 + error)) - 1 (``nll``: the median): a chunk with sounds
        that were never heard in training would outweigh all others in a mean. ``error`` of the lowest bands
        is a mean of decibels.
        """
        rng = np.random.default_rng(0)
        if self.low:
            return self._validate_low(rng)
        rows = []
        chunks = VALIDATED * (4 if self.foreign else 1)  # more, as their errors differ more
        for _ in range(chunks):
            x, foreign = self._draw(self.held_out, rng, 1), self._draw_foreign(1, rng, 1)
            rows.append(self.model.mean.loss(x, rng, foreign)[1])
        found = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        typical = {key: float(np.expm1(np.log1p(found[key]).mean())) for key in ("mse", "wiener")}
        nll = {"nll": float(np.median(found["nll"]))} if "nll" in found else {}
        return {"score": typical["mse"], **typical, **nll}

    def _validate_low(self, rng: np.random.Generator) -> dict[str, float]:
        rows = []
        for _ in range(max(1, 4 * VALIDATED // self.batch)):
            x, foreign = self._draw(self.held_out, rng, self.batch), self._draw_foreign(1, rng, self.batch)
            rows.append(self.model.mean.low_loss(x, rng, foreign)[1])
        means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        return {"score": means["error"], **means}

    def _draw_foreign(self, split: int, rng: np.random.Generator, count: int) -> Tensor | None:
        """Other sounds, of those to learn from (0) or held out (1), in some of the chunks."""
        if not self.foreign:
            return None
        bank = self.foreign[int(rng.integers(len(self.foreign)))][split]
        there = torch.from_numpy(rng.random((count, 1, 1)) < (LOW_FOREIGN if self.low else FOREIGN))
        return there.to(self.model.steps.device) * self._draw(bank, rng, count)

    def _draw(self, bank: StemBank, rng: np.random.Generator, count: int) -> Tensor:
        return draw_coefficients(bank, rng, count, self.frames, self.model.live.config.bins).to(
            self.model.steps.device
        )


def default_source(data: Path) -> str:
    """What a prior of a folder of recordings calls its source: the folder's name.

    Raises:
        UsageError: the folder is of songs, which have many sources.
    """
    if holds_songs(data):
        raise UsageError(f"{data} holds many instruments", "name one of them, such as --sources drums")
    return data.resolve().name


def run(
    request: Request,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
) -> Progress:
    """Train on recordings into ``folder``, a part of the prior's folder; leave a curve and samples beside it.

    Raises:
        UsageError: unknown preset.
        OutputError: the folder cannot be written, or the prior has another part.
        InputError: the data cannot be read or are too little, or the checkpoint is of another network.
    """
    if request.preset not in PRESETS:
        raise UsageError(f"unknown preset '{request.preset}'", f"one of: {', '.join(PRESETS)}")
    check_alone(folder)
    task = _task(request)
    task.model.train()
    progress = train(task, folder, request.loop, request.device, request.resume, on_progress, log)
    keep_ema(folder / "model.safetensors")
    config = task.model.live.config
    write_text(folder / "config.json", json.dumps(asdict(config), indent=1))
    entry = {**training_entry(request, progress), **_learnt(task)}
    _write_card(request, folder, entry, config)
    save_curve(progress.history, request.out / "validation.png")
    prior = load_network(load_spectral, folder).to(request.device)
    write_samples(request.out / "samples", draw_samples(prior, request.loop.seed), config.sample_rate)
    return progress


def draw_coefficients(bank: StemBank, rng: np.random.Generator, count: int, frames: int, bins: int) -> Tensor:
    """Random chunks (count, bins, frames) at random places, gains (``LEVELS``) and polarities."""
    chunks = draw_chunks(bank, rng, count, frames * bins, LEVELS)[:, 0]
    chunks *= rng.choice(np.array([-1.0, 1.0], np.float32), (count, 1))
    with torch.autocast("cpu", enabled=False):  # the transform is as exact as the samples
        return mdct(torch.from_numpy(chunks), bins)


def _task(request: Request) -> AudioTask:
    fields = PRESETS[request.preset]
    config = SpectralConfig(**fields)
    length = request.tokens * config.bins
    bank, held_out = open_banks(request.data, request.sources[0], config.sample_rate, length, request.cache)
    stds = measure_bands(bank, request.tokens, config.bins)
    low = LOW if request.low_bands else {}
    config = SpectralConfig(**fields, **low, band_std=tuple(stds), interference_trained=bool(request.against))
    with torch.random.fork_rng(devices=[]):  # networks draw their first weights from torch's own stream
        torch.manual_seed(request.loop.seed)
        prior = SpectralPrior(config) if request.init is None else _start_from(config, request.init)
    if request.low_bands and prior.low is not None:
        prior.requires_grad_(False)
        prior.low.requires_grad_(True)
    model = Averaged(prior).to(request.device)
    if request.compiled:
        _compile_losses(model.live, request.device)
    foreign = tuple(
        open_banks(place, source, config.sample_rate, length, request.cache)
        for place, source in map(partial(_foreign, request.data), request.against)
    )
    return AudioTask(model, bank, held_out, request.batch, request.tokens, foreign, request.low_bands)


def _compile_losses(prior: SpectralPrior, device: torch.device) -> None:
    check_compiler(device)
    for name in ("errors", "low_errors"):
        setattr(prior, name, torch.compile(getattr(prior, name), dynamic=False))


def _foreign(data: Path, word: str) -> tuple[Path, str]:
    """Where sounds of another kind are, a folder or the songs that are learnt from, and what they are."""
    if Path(word).is_dir():
        return Path(word), default_source(Path(word))
    if holds_songs(data):
        return data, word
    raise UsageError(f"there is no folder {word}", "give --against a folder of recordings")


def _start_from(asked: SpectralConfig, init: str) -> SpectralPrior:
    """The network of a trained prior, to be trained on as one of ``asked`` would have been.

    The standard deviations of the bands are part of what its weights mean, so that they are kept. A network of the
    lowest bands is kept or, where it is asked for, added.

    Raises:
        PriorError: there is no such prior, or it is of another network.
    """
    card, folder = resolve.find(init)
    if not engines.is_single(card):
        raise PriorError(
            f"prior {card.name} is not one of a single sound but of {card.engine}, {card.medium}",
            "choose another",
        )
    cards.verify(card, folder)
    before = load_network(load_spectral, folder / "denoiser")
    low = before.config.low or asked.low
    config = replace(
        before.config,
        low=low,
        p_mean=asked.p_mean,
        p_std=asked.p_std,
        interference_trained=asked.interference_trained,
    )
    if replace(config, band_std=asked.band_std) != replace(asked, low=low):
        raise PriorError(
            f"prior {card.name} is of another network than the one asked for",
            "give the --preset that it was trained with",
        )
    started = SpectralPrior(config)
    started.load_state_dict(before.state_dict(), strict=low == before.config.low)
    return started


def open_banks(
    data: Path, source: str, rate: int, length: int, cache: Path | None = None
) -> tuple[StemBank, StemBank]:
    """Recordings to learn from and held-out ones, brought to one level.

    Args:
        data: A folder of recordings, Slakh2100's layout, or MUSDB18.
        source: What a folder's source is called, or what to take from songs: a class of Slakh, a stem of
            MUSDB18.
        rate: In Hz.
        length: Samples of a chunk.
        cache: A folder for decoded recordings.

    Raises:
        InputError: The data cannot be read, or are too little.
    """
    if not holds_songs(data):
        return split(levelled(open_folder(data, source, rate, cache), REFERENCE), length)
    bank = levelled(open_songs(data, "train", (source,), rate, cache), REFERENCE)
    if not has_split(data, "validation"):
        return split(bank, length)
    return bank, levelled(open_songs(data, "validation", (source,), rate, cache), REFERENCE)


def measure_bands(bank: StemBank, frames: int, bins: int) -> list[float]:
    """The standard deviation of every band of chunks as they are trained on, not below ``FLOOR``."""
    rng, power = np.random.default_rng(0), torch.zeros(bins, dtype=torch.float64)
    part = 32
    for _ in range(MEASURED // part):
        x = draw_coefficients(bank, rng, part, frames, bins)
        power += x.double().square().mean(dim=(0, 2)) / (MEASURED // part)
    return [round(float(std), 7) for std in power.sqrt().clamp_min(FLOOR)]


def overlap_for(config: SpectralConfig) -> float:
    """Seconds of overlap of windows: ends of a quarter each, where a network lacks what it looks at."""
    reach = config.reach * config.bins / config.sample_rate
    return float(min(max(STREAM["overlap"], round(4 * reach, 2)), STREAM["window"] / 4))


def _learnt(task: AudioTask) -> dict[str, Any]:
    stds = np.array(task.model.live.config.band_std)
    return {
        "hours_of_data": round(task.train.seconds[0] / 3600, 3),
        "frames": task.frames,
        "gains_db": [LEVELS.low, LEVELS.high],
        **({"foreign_share": LOW_FOREIGN if task.low else FOREIGN} if task.foreign else {}),
        "band_std": {
            "least": float(stds.min()),
            "median": round(float(np.median(stds)), 7),
            "greatest": float(stds.max()),
        },
    }


def _write_card(request: Request, folder: Path, entry: Mapping[str, Any], config: SpectralConfig) -> None:
    out = folder.parent
    card = cards.Card(
        name=out.resolve().name,
        medium="audio",
        engine="score",
        sources=request.sources,
        weights=(1.0,),
        sample_rate=config.sample_rate,
        data=request.data_note,
        stream={**STREAM, "overlap": overlap_for(config)},
        parts={folder.name: cards.Part("denoiser", dict(entry), history_of(request, folder.name))},
    )
    cards.write(cards.with_files(card, out), out)
