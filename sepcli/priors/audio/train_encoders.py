"""From a request to finished encoders of mixtures: what separates without pairs of mixtures and sources.

    loss = -(Σ_k log p_s(x_k) + log p(m | x) - log q(x | m))/T,   x ~ q(x | m) of the encoders

The flows p_s stay as they are. s is drawn anew at every step, evenly in ln s from the coarsest noise, under
which a flow guides from afar, to the finest, at which mixtures are separated.

Source: Frank 2020, "Modeling the posteriors"; the noise levels are those of annealed Langevin dynamics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.atomic import MORE_SPACE, write_whole
from sepcli.catalog import card as cards
from sepcli.catalog import engines, resolve
from sepcli.catalog.card import Card
from sepcli.catalog.engines import source_names
from sepcli.datasets.detect import Kind, kind_of
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.audio.encoders import PRESETS, Encoders, EncodersConfig
from sepcli.priors.audio.load_encoders import PART, posterior
from sepcli.priors.audio.load_flows import is_flow, load_source_flow
from sepcli.priors.audio.train_denoiser import REFERENCE
from sepcli.priors.audio.train_flow import FRAME, STREAM, VALIDATED, Draw, mixtures_of
from sepcli.priors.audio.wave_flow import WaveFlow
from sepcli.priors.images.train_task import Averaged, keep_ema
from sepcli.protocols import ProgressCallback
from sepcli.training.config import Request, training_entry
from sepcli.training.loop import Progress, train, write_text
from sepcli.training.previews import save_curve

FAMILY = engines.VARIATIONAL
"""The word for them."""
KEPT = "priors"
"""The folder, inside the prior's, of copies of the flows."""
CURVE = {"train_bound": "training, all noise levels", "valid_bound": "held out, least noise"}

Found = Sequence[tuple[Card, Path]]
"""Cards and folders of flows, one per source."""


@dataclass(frozen=True)
class VariationalTask:
    """The bound on mixtures alone; fulfils ``sepcli.training.loop.Task``.

    Attributes:
        model: the encoders and their mean.
        priors: K flows, whose weights are not trained.
        train: draws mixtures to learn from.
        held_out: draws mixtures to validate on.
        batch: mixtures per step.
    """

    model: Averaged[Encoders]
    priors: Sequence[WaveFlow]
    train: Draw
    held_out: Draw
    batch: int

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of a random batch; the mean takes in the weights of the step before."""
        self.model.update()
        config = self.model.live.config
        noise = config.noise * (config.noise_max / config.noise) ** rng.random()
        mixtures = self.train(rng, self.batch).to(self.model.steps.device)
        loss = -bound(self.model.live, self.priors, mixtures, noise, rng).mean()
        return loss, {"bound": float(loss.detach())}

    def validate(self) -> dict[str, float]:
        """The bound of the mean weights on the same held-out mixtures, with the same draws, every time."""
        rng, config = np.random.default_rng(0), self.model.mean.config
        found = []
        for _ in range(VALIDATED // 8):
            mixtures = self.held_out(rng, 8).to(self.model.steps.device)
            found.append(-float(bound(self.model.mean, self.priors, mixtures, config.noise, rng).mean()))
        nats = float(np.mean(found))
        return {"score": nats, "bound": nats}


def bound(
    encoders: Encoders,
    priors: Sequence[WaveFlow],
    mixtures: Tensor,
    noise: float,
    rng: np.random.Generator,
) -> Tensor:
    """The lower bound on log p(m) of mixtures (B, T) by one draw, in nats per sample, (B,)."""
    with torch.autocast(mixtures.device.type, enabled=False):
        q = posterior(encoders, mixtures[:, None], noise)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        x = q.sample(torch.randn(q.mean.shape, generator=generator).to(q.mean))
        known = [
            prior.log_prob(one, math.sqrt(max(0.0, noise**2 - prior.config.noise**2)))
            for prior, one in zip(priors, torch.split(x, 1, dim=1), strict=True)
        ]
        return (torch.stack(known).sum(0) + q.log_ratio(x)) / mixtures.shape[-1]


def prior_sources(priors: Sequence[str], sources: str | None = None) -> tuple[str, ...]:
    """What the sources of these flows are called, from their cards alone.

    Raises:
        UsageError: there are fewer than two, or ``sources`` were named besides.
        PriorError: a prior is missing.
    """
    if sources is not None:
        raise UsageError("the sources of encoders are those of their priors", "leave out --sources")
    if len(priors) < 2:
        raise UsageError(
            "encoders need a prior of every source, two or more",
            "give --prior once per source, flows of waveforms",
        )
    return source_names([resolve.find(word)[0] for word in priors])


def check_options(request: Request) -> None:
    """Refuse options of flows and encoders for other families.

    Raises:
        UsageError: there is one.
    """
    given = {
        "--variant": (request.variant, ("flow",)),
        "--mels": (request.mels, ("flow",)),
        "--noise": (request.noise is not None, ("flow", FAMILY)),
        "--prior": (request.priors, (FAMILY,)),
        "--mixture-noise": (request.mixture_noise, (FAMILY,)),
    }
    for option, (value, families) in given.items():
        if value and request.family not in families:
            raise UsageError(
                f"{option} is not for a {request.family}",
                f"leave it out, or use --family {' or '.join(families)}",
            )


def run(
    request: Request,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
) -> Progress:
    """Train on mixtures into ``folder``, a part of the prior's folder; keep copies of the flows beside it.

    Raises:
        UsageError: unknown preset, priors of different rates, noise out of range, chunks that are too long.
        PriorError: a prior is missing, damaged, not a flow of waveforms, or conditioned on mel frames.
        OutputError: the folder cannot be written, or is of another prior.
        InputError: the data cannot be read or are too little, or the checkpoint is of another network.
    """
    found = _open(request.priors)
    flows = [load_source_flow(card, place).to(request.device) for card, place in found]
    config = _config(request, found, flows)
    _check_place(request.out)
    task = _task(request, config, flows)
    progress = train(task, folder, request.loop, request.device, request.resume, on_progress, log)
    keep_ema(folder / "model.safetensors")
    write_text(folder / "config.json", json.dumps(asdict(config), indent=1))
    _keep_priors(found, request.out / KEPT)
    _write_card(request, found, config, {**training_entry(request, progress), **_learnt(found, config)})
    save_curve(progress.history, request.out / "validation.png", CURVE, "minus the bound, nats per sample")
    return progress


def _open(words: Sequence[str]) -> Found:
    found = [resolve.find(word) for word in words]
    for card, folder in found:
        if not engines.is_single(card) or not is_flow(folder):
            raise PriorError(
                f"prior {card.name} is not a flow of waveforms",
                "give priors made by `sepcli train-prior --family flow`",
            )
        cards.verify(card, folder)
    if len({card.sample_rate for card, _ in found}) > 1:
        raise UsageError("the priors differ in sample rate", "choose priors of one rate")
    return found


def _config(request: Request, found: Found, flows: Sequence[WaveFlow]) -> EncodersConfig:
    """What is asked for, or a refusal before any work."""
    if request.preset not in PRESETS:
        raise UsageError(f"unknown preset '{request.preset}'", f"one of: {', '.join(PRESETS)}")
    always = max(flow.config.noise for flow in flows)
    most = max(always, min(flow.config.sigma_max for flow in flows))
    noise = max(always, min(EncodersConfig.noise, most)) if request.noise is None else request.noise
    if not always <= noise <= most:
        raise UsageError(
            f"noise of {noise:g} is not what the priors know",
            f"use {always:g}" + (f" to {most:g}" if most > always else ""),
        )
    if not 0 <= request.mixture_noise < 1:
        raise UsageError(
            f"mixture noise of {request.mixture_noise:g} is out of range",
            "use 0 for sources that sum to the mixture exactly, or less than 1",
        )
    return EncodersConfig(
        mixing_weights(request.data, found),
        **PRESETS[request.preset],
        noise=noise,
        noise_max=max(noise, min(EncodersConfig.noise_max, most)),
        mixture_noise=request.mixture_noise,
    )


def mixing_weights(data: Path, found: Found) -> tuple[float, ...]:
    """The α_k of mixtures: toy waves are averaged, sources of recordings have their priors' own."""
    if kind_of(data) is Kind.TOY:
        return (1 / len(found),) * len(found)
    return tuple(card.weights[0] if card.weights else 1.0 for card, _ in found)


