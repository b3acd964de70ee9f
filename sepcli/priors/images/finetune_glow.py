"""A flow of images as noise-conditioned copies: one per noise level, each fine-tuned from the one before.

The finished flow stays the copy of no noise; the others follow serially from the least σ to the greatest, as
flows that are trained for great noise directly from the clean one lose their invertibility. A finished level
is kept in the folder ``levels`` until all are finished; then they become one file, and the copies share one
layout.

Source: Jayaram & Thickstun 2020 (BASIS), section 3.5 and appendix, 10 levels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sepcli.atomic import write_text
from sepcli.catalog import card as cards
from sepcli.catalog.storage import read_weights
from sepcli.errors import InputError, OutputError, PriorError, UsageError
from sepcli.priors.images.flow import FlowPrior
from sepcli.priors.images.glow import GlowConfig, glow_prior
from sepcli.priors.images.load import load_image_prior
from sepcli.priors.images.options import GlowOptions
from sepcli.priors.images.train_task import ImageData, ImageTask, data_facts, open_images
from sepcli.protocols import ProgressCallback
from sepcli.training.checkpoints import Progress, forget, progress_of, write_history, write_tensors
from sepcli.training.config import TrainConfig
from sepcli.training.loop import write_weights
from sepcli.training.run import Log, OnMessage, Setup, Stage, fit

LEVELS = "levels"
"""The folder, inside the flow's, of finished levels."""
VALIDATIONS = 3
"""Number of validations of every level."""
FIRST = "flows.0."
"""Prefix of the tensors of a prior's only flow."""


def check_finetune(options: GlowOptions, config: TrainConfig) -> None:
    """Refuse, before any work, what cannot be fine-tuned.

    Raises:
        UsageError: a trained prior to start from, or ``clean``.
        PriorError: there is no flow, or it has several copies already.
        OutputError: fine-tuning was started there, and is neither resumed nor overwritten.
    """
    if config.init is not None or options.clean:
        raise UsageError(
            "only the finished glow in the folder is fine-tuned",
            "leave out init and clean",
            argument="init" if config.init is not None else "settings.clean",
        )
    folder = config.out / config.family
    if not (folder / "config.json").is_file():
        raise PriorError(f"{folder} holds no finished flow", "train a glow first", argument="out")
    if len(_flow(config.out)[0].flows) > 1:
        raise PriorError(f"{folder} is fine-tuned already", "train another glow first", argument="out")
    if (folder / LEVELS).exists() and not (config.resume or config.overwrite):
        raise OutputError(
            f"{folder / LEVELS} holds an unfinished run", "resume or overwrite it", argument="out"
        )


