"""A card states what a prior is: one TOML file beside its weights, read without torch or the network.

A prior's folder holds ``card.toml`` and the files that the card lists with size and sha256::

    format = 1
    name = "violin"
    medium = "audio"
    engine = "score"
    sources = ["violin"]
    weights = [1.0]
    sample_rate = 22050

    [settings.score]
    sampler = "projected"

    [parts.denoiser]
    family = "denoiser"

    [files."denoiser/model.safetensors"]
    sha256 = "…"
    size = 14645984
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

import msgspec
import tomli_w
from msgspec import Meta
from msgspec.structs import asdict, replace

from sepcli.atomic import write_whole
from sepcli.catalog.bounded import LARGEST, is_as_named, parse_toml
from sepcli.catalog.card_rules import contradictions, leaves_folder
from sepcli.catalog.measured import Draws, Fit
from sepcli.errors import PriorError, UsageError, refuse_newer

CARD = "card.toml"
FORMAT = 1
"""The format of the cards that this version writes."""
HUB = "hf:"
"""The prefix of repositories of the Hub: hf:owner/name[@revision]."""
COLORIZE = "colorize"
"""The key of the settings for colorization; the other keys are engines."""
DAMAGED = "restore the prior's folder"
LINE_ENDS = 1 << 20
"""The most bytes that line ends of Windows add to a config."""

Engine = Literal["score", "lass", "variational"]
Storage = Literal["bfloat16", "float16", "int8"]
"""How the weights of a network are stored, see ``sepcli.catalog.storage``."""
STORAGES: tuple[Storage, ...] = get_args(Storage)
DEFAULT_STORAGE: Storage = "bfloat16"
Size = Annotated[int, Meta(ge=1, le=1 << 16)]
MOST_SOURCES = 256
"""The most sources of a prior or a mixture."""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hex digest and size in bytes of a file of a prior."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(ge=0, le=1 << 50)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network of a prior, in a folder inside the prior's.

    Attributes:
        family: model family, a name of ``sepcli.priors.FAMILIES``; ``table`` for a likelihood table.
        training: how it was trained: command, steps, seconds, hardware, losses.
        history: earlier trainings whose weights this one started from, the latest first.
        storage: how its weights are stored: type, and the relative error that it adds to the weights.
    """

    family: str
    training: dict[str, Any] = {}
    history: tuple[dict[str, Any], ...] = ()
    storage: dict[str, Any] = {}


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data that a prior was trained on.

    Attributes:
        name: with its authors.
        licence: SPDX identifier, or a sentence.
        hub: owner/name of the data set on the Hub, if it is there.
    """

    name: str
    licence: str = ""
    hub: str = ""


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A prior's card.

    Attributes:
        format: version of the card's layout.
        name: catalog name, or the folder's name.
        medium: what it is a prior of.
        engine: the engine that separates with it by default.
        sources: names of the K sources.
        weights: α_k of the mixing m = Σ α_k x_k that it was trained for; () for images of one kind.
        sample_rate: Hz; 0 for images.
        resolution: (height, width) of the training images; () for audio, or for any size.
        title: one line.
        licence: of the weights.
        data: the training data, one sentence.
        datasets: the training data, each with its licence.
        limits: sentences on what the prior does not do, for the model card.
        repo: owner/name of its repository on the Hub; "" for a prior that is not from there.
        revision: the commit of the repository.
        priors: of an engine for all sources together: names of score priors, one per source, or
            subfolders of the card's folder.
        settings: engine, or ``colorize`` → its default settings, ``sampler`` among them.
        stream: default windows, samples per estimate and consistency of audio.
        fit: by what it is assessed whether the prior explains a mixture.
        draws: whether samples by the preset draws are calibrated, as measured.
        parts: folder → network.
        files: relative path → size and sha256.
        figures: measured results, with protocol and command.
    """

    format: Annotated[int, Meta(ge=1, le=FORMAT)] = FORMAT
    name: str
    medium: Literal["audio", "image"]
    engine: Engine
    sources: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_SOURCES)]
    weights: tuple[float, ...] = ()
    sample_rate: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    resolution: Annotated[tuple[Size, ...], Meta(max_length=2)] = ()
    title: str = ""
    licence: str = ""
    data: str = ""
    datasets: tuple[Dataset, ...] = ()
    limits: tuple[str, ...] = ()
    repo: str = ""
    revision: str = ""
    priors: tuple[str, ...] = ()
    settings: dict[str, dict[str, Any]] = {}
    stream: dict[str, Any] = {}
    fit: Fit | None = None
    draws: Draws | None = None
    parts: dict[str, Part] = {}
    files: dict[str, File] = {}
    figures: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """Hold the constructor to the types and ranges of a file; raise ``UsageError`` otherwise."""
        for field in msgspec.structs.fields(Card):
            name = field.encode_name
            try:
                msgspec.convert(getattr(self, name), field.type)
            except msgspec.ValidationError as error:
                raise UsageError(f"{name}: {error}", f"correct {name}") from error
        for name, reason in contradictions(self).items():
            raise UsageError(f"{name}: {reason}", f"correct {name}")

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that separate with it, the default first."""
        others = [key for key in self.settings if key != COLORIZE]
        return tuple(dict.fromkeys((self.engine, *others, *(("score",) if self.priors else ()))))

    def defaults(self, engine: str) -> dict[str, Any]:
        """Return the default settings of an engine, or of ``colorize``."""
        return dict(self.settings.get(engine, {}))


def read(folder: Path, name: str = CARD) -> Card:
    """Read the card of a folder.

    Raises:
        PriorError: it is missing, not valid, or lists a path that leaves the folder.
        FormatError: it is of a newer format.
    """
    path = folder / name
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
        entries = parse_toml(data)
    except (OSError, ValueError) as error:
        raise PriorError(f"the card {path} cannot be read: {error}", DAMAGED) from error
    if not is_as_named(path, data):
        raise PriorError(f"the card {path} was changed or damaged", "run `sepcli fetch-priors` again")
    refuse_newer(f"the card {path}", entries.get("format"), FORMAT)
    try:
        card = msgspec.convert(entries, Card)
    except (msgspec.ValidationError, UsageError) as error:
        raise PriorError(f"the card {path} is not valid: {error}", DAMAGED) from error
    folders = [name for name in card.priors if not name.startswith(HUB)]
    if any(leaves_folder(PurePosixPath(name)) for name in (*card.files, *folders)):
        raise PriorError(f"the card {path} lists a file outside its folder", "do not use this prior")
    return card


def write(card: Card, folder: Path) -> None:
    """Write ``card.toml``, atomically.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_whole(folder / CARD, tomli_w.dumps(_plain(card)).encode())


