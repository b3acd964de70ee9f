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

import hashlib
import os
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec.structs import replace

from sepcli.catalog import bounded, hub
from sepcli.catalog import card as cards
from sepcli.catalog.bounded import LARGEST, Files, is_as_named
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
MOST_BLOCKS = 16
"""Most blocks; trained networks have up to 7."""
LARGEST_SIZES: Mapping[str, int] = {
    "layers_per_block": 100,
    "block_out_channels": 1 << 31,
    "num_class_embeds": 100_000,
    "norm_num_groups": 1 << 16,
}
"""Largest sizes of networks, by the entries of their configs; trained ones are far below."""
OTHER = "choose another prior"
AGAIN = "fetch or save the network again"


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


def parts_in(folder: Files) -> Parts | None:
    """Return the files of a network in a folder; see ``find_parts``."""

    def has(name: str) -> bool:
        file = folder / name
        return os.path.isfile(file) if isinstance(file, Path) else file.is_file()

    return find_parts(has)


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
    if pickled and make_card(read_json(folder / pickled[0].config), pickled[0], name):
        raise PriorError(
            f"the folder {folder} has pickled weights, which can run code when they are read",
            f"convert them with {IMPORT}, which runs no code",
        )
    if parts is None or (scheduled and parts.scheduler is None):
        return None
    texts = {path: _small(folder / path) for path in parts.configs}
    card = make_card(_parsed(folder / parts.config, texts[parts.config]), parts, name)
    if card is None:
        return None
    try:
        files = {path: _entry_of(folder / path, text) for path, text in texts.items()}
        weights = _entry(folder / parts.weights)
    except OSError as error:
        raise PriorError(
            f"cannot read the network in {folder}: {error.strerror}", "check its permissions"
        ) from error
    return replace(card, files={**files, parts.weights: weights})


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
    texts = {file: _small(path) for file, path in paths.items()}
    card = make_card(_parsed(paths[parts.config], texts[parts.config]), parts, name)
    if card is None:
        return None
    if parts.scheduler is None:
        raise PriorError(f"{repo} has no noise schedule: {SCHEDULERS[0]} is missing", OTHER)
    weights = listing.files[parts.weights]
    if weights.sha256 is None or weights.size is None:
        raise PriorError(f"the listing of {repo} lacks the sha256 of {parts.weights}", OTHER)
    entries = {file: _entry_of(paths[file], text) for file, text in texts.items()}
    return replace(card, files={**entries, parts.weights: File(weights.sha256, weights.size)})


def make_card(config: Mapping[str, Any], parts: Parts, name: str) -> Card | None:
    """Return the card, without files, of a network's config; None if the network is of another class.

    Raises:
        PriorError: the network is not a prior of images, or the config is damaged.
    """
    if config.get("_class_name") != "UNet2DModel":
        return None
    channels, out = config.get("in_channels", 3), config.get("out_channels", 3)
    if channels not in (1, 3) or out not in (channels, 2 * channels):
        raise PriorError(
            f"the diffusion model {name} has {channels} channels in and {out} out, images have 1 or 3",
            OTHER,
        )
    check_sizes(config, name)
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
    """Return size and sha256 of the weights; in the Hub's cache, the sha256 of the name.

    They are hashed when they are read.
    """
    kept = hub.recorded(path) or ""
    return File(kept if re.fullmatch("[0-9a-f]{64}", kept) else cards.sha256(path), path.stat().st_size)


def _entry_of(path: Path, text: bytes) -> File:
    """Return size and sha256 of a config from its contents; in the Hub's cache its name is their hash."""
    if not is_as_named(path, text):
        raise PriorError(f"{path} was changed or damaged", "run `sepcli fetch-priors` again")
    return File(hashlib.sha256(text).hexdigest(), len(text))


def _small(path: Path) -> bytes:
    """Return the contents of a config, read once, in one piece."""
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        raise PriorError(f"cannot read {path}", AGAIN) from error


def check_sizes(config: Mapping[str, Any], name: str) -> None:
    """Refuse a config whose network has more layers or classes than any trained one, before it is made.

    Raises:
        PriorError: it does, or it is quantized.
    """
    if "quantization_config" in config:
        raise PriorError(f"the weights of the diffusion model {name} are quantized", OTHER)
    for key, most in LARGEST_SIZES.items():
        value = config.get(key, 1)
        sizes = value if isinstance(value, list) else [0 if value is None else value]
        whole = all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
        if not whole or len(sizes) > MOST_BLOCKS or not all(0 <= size <= most for size in sizes):
            raise PriorError(f"the config of the diffusion model {name} is damaged: {key}", OTHER)
    if config.get("layers_per_block", 2) == 0:
        raise PriorError(f"the config of the diffusion model {name} is damaged: layers_per_block", OTHER)


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


def read_json(path: Files) -> Mapping[str, Any]:
    """Return a config.

    Raises:
        PriorError: it cannot be read, or is not a config.
    """
    try:
        return bounded.read_json(path)
    except (OSError, ValueError) as error:
        raise PriorError(f"cannot read {path}: {error}", AGAIN) from error


def _parsed(path: Path, text: bytes) -> Mapping[str, Any]:
    try:
        return bounded.parse_json(text)
    except ValueError as error:
        raise PriorError(f"cannot read {path}: {error}", AGAIN) from error