def finetune(
    options: GlowOptions,
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> Setup:
    """Open the data for a finished flow; preset, sources and classes are those of the flow.

    Raises:
        InputError: the data cannot be read, or are of another shape.
    """
    folder, (clean, clean_config) = config.out / config.family, _flow(config.out)
    data = open_images(options, config, clean.config.classes, on_progress, on_message)
    shape = (clean.config.channels, *clean.config.size)
    if data.train.images.shape[1:] != shape:
        raise InputError(
            f"{config.data} holds images of another shape than the flow's, {' x '.join(map(str, shape))}",
            "give the data, size and channels that it was trained with",
        )
    sigmas = tuple(
        float(s) for s in np.geomspace(clean.config.sigma_min, clean.config.sigma_max, options.levels)
    )
    levels = _Levels(folder, clean_config, sigmas, data)
    # bits per dimension of the clean flow, which stays the copy of no noise
    facts = data_facts(clean.to(config.device), data)
    return Setup(
        replace(clean_config, sigmas=(0.0, *sigmas)),
        levels.train,
        cards.read(config.out),
        finish=lambda: facts,
        preview=lambda _: shutil.rmtree(folder / LEVELS),
    )


@dataclass(frozen=True)
class _Levels:
    """The levels of a flow, trained one after the other."""

    folder: Path
    config: GlowConfig
    sigmas: tuple[float, ...]
    data: ImageData

    def train(self, config: TrainConfig, on_progress: ProgressCallback | None, log: Log | None) -> Progress:
        """Train the levels that are not finished; the budget is shared evenly. Leave all as one file."""
        work, world = self.folder / LEVELS, config.world
        if config.overwrite:
            world.from_first(lambda: shutil.rmtree(work, ignore_errors=True))
        states, total = [_state(self.folder / "model.safetensors")], Progress()
        done = world.from_first(lambda: [(work / f"{n}.json").is_file() for n in range(len(self.sigmas))])
        for number, finished in enumerate(done):
            if not finished:
                self._train_level(number, states[-1], config, on_progress, log)
            state, level = _finished(work, number)
            states.append(state)
            total.step += level.step
            total.elapsed += level.elapsed
            total.history += level.history
        total.best_step = total.step
        world.from_first(lambda: self._write(states, total, config.loop.storage))
        return total

    def _write(self, states: Sequence[Mapping[str, Tensor]], total: Progress, storage: cards.Storage) -> None:
        """Write the tensors of all flows as one file."""
        forget(self.folder)  # of the clean flow
        whole = glow_prior(replace(self.config, sigmas=(0.0, *self.sigmas)))
        for flow, state in zip(whole.flows, states, strict=True):
            flow.load_state_dict(state)
        write_weights(whole, self.folder / "model.safetensors", storage)
        write_history(self.folder, total.history)

    def _train_level(
        self,
        number: int,
        before: Mapping[str, Tensor],
        config: TrainConfig,
        on_progress: ProgressCallback | None,
        log: Log | None,
    ) -> None:
        """Leave ``NUMBER.safetensors``, the tensors of one flow, and ``NUMBER.json``, its progress."""
        work, sigma, count, loop = self.folder / LEVELS, self.sigmas[number], len(self.sigmas), config.loop

        def network() -> FlowPrior:
            prior = glow_prior(replace(self.config, sigmas=(sigma,)))
            prior.flows[0].load_state_dict(before)
            return prior

        def task(prior: FlowPrior, evaluated: FlowPrior) -> ImageTask:
            return ImageTask(prior, evaluated, self.data, config.batch)

        def step(done: int, steps: int) -> None:
            if on_progress is not None:
                on_progress(number * steps + done, count * steps)

        def logged(entry: dict[str, float]) -> None:
            if log is not None:
                log({"sigma": sigma, **entry})

        share = replace(
            loop,
            seconds=None if loop.seconds is None else loop.seconds / count,
            steps=None if loop.steps is None else max(1, loop.steps // count),
            validations=VALIDATIONS,
        )
        progress = fit(Stage(network, task), work, share, config, step, logged)
        progress.history = [{"sigma": sigma, **entry} for entry in progress.history]
        config.world.from_first(lambda: _finish(work, number, progress))


def _finish(work: Path, number: int, progress: Progress) -> None:
    """Keep the tensors and the progress of a level; the next level starts anew."""
    write_tensors(work / f"{number}.safetensors", _state(work / "model.safetensors"))
    forget(work)
    write_text(work / f"{number}.json", json.dumps(asdict(progress)))


def _flow(out: Path) -> tuple[FlowPrior, GlowConfig]:
    """Return the flow of a folder and its config."""
    prior = load_image_prior(out)
    if not (isinstance(prior, FlowPrior) and isinstance(prior.config, GlowConfig)):
        raise PriorError(f"{out} is not a glow", "train a glow first", argument="out")
    return prior, prior.config


def _finished(work: Path, number: int) -> tuple[dict[str, Tensor], Progress]:
    """Return tensors and progress of a level that is finished; InputError if its files are damaged."""
    try:
        fields = json.loads((work / f"{number}.json").read_text(encoding="utf-8"))
        return load_file(work / f"{number}.safetensors"), progress_of(fields)
    except (OSError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        raise InputError(
            f"level {number} of the run in {work} is damaged", "overwrite it", argument="resume"
        ) from error


def _state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of the only flow of a prior, by the flow's names."""
    return {name.removeprefix(FIRST): tensor for name, tensor in read_weights(path).items()}
