"""From a diffusion model of the package diffusers, saved as a pickle, to a prior's folder in safetensors.

Only the tensors of the pickle are read, see ``sepcli.priors.checkpoint``. The prior is built in a
temporary folder, loaded there once as any prior is, and only then renamed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from msgspec import structs
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.catalog import diffusers_layout as diffusers
from sepcli.catalog.card import Part
from sepcli.catalog.diffusers_layout import Parts
from sepcli.errors import InputError, OutputError, PriorError, SepError
from sepcli.priors.checkpoint import check_tensors, read_state, write_clones
from sepcli.priors.images.diffusers import DiffusionUnetConfig
from sepcli.priors.images.load_diffusers import expected_shapes, load_unet, renamed

CONFIG, WEIGHTS = "unet/config.json", f"unet/{diffusers.WEIGHTS}"
SCHEDULER, CARD = "scheduler/scheduler_config.json", "card.toml"
"""Files of an imported prior, the scheduler only if the model has one."""


def import_diffusers(
    path: Path,
    out: Path,
    *,
    source: str | None = None,
    overwrite: bool = False,
    on_message: Callable[[str], None] | None = None,
) -> DiffusionUnetConfig:
    """Write the prior of a diffusion model whose weights are a pickle into ``out``.

    Args:
        path: a folder as the library saves a pipeline or a network, or a pickle beside its config.json.
        out: the prior's folder; it appears when the prior is complete.
        source: name of what the images show; None: the folder's name.
        overwrite: replace an imported prior.
        on_message: called with notes on the model.

    Raises:
        InputError: no such folder, nothing to import, or a pickle that cannot be read, holds more than
            tensors, or is of another network.
        PriorError: of no use as a prior of images, or the package diffusers is not installed.
        OutputError: ``out`` holds something, or cannot be written.
    """
    root, parts = _find(path)
    target = Path(os.path.realpath(out))
    _check_free(target, root, overwrite)
    network = diffusers.read_json(root / parts.config)
    card = diffusers.make_card(network, parts, target.name)
    if card is None:
        raise PriorError(f"{root / parts.config} is not of a UNet2DModel", diffusers.OTHER)
    checkpoint, expected = root / parts.weights[0], expected_shapes(network, root / parts.config)
    tensors = renamed(read_state(checkpoint, mapped=True), expected)
    hint = f"the pickle and {parts.config} have to be of one network"
    check_tensors(checkpoint, tensors, expected, hint)
    if parts.scheduler is None and on_message is not None:
        on_message(f"{root} holds no {SCHEDULER}: the noise levels are the library's defaults")
    part = Part("diffusers", {"checkpoint": checkpoint.name, "sha256": cards.sha256(checkpoint)})
    with _staged(target) as stage:
        _fill(stage, root, parts, tensors)
        config = _tried(stage, root)
        files = {n: cards.entry(stage / n) for n in (CONFIG, WEIGHTS, SCHEDULER) if (stage / n).exists()}
        card = structs.replace(card, sources=(source or card.name,), files=files, parts={"unet": part})
        cards.write(card, stage)
        _check_free(target, root, overwrite)  # it may have changed while the tensors were read
    return config


def _find(path: Path) -> tuple[Path, Parts]:
    """Return the folder of a network whose weights are a pickle, and its files in there."""
    if not os.path.exists(path):
        raise InputError(f"there is no folder {path}", "name a folder that holds a config.json and a pickle")
    folder = Path(os.path.abspath(path.parent if path.is_file() else path))
    root = folder.parent if folder.name == "unet" and (folder.parent / CONFIG).is_file() else folder
    if diffusers.parts_in(root) is not None:
        raise InputError(f"{root} holds safetensors already", f"it needs no import: name {root} as the prior")
    models = diffusers.pickled_in(root)
    if path.is_file():  # the weights are named
        named = (folder / path.name).relative_to(root).as_posix()
        models = tuple(replace(p, weights=(named,)) for p in models[:1] if (root / p.config).parent == folder)
    if len(models) > 1:
        names = ", ".join(Path(parts.weights[0]).name for parts in models[:3])
        raise InputError(f"{root} holds several pickles: {names}", "name the file that is to be imported")
    if not models:
        raise InputError(
            f"{root} holds no config.json with a pickle beside it",
            "name a folder of diffusers, as it was downloaded",
        )
    return root, models[0]


def _check_free(target: Path, root: Path, overwrite: bool) -> None:
    """Refuse to replace anything but a prior that was imported before."""
    other = "choose another folder"
    if Path(os.path.realpath(root)).is_relative_to(target):
        raise OutputError(f"{target} holds the model to be imported", other)
    if os.path.lexists(target) and not target.is_dir():
        raise OutputError(f"{target} is not a folder", other)
    if target.is_dir() and os.path.samefile(target, os.curdir):  # it is replaced as a whole
        raise OutputError(f"{target} is the current folder", f"{other}, or run this from elsewhere")
    folders = {str(Path(name).parent) for name in (CONFIG, SCHEDULER)}
    held = [*target.glob("*"), *(path for folder in folders for path in (target / folder).glob("*"))]
    expected = {CONFIG, WEIGHTS, SCHEDULER, CARD, *folders}
    others = [p for p in held if p.is_symlink() or p.relative_to(target).as_posix() not in expected]
    if others:
        raise OutputError(f"{target} holds something else: {others[0].relative_to(target)}", other)
    if held and not overwrite:
        raise OutputError(f"{target} holds a prior", f"{other}, or overwrite it", argument="out")


def _fill(stage: Path, root: Path, parts: Parts, tensors: Mapping[str, Tensor]) -> None:
    for name, copy in ((parts.config, CONFIG), (parts.scheduler, SCHEDULER)):
        if name is not None:
            (stage / copy).parent.mkdir()
            shutil.copyfile(root / name, stage / copy)
    write_clones(stage / WEIGHTS, tensors)


def _tried(stage: Path, root: Path) -> DiffusionUnetConfig:
    """Load the prior once, so that a prior that cannot be used is not written."""
    try:
        return load_unet(stage).config
    except PriorError as error:
        raise PriorError(error.message.replace(str(stage), str(root)), error.hint) from error


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``target`` when the body is done."""
    unique = f".sepcli-{os.getpid()}-{secrets.token_hex(4)}"
    stage, before = target.with_name(f"{unique}.part"), target.with_name(f"{unique}.old")
    try:
        stage.mkdir(parents=True)
        yield stage
        if target.exists():
            target.rename(before)
        stage.rename(target)
    except SepError:
        raise
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}", "choose another folder", argument="out"
        ) from error
    finally:
        if before.exists() and not target.exists():
            before.rename(target)
        for left in (stage, before):
            shutil.rmtree(left, ignore_errors=True)
