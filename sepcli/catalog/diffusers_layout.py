"""Networks of the package diffusers (``UNet2DModel``) as priors: the layout of their files, and their cards.

Such a folder or repository has no card. It has the config and weights of a network, in ``unet/`` or at the
top, and usually the config of a scheduler, which is the noise schedule. Only safetensors are read; ``sepcli
import-prior`` converts pickles. The card is built when the prior is looked up, with the hashes that the
files are verified against:

* On the Hub: the sha256 of the weights in the Hub's listing. The configs are checked against git's SHA-1 in
  the listing. The cache keeps both kinds of files under these hashes.
* In a local folder: the hashes of the files as they are, for run records.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec.structs import replace

from sepcli.catalog import card as cards
from sepcli.catalog import hub
from sepcli.catalog.card import Card, File, Part
from sepcli.errors import PriorError

CONFIGS = ("unet/config.json", "config.json")
"""Paths of the network's config, in the order in which they are tried."""
WEIGHTS = "diffusion_pytorch_model.safetensors"
PICKLE = "diffusion_pytorch_model.bin"
"""The library's name of pickled weights."""
PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes of files that can run code when they are read."""
IMPORT = "`sepcli import-prior FOLDER --family diffusers --out DIR`"
"""The command that converts pickles to safetensors."""
SCHEDULERS = ("scheduler/scheduler_config.json", "scheduler_config.json")
AUTOENCODERS = ("vae/config.json", "vqvae/config.json")
"""Configs beside a network of latents, which is not a prior of images."""
MOST_LAYERS = 100
"""Largest number of layers per block; trained networks have a few."""
OTHER = "choose another prior"


@dataclass(frozen=True)
class Parts:
    """Paths of a network's files in its folder; the scheduler's config is optional."""

    config: str
    weights: str
    scheduler: str | None

    @property
    def configs(self) -> tuple[str, ...]:
        """The small files."""
        return (self.config,) if self.scheduler is None else (self.config, self.scheduler)


def find_parts(has: Callable[[str], bool]) -> Parts | None:
    """Return the files of a network among those of a folder or repository; None if there is none.

    Raises:
        PriorError: it is one of latents.
    """
    for config in filter(has, CONFIGS):
        weights = config.removesuffix("config.json") + WEIGHTS
        if has(weights):
            return _checked_parts(has, config, weights)
    return None


def parts_in(folder: Path) -> Parts | None:
    """Return the files of a network in a folder; see ``find_parts``."""
    return find_parts(lambda name: os.path.isfile(folder / name))


def find_pickled(names: Collection[str]) -> tuple[Parts, ...]:
    """Return the files of a network with pickled weights among those of a folder or repository.

    There is one ``Parts`` for the pickle with the library's name, or else one for each pickle.

    Raises:
        PriorError: it is one of latents.
    """
    for config in (config for config in CONFIGS if config in names):
        parent = PurePosixPath(config).parent
        siblings = [name for name in map(PurePosixPath, names) if name.parent == parent]
        pickles = sorted(str(name) for name in siblings if name.suffix.lower() in PICKLES)
        standard = [name for name in pickles if name == str(parent / PICKLE)]
        if pickles:
            return tuple(_checked_parts(names.__contains__, config, name) for name in standard or pickles)
    return ()


def pickled_in(folder: Path) -> tuple[Parts, ...]:
    """Return the files of a network with pickled weights in a folder; see ``find_pickled``."""
    names = [name for name in (*SCHEDULERS, *AUTOENCODERS) if os.path.isfile(folder / name)]
    for parent in {(folder / config).parent for config in CONFIGS}:
        with suppress(OSError):
            names += [
                path.relative_to(folder).as_posix() for path in parent.iterdir() if os.path.isfile(path)
            ]
    return find_pickled(names)


def read_card(folder: Path, name: str, scheduled: bool = False) -> Card | None:
    """Return the card of a folder with a network of diffusers; None if there is none.

    Args:
        folder: a saved pipeline or network, or a snapshot in the Hub's cache.
        name: of the prior.
        scheduled: require a scheduler: in the cache, the library itself may have fetched the network alone.

    Raises:
        PriorError: the network is not a prior of images, or a config is damaged.
    """
    parts = parts_in(folder)
    pickled = () if parts else pickled_in(folder)
    if pickled and make_card(folder, pickled[0], name):
        raise PriorError(
            f"the folder {folder} has pickled weights, which can run code when they are read",
            f"convert them with {IMPORT}, which runs no code",
        )
    card = None if parts is None else make_card(folder, parts, name)
    if parts is None or card is None or (scheduled and parts.scheduler is None):
        return None
    try:
        files = {path: _entry(folder / path) for path in (*parts.configs, parts.weights)}
    except OSError as error:
        raise PriorError(
            f"cannot read the network in {folder}: {error.strerror}", "check its permissions"
        ) from error
    return replace(card, files=files)


def fetch_card(
    repo: str, revision: str, name: str, listing: hub.Listing, cache_dir: Path | None
) -> Card | None:
    """Fetch the configs of a repository and return the card of its network; None if there is none.

    Raises:
        PriorError: the network is not a prior of images, has no scheduler, or the listing lacks the sha256 of
            the weights.
        OutputError: the cache cannot be written.
    """
    parts = find_parts(listing.files.__contains__)
    if parts is None:
        return None
    paths = {file: hub.download_small(repo, file, revision, listing, cache_dir) for file in parts.configs}
    card = make_card(hub.snapshot(paths[parts.config], parts.config), parts, name)
    if card is None:
        return None
    if parts.scheduler is None:
        raise PriorError(f"{repo} has no noise schedule: {SCHEDULERS[0]} is missing", OTHER)
    weights = listing.files[parts.weights]
    if weights.sha256 is None or weights.size is None:
        raise PriorError(f"the listing of {repo} lacks the sha256 of {parts.weights}", OTHER)
    entries = {file: _entry(path) for file, path in paths.items()}
    return replace(card, files={**entries, parts.weights: File(weights.sha256, weights.size)})


def make_card(folder: Path, parts: Parts, name: str) -> Card | None:
    """Return the card, without files, of the configs in a folder; None if the network is of another class.

    Raises:
        PriorError: the network is not a prior of images, or the config is damaged.
    """
    config = read_json(folder / parts.config)
    if config.get("_class_name") != "UNet2DModel":
        return None
    channels, out = config.get("in_channels", 3), config.get("out_channels", 3)
    if channels not in (1, 3) or out not in (channels, 2 * channels):
        raise PriorError(
            f"the diffusion model {name} has {channels} channels in and {out} out, images have 1 or 3",
            OTHER,
        )
    layers = config.get("layers_per_block", 2)
    if not isinstance(layers, int) or not 0 < layers <= MOST_LAYERS:
        raise PriorError(f"the config of the diffusion model {name} is damaged: layers_per_block", OTHER)
    if config.get("class_embed_type") is not None:
        raise PriorError(f"the diffusion model {name} is conditioned on more than a class", OTHER)
    name = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "prior"
    return Card(
        name=name,
        medium="image",
        engine="score",
        sources=(name,),
        title="a diffusion model",
        resolution=image_size(config),
        parts={str(PurePosixPath(parts.config).parent): Part("diffusers")},
    )


def _checked_parts(has: Callable[[str], bool], config: str, weights: str) -> Parts:
    if any(map(has, AUTOENCODERS)):
        raise PriorError("the diffusion model is of latents, not of images", OTHER)
    return Parts(config, weights, next(filter(has, SCHEDULERS), None))


def _entry(path: Path) -> File:
    """Return size and sha256 of a file; of a file in the Hub's cache, the sha256 of its name."""
    kept = hub.recorded(path) or ""
    if re.fullmatch("[0-9a-f]{40}", kept) and hub.git_hash(path.read_bytes()) != kept:
        raise PriorError(f"{path} was changed or damaged", "run `sepcli fetch-priors` again")
    digest = kept if re.fullmatch("[0-9a-f]{64}", kept) else cards.sha256(path)
    return File(digest, path.stat().st_size)


def image_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of the training images, from the config.

    Raises:
        PriorError: the config does not state them.
    """
    size = config.get("sample_size")
    sides = tuple(size) if isinstance(size, list) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise PriorError("the config of the diffusion model lacks the size of its images", OTHER)
    return sides


def read_json(path: Path) -> Mapping[str, Any]:
    """Return a config.

    Raises:
        PriorError: it cannot be read, or is not a config.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise PriorError(f"cannot read {path}", "fetch or save the network again") from error
    if not isinstance(config, Mapping):
        raise PriorError(f"{path} holds no config", "fetch or save the network again")
    return config
