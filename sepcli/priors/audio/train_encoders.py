"""Training of encoders of mixtures, which separate without pairs of mixtures and sources.

    loss = -(Σ_k log p_s(x_k) + log p(m | x) - log q(x | m))/T,   x ~ q(x | m) of the encoders

The flows p_s stay fixed. s is sampled at every step, evenly in ln s from the coarsest noise, under which a
flow guides from afar, to the finest, at which mixtures are separated.

Source: Frank 2020, "Modeling the posteriors"; the noise levels are those of annealed Langevin dynamics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.atomic import MORE_SPACE, write_whole
from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.catalog.verified import Verified, verified
from sepcli.datasets.detect import Kind, kind_of
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.audio.encoders import PRESETS, Encoders, EncodersConfig
from sepcli.priors.audio.load_encoders import PART, posterior
from sepcli.priors.audio.load_flows import is_flow, load_source_flow
from sepcli.priors.audio.options import EncodersOptions
from sepcli.priors.audio.recordings import SampleChunks, card_of, mixtures_of
from sepcli.priors.audio.train_flow import STREAM, VALIDATED
from sepcli.priors.audio.wave_flow import WaveFlow
from sepcli.priors.noise import device_of, noise_rows, noise_seeds
from sepcli.priors.select import is_single, source_names
from sepcli.priors.selection import VARIATIONAL
from sepcli.training.checkpoints import Progress
from sepcli.training.config import TrainConfig
from sepcli.training.previews import CURVE, save_curve
from sepcli.training.run import Recipe, Setup, Stage
from sepcli.training.task import Batch

KEPT = "priors"
"""The folder, inside the prior's, of copies of the flows."""
LABELS = {"train_bound": "training, all noise levels", "valid_bound": "held out, least noise"}
"""Legend of the training curve."""

Flows = Sequence[tuple[Card, Path]]
"""Cards and folders of flows, one per source."""


