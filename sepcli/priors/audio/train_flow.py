"""From a request to a finished flow of one kind of sound: waveforms, network, card, curve and samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.stems import StemBank
from sepcli.datasets.waves import LENGTH, PEAK, SHAPES, ToyWaves
from sepcli.errors import UsageError
from sepcli.priors.audio.load_flows import DEFAULTS, PART, load_wave_flow
from sepcli.priors.audio.previews import write_samples
from sepcli.priors.audio.train_denoiser import LEVELS, REFERENCE, open_banks
from sepcli.priors.audio.wave_flow import PRESETS, VARIANTS, WaveFlow, WaveFlowConfig
from sepcli.priors.images.train import check_alone
from sepcli.priors.images.train_task import Averaged, keep_ema
from sepcli.protocols import ProgressCallback
from sepcli.training.config import Request, training_entry
from sepcli.training.loop import Progress, train, write_text
from sepcli.training.previews import save_curve

FRAME = 256
"""Samples of what ``Request.tokens`` counts."""
USUAL = "waveglow"
"""The variant that is trained unless another is asked for."""
STREAM = {"window": 1.5, "overlap": 0.25, "batch": 1}
"""What the card says of the stream: a score takes the memory of all that the flow computes on the way."""
EXAMPLES = 64
"""Chunks that a flow begins with unit variance on."""
VALIDATED = 64
"""Held-out chunks."""
SAMPLES, SECONDS = 3, 2.0
"""Draws that are left to be listened to, and how long they are; with mel frames as long as chunks."""
CURVE = {"train_nats": "training, weights as they are", "valid_nats": "held out, mean of the weights"}
MIXTURE = "mixture"
"""What the one source of a folder of mixtures is called."""

Draw = Callable[[np.random.Generator, int], Tensor]
"""(rng, B) → random chunks (B, T)."""


@dataclass(frozen=True)
class WaveTask:
    """Maximum likelihood on chunks of sound; fulfils ``sepcli.training.loop.Task``.

    Attributes:
        model: the flow and its mean.
        train: draws chunks to learn from.
        held_out: draws chunks to validate on.
        batch: chunks per step.
    """

    model: Averaged[WaveFlow]
    train: Draw
    held_out: Draw
    batch: int

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of a random batch; the mean takes in the weights of the step before."""
        self.model.update()
        return self.model.live.loss(self.train(rng, self.batch).to(self.model.steps.device), rng)

    def validate(self) -> dict[str, float]:
        """Figures of the mean weights on the same held-out chunks, with the same noise, every time."""
        rng, device = np.random.default_rng(0), self.model.steps.device
        rows = [self.model.mean.loss(self.held_out(rng, 8).to(device), rng)[1] for _ in range(VALIDATED // 8)]
        nats = float(np.mean([row["nats"] for row in rows]))
        return {"score": nats, "nats": nats}


def run(
    request: Request,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
) -> Progress:
    """Train on toy waves or recordings into ``folder``, a part of the prior's folder.

    Raises:
        UsageError: unknown preset or variant, another noise than one can learn, chunks that are too long.
        OutputError: the folder cannot be written, or the prior has another part.
        InputError: the data cannot be read or are too little, or the checkpoint is of another network.
    """
    config = _config(request)
    check_alone(folder)
    task = _task(request, config)
    progress = train(task, folder, request.loop, request.device, request.resume, on_progress, log)
    keep_ema(folder / "model.safetensors")
    write_text(folder / "config.json", json.dumps(asdict(config), indent=1))
    flow = load_wave_flow(folder.parent).to(request.device)
    _write_card(
        request, folder, config, {**training_entry(request, progress), **_learnt(flow, request, task)}
    )
    save_curve(
        progress.history, request.out / "validation.png", CURVE, "negative log-likelihood, nats per sample"
    )
    write_samples(request.out / "samples", _drawn(flow, request, task).cpu(), config.sample_rate)
    return progress


def waves_of(data: Path, source: str, rate: int, length: int, cache: Path | None = None) -> tuple[Draw, Draw]:
    """What draws chunks to learn from, and held-out ones.

    Args:
        data: the word for toy waves, a folder of recordings, Slakh2100's layout, or MUSDB18.
        source: a shape, what a folder's source is called, a class of Slakh, or a stem of MUSDB18.
        rate: Hz; of toy waves their own is meant.
        length: samples of a chunk.
        cache: a folder for decoded recordings.

    Raises:
        UsageError: there is no such shape, or chunks are longer than toy waves.
        InputError: the data cannot be read, or are too little.
    """
    if kind_of(data) is Kind.TOY:
        _check_length(length)
        splits = [ToyWaves((source,), split) for split in ("train", "test")]
        first, last = (_of_toys(split, length) for split in splits)
        return first, last
    levels = Gains(low=LEVELS.low, high=LEVELS.high, silent=0.0)
    first, last = (_of_bank(bank, length, levels) for bank in open_banks(data, source, rate, length, cache))
    return first, last


def mixtures_of(
    data: Path, sources: Sequence[str], rate: int, length: int, cache: Path | None = None
) -> tuple[Draw, Draw]:
    """What draws chunks of mixtures to learn from, and held-out ones.

    Args:
        data: the word for toy waves, of which means are made, a folder of recorded mixtures, or MUSDB18.
        sources: shapes of toy waves; the sources of recordings are not known.
        rate: Hz; of toy waves their own is meant.
        length: samples of a chunk.
        cache: a folder for decoded recordings.

    Raises:
        UsageError: there is no such shape, or chunks are longer than toy waves.
        InputError: the data cannot be read, or are too little.
    """
    if kind_of(data) is Kind.TOY:
        _check_length(length)
        splits = [ToyWaves(sources, split) for split in ("train", "test")]
        first, last = (_means_of_toys(split, length) for split in splits)
        return first, last
    first, last = (_of_bank(bank, length, None) for bank in open_banks(data, MIXTURE, rate, length, cache))
    return first, last


def _check_length(length: int) -> None:
    if length > LENGTH:
        raise UsageError(
            f"chunks of {length} samples are longer than a toy wave",
            f"use --tokens {LENGTH // FRAME} or less",
        )


def _means_of_toys(waves: ToyWaves, length: int) -> Draw:
    return lambda rng, count: torch.from_numpy(waves.draw(rng, count, length).mean(1))


def _of_toys(waves: ToyWaves, length: int) -> Draw:
    return lambda rng, count: torch.from_numpy(waves.draw(rng, count, length)[:, 0])


def _of_bank(bank: StemBank, length: int, levels: Gains | None) -> Draw:
    """Chunks of either polarity; without ``levels`` at that of the bank."""

    def draw(rng: np.random.Generator, count: int) -> Tensor:
        chunks = draw_chunks(bank, rng, count, length, levels)[:, 0]
        return torch.from_numpy(chunks * rng.choice(np.array([-1.0, 1.0], np.float32), (count, 1)))

    return draw


def _config(request: Request) -> WaveFlowConfig:
    """What is asked for, or a refusal before any work."""
    variant = request.variant or USUAL
    if variant not in VARIANTS:
        raise UsageError(f"unknown variant '{variant}'", f"one of: {', '.join(VARIANTS)}")
    presets = PRESETS[variant]
    if request.preset not in presets:
        raise UsageError(f"unknown preset '{request.preset}'", f"one of: {', '.join(presets)}")
    fields: dict[str, Any] = {"variant": variant, **presets[request.preset]}
    if kind_of(request.data) is Kind.TOY:
        fields["peak"] = PEAK
    if request.noise is not None:
        if not 1e-5 <= request.noise < 1.0:
            raise UsageError(
                f"noise of {request.noise:g} is out of range", "use 0.00001 or more, less than 1"
            )
        fields |= {"noise": request.noise, "sigma_min": 2 * request.noise}
    if request.mels:  # one vector carries both
        width = max(request.mels, fields.get("embedding", WaveFlowConfig.embedding))
        fields |= {"mels": request.mels, "embedding": width}
    if request.clean or 2 * (request.noise or 0.0) >= WaveFlowConfig.sigma_max:
        fields["sigma_max"] = 0.0
    return WaveFlowConfig(**fields)


def _task(request: Request, config: WaveFlowConfig) -> WaveTask:
    length = request.tokens * FRAME // config.factor * config.factor
    learn, held_out = waves_of(request.data, request.sources[0], config.sample_rate, length, request.cache)
    rng = np.random.default_rng(request.loop.seed)
    with torch.random.fork_rng(devices=[]):  # networks draw their first weights from torch's own stream
        torch.manual_seed(request.loop.seed)
        flow = WaveFlow(config)
    flow.initialize(learn(rng, EXAMPLES), rng)
    return WaveTask(Averaged(flow).to(request.device).train(), learn, held_out, request.batch)


def _learnt(flow: WaveFlow, request: Request, task: WaveTask) -> dict[str, Any]:
    """What the flow is of, and how well it knows held-out chunks under no noise but its own."""
    rng = np.random.default_rng(0)
    chunks = task.held_out(rng, VALIDATED)
    noise = flow.config.noise * rng.standard_normal(chunks.shape).astype(np.float32)
    noisy = (chunks + torch.from_numpy(noise)).to(request.device)
    with torch.no_grad():
        known = [
            flow.log_prob(y[None, None, None], mels=flow.mel_frames(x[None, None]))
            for x, y in zip(chunks.to(request.device), noisy, strict=True)
        ]
    return {
        "variant": flow.config.variant,
        **({"mels": flow.config.mels} if flow.config.mels else {}),
        "noise": flow.config.noise,
        "samples": chunks.shape[-1],
        "nats_per_sample": round(float(torch.cat(known).mean()) / chunks.shape[-1], 4),
    }


def _drawn(flow: WaveFlow, request: Request, task: WaveTask) -> Tensor:
    """Draws (``SAMPLES``, T), of the mel frames of held-out chunks if the flow is conditioned on them."""
    config, rng = flow.config, torch.Generator().manual_seed(request.loop.seed % 2**62)
    if not config.mels:
        length = round(SECONDS * config.sample_rate / config.factor) * config.factor
        return flow.sample(SAMPLES, length, rng)
    chunks = task.held_out(np.random.default_rng(0), SAMPLES).to(request.device)
    return flow.sample(SAMPLES, chunks.shape[-1], rng, mels=flow.mel_frames(chunks))


def _sampler(config: WaveFlowConfig) -> dict[str, Any]:
    """What separates by the flow; what is finer than the noise that is always there is not known."""
    sampler = "projected" if config.peak else "langevin"
    usual = DEFAULTS[sampler]
    low = max(usual["sigma_min"], config.noise)
    return {"sampler": sampler, **usual, "sigma_min": low, "sigma_max": max(usual["sigma_max"], 2 * low)}


def _write_card(request: Request, folder: Path, config: WaveFlowConfig, entry: dict[str, Any]) -> None:
    out, toy = folder.parent, kind_of(request.data) is Kind.TOY
    card = cards.Card(
        name=out.resolve().name,
        medium="audio",
        engine="score",
        sources=request.sources,
        weights=(1 / len(SHAPES) if toy else 1.0,),
        sample_rate=config.sample_rate,
        data=request.data_note or ("toy waves" if toy else ""),
        settings={"score": _sampler(config)},
        stream={**STREAM, "reference_rms": 0 if toy else REFERENCE},
        parts={PART: cards.Part("flow", entry)},
    )
    cards.write(cards.with_files(card, out), out)
