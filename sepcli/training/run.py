"""The one way from a family's recipe to a finished part of a prior's folder.

Free folder → data → network with seeded weights → loop → mean of the weights → config.json → card → previews.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from msgspec import structs
from torch import nn

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.network import write_config
from sepcli.errors import PriorError
from sepcli.protocols import ProgressCallback
from sepcli.training.checkpoints import Progress, check_identity, finished
from sepcli.training.config import TrainConfig, check_alone, check_free
from sepcli.training.ema import averaged
from sepcli.training.loop import train
from sepcli.training.stopping import only_run
from sepcli.training.task import LoopSettings, Task, spent_share

Log = Callable[[dict[str, float]], None]
"""Called with the figures of every validation."""
OnMessage = Callable[[str], None]
"""Called with notes on the data."""


@dataclass(frozen=True)
class Stage:
    """One run of the loop.

    Attributes:
        network: makes the network on the CPU; called with torch's global stream seeded.
        task: (network, evaluated network), both on the training device → what the loop trains. The second is
            the running mean of the weights, or the network itself.
        average: whether the mean of the weights is validated and kept.
    """

    network: Callable[[], nn.Module]
    task: Callable[[Any, Any], Task]
    average: bool = True


@dataclass(frozen=True)
class Setup:
    """A part to be trained, with its data open.

    Attributes:
        config: a dataclass, ``config.json`` beside the weights.
        weights: one run of the loop; or a function of (config, on_progress, log) that leaves the part's
            ``model.safetensors``.
        card: of the prior, without this part's entry.
        identity: what determines the weights besides config and options, such as the hash of a codec.
        finish: called between writing weights and config and writing the card → entries of the card.
        preview: called last.
    """

    config: Any
    weights: Stage | Callable[[TrainConfig, ProgressCallback | None, Log | None], Progress]
    card: cards.Card
    identity: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[], Mapping[str, Any]] = dict
    preview: Callable[[Progress], None] = lambda _: None


@dataclass(frozen=True)
class Recipe:
    """What a family trains, decided by its options before any data are read.

    Attributes:
        part: folder of the network, inside the prior's.
        sources: names of the sources.
        options: the options that determine the weights.
        open: (on_progress, on_message) → ``Setup``; reads the data.
        alone: whether the part has to be the prior's only one.
        in_place: whether a finished part is trained further where it is.
    """

    part: str
    sources: tuple[str, ...]
    options: Mapping[str, Any]
    open: Callable[[ProgressCallback | None, OnMessage | None], Setup]
    alone: bool = True
    in_place: bool = False


def run(
    recipe: Recipe,
    config: TrainConfig,
    on_progress: ProgressCallback | None = None,
    log: Log | None = None,
    on_message: OnMessage | None = None,
) -> Progress:
    """Train a part; leave ``model.safetensors``, ``config.json``, an updated card and previews.

    Args:
        recipe: what to train.
        config: data, folder, budget and device.
        on_progress: called with (done, total), first while images are read, then of the budget.
        log: called with the figures of every validation.
        on_message: called with notes on the data.

    Raises:
        UsageError: options or data that do not go together.
        OutputError: the folder holds something and is neither resumed nor overwritten, another run is there,
            or it cannot be written.
        InputError: the data cannot be read or are too little, or the checkpoint is of another run.
        PriorError: a part that this one needs is missing, or of another network.
    """
    with ExitStack() as stack:
        config.world.from_first(lambda: stack.enter_context(only_run(config.out)))
        return _run(recipe, config, on_progress, log, on_message)


def _run(
    recipe: Recipe,
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    log: Log | None,
    on_message: OnMessage | None,
) -> Progress:
    folder, world = config.out / recipe.part, config.world
    if (done := world.from_first(lambda: _checked(recipe, config))) is not None:
        if on_message is not None:
            on_message(f"nothing is left to do: {done.step} steps; a larger budget extends the run")
        return done
    setup = world.in_turn(lambda: recipe.open(on_progress, on_message))
    identity = config.identity(recipe.sources, {**recipe.options, **setup.identity})
    config = replace(config, loop=replace(config.loop, run=identity))
    if isinstance(setup.weights, Stage):
        progress = fit(setup.weights, folder, config.loop, config, on_progress, log)
    else:
        progress = setup.weights(config, on_progress, log)
    world.from_first(lambda: _describe(recipe, setup, config, progress))
    return progress


def _checked(recipe: Recipe, config: TrainConfig) -> Progress | None:
    """Check the folder of a part; return the progress of a finished run that has nothing left to do.

    Raises:
        UsageError: the batch cannot be shared by the processes.
        SepError: see ``check_free``, ``check_alone`` and ``_whole``.
    """
    folder = config.out / recipe.part
    config.world.check_shared(config.batch)
    if not recipe.in_place:
        check_free(folder, config.resume, config.overwrite)
        if config.resume and (done := _whole(recipe, config)) is not None:
            return done
    if recipe.alone:
        check_alone(folder)
    return None


def _describe(recipe: Recipe, setup: Setup, config: TrainConfig, progress: Progress) -> None:
    """Write config, card and previews of a part."""
    write_config(config.out / recipe.part, setup.config)
    _write_card(recipe, setup, config, {**training_entry(config, progress), **setup.finish()})
    setup.preview(progress)


def _whole(recipe: Recipe, config: TrainConfig) -> Progress | None:
    """Return the progress of a finished run whose budget has not grown, None if there is none.

    Raises:
        InputError: it is a run with other options.
    """
    folder = config.out / recipe.part
    progress = finished(folder) if _is_listed(config.out, recipe.part) else None
    if progress is None or spent_share(progress, config.loop) < 1.0:
        return None
    loop = replace(config.loop, run=config.identity(recipe.sources, recipe.options))
    check_identity(progress, loop.identity, folder)
    return progress


def _is_listed(out: Path, part: str) -> bool:
    """Whether the card of a prior lists a part, which is the last step of a training."""
    try:
        return f"{part}/config.json" in cards.read(out).files
    except PriorError:
        return False


def fit(
    stage: Stage,
    folder: Path,
    loop: LoopSettings,
    config: TrainConfig,
    on_progress: ProgressCallback | None = None,
    log: Log | None = None,
) -> Progress:
    """Train a fresh network into ``folder``: one run of the loop; see ``sepcli.training.loop.train``.

    ``config`` determines the device, and whether to resume.
    """
    with seeded(loop.seed):
        network = config.world.together(stage.network)
    network = network.to(config.device).train()
    average = averaged(network) if stage.average else None
    task = stage.task(network, network if average is None else average.module)
    return train(task, folder, loop, config.device, config.resume, on_progress, log, average, config.world)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global stream, from which networks initialize their weights, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def training_entry(config: TrainConfig, progress: Progress) -> dict[str, Any]:
    """Return the training record of a part, with the figures of the weights kept, for the card."""
    kept = [entry for entry in progress.history if entry["step"] == progress.best_step] or progress.history
    return {
        "command": config.command,
        "preset": config.preset,
        "batch": config.batch,
        "steps": progress.step,
        "seconds": round(progress.elapsed),
        "device": f"{config.device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
        **({"world_size": config.world.size} if config.world.size > 1 else {}),
        "torch": torch.__version__.split("+")[0],
        "best_step": progress.best_step,
        "validation": {
            key[6:]: value
            for key, value in (kept[-1] if kept else {}).items()
            if key.startswith("valid_") and key != "valid_loss"
        },
    }


def _write_card(recipe: Recipe, setup: Setup, config: TrainConfig, entry: dict[str, Any]) -> None:
    """Add the part to the card, with the trainings whose weights it started from."""
    before = setup.card if recipe.in_place else None
    if config.init is not None:
        before, _ = resolve.find(config.init)
    history = () if before is None else cards.history(before, recipe.part)
    storage = {} if config.loop.storage == cards.DEFAULT_STORAGE else {"type": config.loop.storage}
    card = cards.with_part(setup.card, recipe.part, cards.Part(config.family, entry, history, storage))
    card = structs.replace(card, data=config.note or card.data)
    cards.write(cards.with_files(card, config.out), config.out)
