"""Training of a flow of one source: waveforms, network, card, curve and samples."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.waves import PEAK, SHAPES
from sepcli.errors import UsageError
from sepcli.priors.audio.load_flows import DEFAULTS, PART, load_wave_flow
from sepcli.priors.audio.options import FlowOptions
from sepcli.priors.audio.recordings import SampleChunks, card_of, source_names, waves_of
from sepcli.priors.audio.wave_flow import PRESETS, WaveFlow, WaveFlowConfig
from sepcli.priors.noise import device_of, noise_seeds
from sepcli.priors.start import start_from
from sepcli.training.checkpoints import Progress
from sepcli.training.config import TrainConfig
from sepcli.training.previews import CURVE, SIGNALS, save_curve, save_signals
from sepcli.training.run import Recipe, Setup, Stage
from sepcli.training.task import Batch

STREAM = {"window": 1.5, "overlap": 0.25, "batch": 1}
"""The card's stream: a score takes the memory of all that the flow computes on the way."""
EXAMPLES = 64
"""Chunks on which a flow starts with unit variance."""
VALIDATED = 64
"""Held-out chunks."""
SAMPLES, SECONDS = 3, 2.0
"""Samples for listening, and their length; with mel frames they are as long as chunks."""
LABELS = {"train_nats": "training, current weights", "valid_nats": "held out, mean of the weights"}
"""Legend of the training curve."""


@dataclass(frozen=True)
class WaveTask:
    """Likelihood and denoising of chunks of audio; fulfils ``sepcli.training.task.Task``."""

    model: WaveFlow
    evaluated: WaveFlow
    train: SampleChunks
    held_out: SampleChunks
    batch: int

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample chunks (B, T), σ (B,) and seeds (B,) of the noise."""
        chunks = self.train(rng, self.batch)
        return chunks, self.model.training_sigmas(self.batch, rng), noise_seeds(self.batch, rng)

    def loss(
        self, chunks: Tensor, sigma: Tensor, seeds: NDArray[np.int64]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of chunks, and its figures."""
        return self.model.batch_loss(chunks, sigma, seeds)

    def validate(self) -> dict[str, float]:
        """Return loss and figures of the same held-out chunks, with the same noise, every time."""
        rng, device = np.random.default_rng(0), device_of(self.evaluated)
        rows = [self.evaluated.loss(self.held_out(rng, 8).to(device), rng) for _ in range(VALIDATED // 8)]
        figures = {key: float(np.mean([row[key] for _, row in rows])) for key in rows[0][1]}
        return {"loss": float(np.mean([float(loss) for loss, _ in rows])), **figures}


def recipe(options: FlowOptions, config: TrainConfig) -> Recipe:
    """Decide how a flow of one source is trained.

    Raises:
        UsageError: several sources, or none of toy waves or songs.
    """
    if kind_of(config.data) is Kind.TOY and not config.sources:
        raise UsageError(
            "toy waves have four shapes", f"name one of them: {', '.join(SHAPES)}", argument="sources"
        )
    config = replace(config, sources=source_names(config))
    return Recipe(PART, config.sources, asdict(options), partial(_open, options, config))


def _open(options: FlowOptions, config: TrainConfig, *_: object) -> Setup:
    flow_config = _config(options, config)
    train, held_out = waves_of(config, flow_config.sample_rate, flow_config.factor)
    toy = kind_of(config.data) is Kind.TOY
    fields = {"weights": (1 / len(SHAPES),), "data": "toy waves"} if toy else {}
    settings = {"score": _sampler(flow_config)}

    def network() -> WaveFlow:
        flow, rng = WaveFlow(flow_config), np.random.default_rng(config.loop.seed)
        flow.initialize(train(rng, EXAMPLES), rng)
        if config.init is not None:
            start_from(flow, config.init, PART, load_wave_flow)
        return flow

    def task(flow: WaveFlow, evaluated: WaveFlow) -> WaveTask:
        return WaveTask(flow, evaluated, train, held_out, config.batch)

    def trained() -> WaveFlow:
        return load_wave_flow(config.out).to(config.device)

    def preview(progress: Progress) -> None:
        save_curve(progress.history, config.out / CURVE, LABELS, "negative log-likelihood, nats per sample")
        signals = _samples(trained(), held_out, config.loop.seed)
        save_signals(config.out / SIGNALS, signals.cpu(), flow_config.sample_rate)

    return Setup(
        flow_config,
        Stage(network, task),
        card_of(config, "score", flow_config.sample_rate, STREAM, settings=settings, **fields),
        finish=lambda: _facts(trained(), held_out),
        preview=preview,
    )


def _config(options: FlowOptions, config: TrainConfig) -> WaveFlowConfig:
    fields: dict[str, Any] = {"variant": options.variant, "denoising": options.denoising}
    fields |= PRESETS[options.variant][config.preset]
    if kind_of(config.data) is Kind.TOY:
        fields["peak"] = PEAK
    if options.noise is not None:
        fields |= {"noise": options.noise, "sigma_min": 2 * options.noise}
    if options.mels:  # one vector carries both
        width = max(options.mels, fields.get("embedding", WaveFlowConfig.embedding))
        fields |= {"mels": options.mels, "embedding": width}
    if options.clean or 2 * (options.noise or 0.0) >= WaveFlowConfig.sigma_max:
        fields["sigma_max"] = 0.0
    return WaveFlowConfig(**fields)


def _facts(flow: WaveFlow, held_out: SampleChunks) -> dict[str, Any]:
    """Return the kind of flow, and the log-likelihood of held-out chunks with the configured noise."""
    rng, device = np.random.default_rng(0), device_of(flow)
    chunks = held_out(rng, VALIDATED)
    noise = flow.config.noise * rng.standard_normal(chunks.shape).astype(np.float32)
    noisy = (chunks + torch.from_numpy(noise)).to(device)
    with torch.no_grad():
        values = [
            flow.log_prob(y[None, None, None], mels=flow.mel_frames(x[None, None]))
            for x, y in zip(chunks.to(device), noisy, strict=True)
        ]
    return {
        "variant": flow.config.variant,
        **({"mels": flow.config.mels} if flow.config.mels else {}),
        "noise": flow.config.noise,
        "samples": chunks.shape[-1],
        "nats_per_sample": round(float(torch.cat(values).mean()) / chunks.shape[-1], 4),
    }


def _samples(flow: WaveFlow, held_out: SampleChunks, seed: int) -> Tensor:
    """Sample signals (``SAMPLES``, T), of the mel frames of held-out chunks if the flow takes any."""
    config, rng = flow.config, torch.Generator().manual_seed(seed % 2**62)
    if not config.mels:
        length = round(SECONDS * config.sample_rate / config.factor) * config.factor
        return flow.sample(SAMPLES, length, rng)
    chunks = held_out(np.random.default_rng(0), SAMPLES).to(device_of(flow))
    return flow.sample(SAMPLES, chunks.shape[-1], rng, mels=flow.mel_frames(chunks))


def _sampler(config: WaveFlowConfig) -> dict[str, Any]:
    """Return the sampler of the flow: below the noise that is always added, it has no knowledge."""
    sampler = "projected" if config.peak else "langevin"
    defaults = DEFAULTS[sampler]
    low = max(defaults["sigma_min"], config.noise)
    return {
        "sampler": sampler,
        **defaults,
        "sigma_min": low,
        "sigma_max": max(defaults["sigma_max"], 2 * low),
    }