@dataclass(frozen=True)
class VariationalTask:
    """The lower bound on log p of mixtures, under fixed flows; fulfils ``sepcli.training.task.Task``."""

    model: Encoders
    evaluated: Encoders
    priors: Sequence[WaveFlow]
    train: SampleChunks
    held_out: SampleChunks
    batch: int

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample mixtures (B, T), seeds (B,) of their samples, and the noise level of all."""
        config = self.model.config
        noise = config.noise * (config.noise_max / config.noise) ** rng.random()
        return self.train(rng, self.batch), noise_seeds(self.batch, rng), noise

    def loss(
        self, mixtures: Tensor, seeds: NDArray[np.int64], noise: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of mixtures, and its figures."""
        loss = -bound(self.model, self.priors, mixtures, noise, seeds).mean()
        return loss, {"bound": float(loss.detach())}

    def validate(self) -> dict[str, float]:
        """Return minus the bound on the same held-out mixtures, with the same samples, every time."""
        rng, config, values = np.random.default_rng(0), self.evaluated.config, []
        for _ in range(VALIDATED // 8):
            mixtures = self.held_out(rng, 8).to(device_of(self.evaluated))
            seeds = noise_seeds(len(mixtures), rng)
            values.append(-float(bound(self.evaluated, self.priors, mixtures, config.noise, seeds).mean()))
        nats = float(np.mean(values))
        return {"loss": nats, "bound": nats}


def bound(
    encoders: Encoders,
    priors: Sequence[WaveFlow],
    mixtures: Tensor,
    noise: float,
    seeds: NDArray[np.int64],
) -> Tensor:
    """Return the lower bound on log p(m) of mixtures (B, T), in nats per sample, (B,).

    It is estimated by one sample of the sources of every mixture, from its seed (B,).
    """
    with torch.autocast(mixtures.device.type, enabled=False):
        q = posterior(encoders, mixtures[:, None], noise)
        x = q.sample(noise_rows(q.mean, seeds))
        values = [
            prior.log_prob(one, math.sqrt(max(0.0, noise**2 - prior.config.noise**2)))
            for prior, one in zip(priors, torch.split(x, 1, dim=1), strict=True)
        ]
        return (torch.stack(values).sum(0) + q.log_ratio(x)) / mixtures.shape[-1]


def recipe(options: EncodersOptions, config: TrainConfig) -> Recipe:
    """Decide how encoders of mixtures are trained; their sources are those of the flows.

    Raises:
        UsageError: sources are named, there are fewer than two flows, or they differ in sample rate.
        PriorError: a prior is missing, or not a flow of waveforms.
        OutputError: the folder is of another prior.
    """
    if config.sources:
        raise UsageError("the sources of encoders are those of their priors", "omit them", argument="sources")
    if len(options.prior) < 2:
        raise UsageError(
            "encoders need a prior of every source, two or more",
            "give flows of waveforms, one per source",
            argument="prior",
        )
    entries = [resolve.find(name) for name in options.prior]
    for card, folder in entries:
        if not is_single(card) or not is_flow(Verified(card, folder)):
            raise PriorError(
                f"prior {card.name} is not a flow of waveforms", "train flows first", argument="prior"
            )
    if len({card.sample_rate for card, _ in entries}) > 1:
        raise UsageError("the priors differ in sample rate", "choose priors of one rate", argument="prior")
    if (config.out / "card.toml").exists() and VARIATIONAL not in cards.read(config.out).engines:
        raise OutputError(f"{config.out} holds another prior", "choose another folder", argument="out")
    config = replace(config, sources=source_names([card for card, _ in entries]))
    opened = partial(_open, options, config, entries)
    return Recipe(PART, config.sources, asdict(options), opened, alone=False)


def mixing_weights(data: Path, flows: Flows) -> tuple[float, ...]:
    """Return the α_k of mixtures: toy waves are averaged, recordings have the weights of their priors."""
    if kind_of(data) is Kind.TOY:
        return (1 / len(flows),) * len(flows)
    return tuple(card.weights[0] if card.weights else 1.0 for card, _ in flows)


def _open(options: EncodersOptions, config: TrainConfig, entries: Flows, *_: object) -> Setup:
    flows = [load_source_flow(card, verified(card, folder), config.device) for card, folder in entries]
    encoders_config = _config(options, config, entries, flows)
    multiple = math.lcm(encoders_config.factor, *(flow.config.factor for flow in flows))
    train, held_out = mixtures_of(config, flows[0].config.sample_rate, multiple)
    fields: dict[str, Any] = {"data": "mixtures of toy waves"} if kind_of(config.data) is Kind.TOY else {}
    kept = tuple(f"{KEPT}/{number}" for number in range(1, len(flows) + 1))
    fields |= {"weights": encoders_config.weights, "priors": kept}

    def task(encoders: Encoders, evaluated: Encoders) -> VariationalTask:
        return VariationalTask(encoders, evaluated, flows, train, held_out, config.batch)

    def finish() -> dict[str, Any]:
        _copy_priors(entries, config.out / KEPT)
        return _facts(entries, encoders_config)

    def preview(progress: Progress) -> None:
        save_curve(progress.history, config.out / CURVE, LABELS, "minus the bound, nats per sample")

    return Setup(
        encoders_config,
        Stage(lambda: Encoders(encoders_config), task),
        card_of(config, "variational", entries[0][0].sample_rate, STREAM, **fields),
        finish=finish,
        preview=preview,
    )


def _config(
    options: EncodersOptions, config: TrainConfig, entries: Flows, flows: Sequence[WaveFlow]
) -> EncodersConfig:
    least = max(flow.config.noise for flow in flows)
    most = max(least, min(flow.config.sigma_max for flow in flows))
    noise = max(least, min(EncodersConfig.noise, most)) if options.noise is None else options.noise
    if not least <= noise <= most:
        raise UsageError(
            f"noise={noise:g} is out of the range of the priors",
            f"use {least:g}" + (f" to {most:g}" if most > least else ""),
            argument="settings.noise",
        )
    return EncodersConfig(
        mixing_weights(config.data, entries),
        **PRESETS[config.preset],
        noise=noise,
        noise_max=max(noise, min(EncodersConfig.noise_max, most)),
        mixture_noise=options.mixture_noise,
    )


def _copy_priors(entries: Flows, folder: Path) -> None:
    """Copy cards and files of the flows to ``folder``, numbered; a card last, when its files are there."""
    for number, (card, source) in enumerate(entries, 1):
        for name in (*card.files, "card.toml"):
            target = folder / str(number) / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                data = (source / name).read_bytes()
            except OSError as error:
                raise OutputError(f"cannot copy {source / name}: {error.strerror}", MORE_SPACE) from error
            write_whole(target, data)


def _facts(flows: Flows, config: EncodersConfig) -> dict[str, Any]:
    priors = [
        {"name": card.name, "files": {name: entry.sha256 for name, entry in card.files.items()}}
        for card, _ in flows
    ]
    return {
        "noise": config.noise,
        "noise_max": config.noise_max,
        "mixture_noise": config.mixture_noise,
        "priors": priors,
    }