def _check_place(out: Path) -> None:
    """Refuse the folder of a prior of another family.

    Raises:
        OutputError: it is one.
    """
    if (out / "card.toml").exists() and FAMILY not in cards.read(out).engines:
        raise OutputError(f"{out} holds another prior", "choose another --out folder")


def _task(request: Request, config: EncodersConfig, flows: Sequence[WaveFlow]) -> VariationalTask:
    whole = math.lcm(config.factor, *(flow.config.factor for flow in flows))
    length = request.tokens * FRAME // whole * whole
    learn, held_out = mixtures_of(
        request.data, request.sources, flows[0].config.sample_rate, length, request.cache
    )
    with torch.random.fork_rng(devices=[]):  # networks draw their first weights from torch's own stream
        torch.manual_seed(request.loop.seed)
        encoders = Encoders(config)
    model = Averaged(encoders).to(request.device).train()
    return VariationalTask(model, flows, learn, held_out, request.batch)


def _keep_priors(found: Found, folder: Path) -> None:
    """Copy cards and files of the flows to ``folder``, numbered; a card last, when its files are there."""
    for number, (card, place) in enumerate(found, 1):
        for name in (*card.files, "card.toml"):
            target = folder / str(number) / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                data = (place / name).read_bytes()
            except OSError as error:
                raise OutputError(f"cannot copy {place / name}: {error.strerror}", MORE_SPACE) from error
            write_whole(target, data)


def _learnt(found: Found, config: EncodersConfig) -> dict[str, Any]:
    """What the encoders are of, and by which priors."""
    return {
        "noise": config.noise,
        "noise_max": config.noise_max,
        "mixture_noise": config.mixture_noise,
        "priors": [
            {
                "name": card.name,
                "files": {name: entry.sha256 for name, entry in card.files.items()},
            }
            for card, _ in found
        ],
    }


def _write_card(request: Request, found: Found, config: EncodersConfig, entry: dict[str, Any]) -> None:
    out, toy = request.out, kind_of(request.data) is Kind.TOY
    card = Card(
        name=out.resolve().name,
        medium="audio",
        engine="variational",
        sources=request.sources,
        weights=config.weights,
        sample_rate=found[0][0].sample_rate,
        data=request.data_note or ("mixtures of toy waves" if toy else ""),
        stream={**STREAM, "reference_rms": 0 if toy else REFERENCE},
        priors=tuple(f"{KEPT}/{number}" for number in range(1, len(found) + 1)),
        parts={PART: cards.Part(FAMILY, entry)},
    )
    cards.write(cards.with_files(card, out), out)