def with_files(card: Card, folder: Path) -> Card:
    """Return the card with size and hash of every weight and config file now in the folder's parts."""
    return replace(card, files={p.relative_to(folder).as_posix(): entry(p) for p in part_files(folder)})


def part_files(folder: Path) -> list[Path]:
    """Return the weight and config files in the parts of a prior's folder, sorted."""
    names = ("model.safetensors", "config.json", "table.safetensors")
    return sorted(path for path in folder.glob("*/*") if path.name in names)


def with_part(card: Card, folder: str, part: Part) -> Card:
    """Return the card with a part, which replaces the one in the same folder."""
    return replace(card, parts={**card.parts, folder: part})


def with_engine(card: Card, engine: Engine) -> Card:
    """Return the card with another default engine, which keeps the engines that it has.

    Raises:
        UsageError: the card does not have that engine.
    """
    defaults = {name: card.defaults(name) for name in sorted(card.engines)}
    return replace(card, engine=engine, settings={**defaults, **card.settings})


def history(card: Card, folder: str) -> tuple[dict[str, Any], ...]:
    """Return the trainings that precede one that starts from a card's part, the latest first."""
    part = card.parts.get(folder, Part(folder))
    return {"prior": card.name, **part.training}, *part.history


def entry(path: Path) -> File:
    """Return size and sha256 of a file."""
    return File(sha256(path), path.stat().st_size)


def verify(card: Card, folder: Path) -> None:
    """Check that every listed file is there, whole and unchanged.

    Raises:
        PriorError: a file is missing, cannot be read or differs from the card.
    """
    for name, expected in card.files.items():
        path = folder / name
        with _readable(card, path, name):
            same = is_intact(path, expected)
        if not same:
            raise _different(card, name)


def read_intact(card: Card, folder: Path, name: str) -> bytes:
    """Return the contents of a file, read once, if they have the size and sha256 of its entry.

    Raises:
        PriorError: see ``verify``.
    """
    path, expected = folder / name, card.files[name]
    with _readable(card, path, name), path.open("rb") as stream:
        data = stream.read(expected.size + LINE_ENDS * (path.suffix == ".json") + 1)
    for contents in (data, _unix(data)) if path.suffix == ".json" else (data,):
        if len(contents) == expected.size and hashlib.sha256(contents).hexdigest() == expected.sha256:
            return contents
    raise _different(card, name)


@contextmanager
def _readable(card: Card, path: Path, name: str) -> Iterator[None]:
    """Refuse a file of a prior that is missing or cannot be read: PriorError."""
    if not path.is_file():
        raise PriorError(f"prior {card.name} lacks its file {name}", "fetch or train it again")
    try:
        yield
    except OSError as error:
        raise PriorError(
            f"prior {card.name}: cannot read {name}: {error.strerror}", "check its permissions"
        ) from error


def _different(card: Card, name: str) -> PriorError:
    remedy = "run `sepcli fetch-priors` again" if card.repo else "restore it"
    return PriorError(
        f"prior {card.name}: {name} differs from its card (sha256)",
        f"the file was changed or damaged: {remedy}",
    )


def is_intact(path: Path, expected: File) -> bool:
    """Whether a file has the size and sha256 of its entry in a card.

    A config may have line ends of Windows and a byte-order mark, as checkouts and editors write them.

    Raises:
        OSError: it cannot be read.
    """
    if path.stat().st_size == expected.size and sha256(path) == expected.sha256:
        return True
    if path.suffix != ".json":
        return False
    if path.stat().st_size > expected.size + LINE_ENDS:
        return False
    data = _unix(path.read_bytes())
    return File(hashlib.sha256(data).hexdigest(), len(data)) == expected


def _unix(data: bytes) -> bytes:
    """Return a text with line ends of Unix and without a byte-order mark."""
    return data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    """Return what TOML can hold: structs without their defaults as tables, no None."""
    if isinstance(value, msgspec.Struct):
        required = {field.name for field in msgspec.structs.fields(value) if field.required}
        fields = asdict(value).items()
        return {k: _plain(v) for k, v in fields if k in required or v not in ("", (), {}, 0, None)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
