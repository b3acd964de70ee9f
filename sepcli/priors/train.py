"""From the name of a family to its training: what the command line and notebooks call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_type_hints

from sepcli.datasets.detect import TOY_WAVES, Kind, audio_notes, holds_images, holds_recordings, kind_of
from sepcli.errors import UsageError, nearest
from sepcli.priors import FAMILIES, Family, Medium, Training, resolve
from sepcli.protocols import ProgressCallback
from sepcli.settings import parse

if TYPE_CHECKING:
    from pathlib import Path

    from sepcli.training.checkpoints import Progress
    from sepcli.training.config import TrainConfig
    from sepcli.training.run import Log, OnMessage, Recipe

SONGS = ("vqvae", "transformer", "latent", "context")
"""Families that are trained on songs with stems of all sources, if the data are audio."""
WAVES = ("flow", "variational")
"""Families that are trained on toy waves, too."""


def family_named(name: str) -> Family:
    """Return a row of ``FAMILIES`` that can be trained.

    Raises:
        UsageError: there is none of this name.
    """
    trainable = [family.name for family in FAMILIES.values() if family.training]
    if name not in trainable:
        raise UsageError(f"unknown family '{name}'", nearest(name, trainable), argument="family")
    return FAMILIES[name]


def training_of(family: str, data: Path) -> Training:
    """Return how a family is trained on data, by their medium.

    Raises:
        UsageError: there is no such family, or it is not trained on data of this medium.
        InputError: the data are of no medium, or of both.
    """
    row = family_named(family)
    medium = _medium(row, data)
    if family in SONGS and medium == "audio" and holds_recordings(data):
        raise UsageError(
            f"{data} holds recordings, and {family} is trained on songs with stems",
            "choose the family denoiser, or the folder of Slakh2100 or MUSDB18",
            argument="family",
        )
    if medium not in row.training:
        what = "recordings" if medium == "audio" else "images"
        others = [f.name for f in FAMILIES.values() if medium in f.training and f.name not in SONGS]
        raise UsageError(
            f"{data} holds {what}, and {family} is trained on {'images' if medium == 'audio' else 'audio'}",
            f"choose other data, or a family such as {others[0]}",
            argument="family",
        )
    return row.training[medium]


def repeatable(family: str) -> set[str]:
    """Return the options of a family that have several values, whatever the medium of the data.

    Raises:
        UsageError: there is no such family.
    """
    kinds = [resolve(training.options) for training in family_named(family).training.values()]
    return {name for kind in kinds for name in _several(kind)}


def parse_options(training: Training, options: Mapping[str, Any]) -> Any:
    """Make the options dataclass of a family; text for several values is split at commas.

    Raises:
        UsageError: an unknown option, or a value of another type or out of range.
    """
    kind = resolve(training.options)
    several = _several(kind)
    return parse(kind, {key: _split(value) if key in several else value for key, value in options.items()})


def train(
    config: TrainConfig,
    options: Mapping[str, Any] | None = None,
    on_progress: ProgressCallback | None = None,
    log: Log | None = None,
    on_message: OnMessage | None = None,
) -> Progress:
    """Train a part of a prior with options of its family, by name; see ``sepcli.training.run.run``.

    Of several processes (``config.world``) only the first one calls the callbacks.

    Raises:
        UsageError: an unknown family, preset or option, or options that do not go together.
        SepError: see ``sepcli.training.run.run``.
    """
    from sepcli.training.run import run

    world = config.world
    if not world.first:
        on_progress = log = on_message = None
    recipe = world.together(lambda: _recipe(config, options or {}, on_message))
    return run(recipe, config, on_progress, log, on_message)


def _recipe(config: TrainConfig, options: Mapping[str, Any], on_message: OnMessage | None) -> Recipe:
    row, training = family_named(config.family), training_of(config.family, config.data)
    if config.preset not in row.presets:
        raise UsageError(
            f"unknown preset '{config.preset}'", f"one of: {', '.join(row.presets)}", argument="preset"
        )
    if config.init is not None and not training.init:
        raise UsageError(
            f"the training of a {config.family} cannot start from a trained prior",
            "train it from random weights",
            argument="init",
        )
    if on_message is not None and _medium(row, config.data) == "audio" and config.data.is_dir():
        for note in audio_notes(config.data):
            on_message(note)
    recipe: Recipe = resolve(training.task)(parse_options(training, options), config)
    return recipe


def _medium(row: Family, data: Path) -> Medium:
    if row.name not in WAVES and str(data) == TOY_WAVES and not data.exists():
        raise UsageError(
            f"toy waves are for flow, not for {row.name}", "choose other data", argument="family"
        )
    if row.name in SONGS:
        return "image" if row.medium == "both" and holds_images(data) else "audio"
    kind = kind_of(data)
    return "audio" if kind in (Kind.AUDIO, Kind.TOY) else "image"


def _several(kind: type[Any]) -> set[str]:
    """Return the names of the fields of a dataclass that have several values."""
    hints = get_type_hints(kind)
    return {field.name for field in fields(kind) if hints[field.name] == tuple[str, ...]}


def _split(value: Any) -> Any:
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, list | tuple):
        return tuple(name.strip() for text in value for name in str(text).split(",") if name.strip())
    return value
