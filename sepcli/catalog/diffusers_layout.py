"""Networks of the package diffusers (``UNet2DModel``) as priors: the layout of their files, and their cards.

Such a folder or repository has no card. It has the config and weights of a network, in ``unet/`` or at the
top, and usually the config of a scheduler, which is the noise schedule. The weights are one file or several
shards, of no variant (such as fp16) or else of the only one. Only safetensors are read; ``import-prior``
converts pickles. The card is built when the prior is looked up, with the hashes that the files are verified
against:

* On the Hub: the sha256 of the weights in the Hub's listing. The configs are checked against git's SHA-1 in
  the listing. The cache keeps both kinds of files under these hashes.
* In a local folder: the hashes of the files as they are, for run records.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec.structs import replace

from sepcli.catalog import bounded, hub
from sepcli.catalog import card as cards
from sepcli.catalog.bounded import LARGEST, Files, is_as_named
from sepcli.catalog.card import Card, File, Part
from sepcli.catalog.verified import Verified
from sepcli.errors import PriorError

CONFIGS = ("unet/config.json", "config.json")
"""Paths of the network's config, in the order in which they are tried."""
CLASSES = frozenset({"UNet2DModel", "UNet2DModelWithEMA", "UNetUnconditionalModel"})
"""Names of the network's class; the second and third are those of files of 2022."""
KEYS = frozenset({"sample_size", "in_channels", "down_block_types", "up_block_types"})
"""Entries that tell a config without the name of the class."""
WEIGHTS = "diffusion_pytorch_model.safetensors"
SHARD = re.compile(
    r"diffusion_pytorch_model(?:\.(?P<variant>[\w-]+?))?(?:-\d{5}-of-(?P<count>\d{5}))?\.safetensors"
)
"""Names of weights: of a variant, a shard, both or neither."""
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
    """Paths of a network's files in its folder, of all shards; the scheduler's config is optional."""

    config: str
    weights: tuple[str, ...]
    scheduler: str | None

    @property
    def configs(self) -> tuple[str, ...]:
        """The small files."""
        return (self.config,) if self.scheduler is None else (self.config, self.scheduler)


def find_parts(names: Collection[str]) -> Parts | None:
    """Return the files of a network among those of a folder or repository; None if there is none.

    Raises:
        PriorError: it is one of latents, a shard is missing, or there are several variants to choose from.
    """
    for config in (config for config in CONFIGS if config in names):
        parent = PurePosixPath(config).parent
        if weights := _find_weights([n for n in names if PurePosixPath(n).parent == parent]):
            return _checked_parts(names, config, weights)
    return None


def parts_in(folder: Files) -> Parts | None:
    """Return the files of a network in a folder; see ``find_parts``."""
    return find_parts(folder.listed() if isinstance(folder, Verified) else names_in(Path(str(folder))))


def names_in(folder: Path) -> list[str]:
    """Return the paths of the files in a folder where those of networks may be."""
    names = []
    for parent in {Path(name).parent for name in (*CONFIGS, *SCHEDULERS, *AUTOENCODERS)}:
        with suppress(OSError):
            entries = sorted((folder / parent).iterdir())
            names += [path.relative_to(folder).as_posix() for path in entries if os.path.isfile(path)]
    return names


def _find_weights(names: Sequence[str]) -> tuple[str, ...]:
    """Return the weights among files of one folder: one, or all shards; () if there are none."""
    variants: dict[str, dict[str, list[str]]] = {}
    for name in sorted(names):
        if match := SHARD.fullmatch(PurePosixPath(name).name):
            counts = variants.setdefault(match["variant"] or "", {})
            counts.setdefault(match["count"] or "", []).append(name)
    if not variants:
        return ()
    if "" not in variants and len(variants) > 1:
        listed = ", ".join(sorted(variants))
        raise PriorError(f"the diffusion model has weights of several variants: {listed}", "keep one of them")
    counts = variants.get("") or next(iter(variants.values()))
    if whole := counts.get(""):
        return tuple(whole)
    count, shards = min(counts.items(), key=lambda item: int(item[0]) - len(item[1]))
    if len(shards) < int(count):
        names = ", ".join(PurePosixPath(name).name for name in shards)
        raise PriorError(f"the diffusion model has {len(shards)} of {int(count)} shards: {names}", AGAIN)
    return tuple(shards)


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
            return tuple(_checked_parts(names, config, (name,)) for name in standard or pickles)
    return ()


def pickled_in(folder: Path) -> tuple[Parts, ...]:
    """Return the files of a network with pickled weights in a folder; see ``find_pickled``."""
    return find_pickled(names_in(folder))


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
        files |= {path: _entry(folder / path) for path in parts.weights}
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
    parts = find_parts(listing.files)
    if parts is None:
        return None
    paths = {file: hub.download_small(repo, file, revision, listing, cache_dir) for file in parts.configs}
    texts = {file: _small(path) for file, path in paths.items()}
    card = make_card(_parsed(paths[parts.config], texts[parts.config]), parts, name)
    if card is None:
        return None
    if parts.scheduler is None:
        raise PriorError(f"{repo} has no noise schedule: {SCHEDULERS[0]} is missing", OTHER)
    entries = {file: _entry_of(paths[file], text) for file, text in texts.items()}
    for file in parts.weights:
        weights = listing.files[file]
        if weights.sha256 is None or weights.size is None:
            raise PriorError(f"the listing of {repo} lacks the sha256 of {file}", OTHER)
        entries[file] = File(weights.sha256, weights.size)
    return replace(card, files=entries)


def make_card(config: Mapping[str, Any], parts: Parts, name: str) -> Card | None:
    """Return the card, without files, of a network's config; None if the network is of another class.

    Raises:
        PriorError: the network is not a prior of images, or the config is damaged.
    """
    kind = config.get("_class_name")
    if kind not in CLASSES and not (kind is None and config.keys() >= KEYS):
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


def _checked_parts(names: Collection[str], config: str, weights: tuple[str, ...]) -> Parts:
    if any(name in names for name in AUTOENCODERS):
        raise PriorError("the diffusion model is of latents, not of images", OTHER)
    return Parts(config, weights, next((name for name in SCHEDULERS if name in names), None))


def refusal(folder: Path) -> PriorError | None:
    """Return what a folder that looks like one of diffusers has and lacks; None if it does not look so."""
    names = names_in(folder)
    again = "fetch or save the whole model again"
    for config in (name for name in CONFIGS if name in names):
        kind, parent = read_json(folder / config).get("_class_name"), PurePosixPath(config).parent
        if kind is not None and kind not in CLASSES:
            return PriorError(f"{folder / config} is of a {kind}, not of a UNet2DModel of images", OTHER)
        missing = f"{parent / WEIGHTS} is missing" if not _find_weights(names) else "its config is not whole"
        return PriorError(f"{folder} has {config}, but no network of images: {missing}", again)
    if "model_index.json" in names:
        return PriorError(f"{folder} has a model_index.json, but no {CONFIGS[0]}", again)
    if any(SHARD.fullmatch(PurePosixPath(name).name) for name in names):
        return PriorError(f"{folder} has weights of diffusers, but no config.json beside them", again)
    return None


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
