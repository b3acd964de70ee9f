"""The ladder of noise-conditioned copies of a flow: each is fine-tuned from the one before it.

From the finished flow, which stays the level of no noise, serially from the least σ to the greatest: flows
that are trained for great noise straight from the clean one lose their invertibility. A level that is done is
kept in the folder ``ladder`` until all are; then they become one file, and the copies share one layout.

Source: Jayaram & Thickstun 2020 (BASIS), section 3.5 and appendix, 10 levels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.datasets.image_splits import open_data
from sepcli.errors import InputError, OutputError, PriorError, UsageError
from sepcli.priors.images.glow import GlowPrior
from sepcli.priors.images.load_score import load_image_prior
from sepcli.priors.images.train import check, of_data, task_of
from sepcli.priors.images.train_task import DenoiserTask, keep_ema
from sepcli.protocols import ProgressCallback
from sepcli.training.config import Request, training_entry
from sepcli.training.loop import Progress, train, write_tensors, write_text

LEVELS = 10
"""Of noise, besides none."""
VALIDATIONS = 3
"""Of every level."""
FIRST = "flows.0."
"""What the tensors of a prior's only flow begin with."""

Log = Callable[[dict[str, float]], None]


def run(
    request: Request,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    log: Log | None = None,
    tell: Callable[[str], None] | None = None,
) -> Progress:
    """Make the flow in ``folder``, a part of a prior's folder, a ladder; the budget is shared evenly.

    Preset and classes are the flow's own.

    Args:
        request: budget, data and device.
        folder: where the flow is.
        on_progress: told about progress.
        log: told the figures of every validation, with σ.
        tell: told in words what is worth knowing of the data.

    Returns:
        Steps and history of all levels.

    Raises:
        UsageError: the family is not glow, or an option is not for a ladder.
        PriorError: there is no flow, or it is a ladder already.
        OutputError: a ladder was begun there, and neither resume nor overwrite was asked for.
        InputError: the data cannot be read or are of another shape.
    """
    if request.family != "glow" or request.init is not None or request.clean:
        raise UsageError("only a finished glow is fine-tuned", "give --family glow, and no --init or --clean")
    check(request)
    clean = _finished(folder)
    work = folder / "ladder"
    if work.exists() and request.overwrite:
        shutil.rmtree(work)
    if work.exists() and not request.resume:
        raise OutputError(
            f"{work} holds an unfinished run", "continue it with --resume, or replace it with --overwrite"
        )
    config = clean.config
    learn, held_out = open_data(replace(request, classes=config.classes), on_progress, tell)
    if learn.images.shape[1:] != (config.channels, *config.size):
        raise InputError(
            f"{request.data} holds images of another shape than the flow's, "
            f"{' x '.join(map(str, (config.channels, *config.size)))}",
            "give the data, --size and --channels that it was trained with",
        )
    states, progress = [_state(folder / "model.safetensors")], Progress()
    sigmas = tuple(float(s) for s in np.geomspace(config.sigma_min, config.sigma_max, LEVELS))
    for number, sigma in enumerate(sigmas):
        if not (work / f"{number}.json").is_file():
            network = GlowPrior(replace(config, sigmas=(sigma,)))
            network.flows[0].load_state_dict(states[-1])
            task = task_of(network, request, learn, held_out)
            _train_level(task, number, sigma, work, request, on_progress, log)
        states.append(load_file(work / f"{number}.safetensors"))
        own = Progress(**json.loads((work / f"{number}.json").read_text(encoding="utf-8")))
        progress.step += own.step
        progress.elapsed += own.elapsed
        progress.history += own.history
    progress.best_step = progress.step
    # of the clean flow, before anything is replaced: it takes seconds, and the figure is the ladder's, too
    entry = {**training_entry(request, progress), **of_data(request, folder, learn, held_out)}
    whole = {f"{FIRST[:-2]}{n}.{name}": t for n, state in enumerate(states) for name, t in state.items()}
    write_tensors(folder / "model.safetensors", whole)
    write_text(folder / "config.json", json.dumps(asdict(replace(config, sigmas=(0.0, *sigmas))), indent=1))
    write_text(folder / "history.json", json.dumps(progress.history, indent=1))
    _update_card(folder, entry)
    shutil.rmtree(work)
    return progress


def _finished(folder: Path) -> GlowPrior:
    """The flow that is to become a ladder."""
    hint = "train one with --family glow first"
    if not (folder / "config.json").is_file():
        raise PriorError(f"there is no finished flow in {folder}", hint)
    prior = load_image_prior(folder.parent)
    if not isinstance(prior, GlowPrior) or len(prior.flows) > 1:
        raise PriorError(f"{folder} is a ladder already", hint)
    return prior


def _train_level(
    task: DenoiserTask,
    number: int,
    sigma: float,
    work: Path,
    request: Request,
    on_progress: ProgressCallback | None,
    log: Log | None,
) -> None:
    """Leave ``NUMBER.safetensors``, the tensors of one flow, and ``NUMBER.json``, how they came about."""
    loop = request.loop
    settings = replace(
        loop,
        seconds=None if loop.seconds is None else loop.seconds / LEVELS,
        steps=None if loop.steps is None else max(1, loop.steps // LEVELS),
        validations=VALIDATIONS,
    )

    def told(done: int, steps: int) -> None:
        if on_progress is not None:
            on_progress(number * steps + done, LEVELS * steps)

    def logged(entry: dict[str, float]) -> None:
        if log is not None:
            log({"sigma": sigma, **entry})

    progress = train(task, work, settings, request.device, request.resume, told, logged)
    progress.history = [{"sigma": sigma, **entry} for entry in progress.history]
    keep_ema(work / "model.safetensors")
    write_tensors(work / f"{number}.safetensors", _state(work / "model.safetensors"))
    write_text(work / f"{number}.json", json.dumps(asdict(progress)))


def _state(path: Path) -> dict[str, Tensor]:
    """The tensors of the only flow of a prior, by the flow's own names."""
    return {name.removeprefix(FIRST): tensor for name, tensor in load_file(path).items()}


def _update_card(folder: Path, entry: dict[str, Any]) -> None:
    """Keep what the card says of the prior and of the flow that the ladder was made of."""
    out, card = folder.parent, cards.read(folder.parent)
    part = cards.Part("glow", entry, cards.history(card, folder.name))
    cards.write(cards.with_files(cards.with_part(card, folder.name, part), out), out)
