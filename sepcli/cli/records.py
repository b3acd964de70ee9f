"""The types of ``run.json``, which repeats and assesses the separation of one input, and their one reader.

All paths are relative to the record's folder; none names a user, a host or an absolute path.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sepcli.cli.settings import BitDepth
from sepcli.errors import InputError, OutputError, refuse_newer

FORMAT = 1
"""The format of the records that this version writes."""
MOST_BYTES = 1 << 26
"""The largest record that is read."""
RELEASE = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}")
Container = Literal["wav", "flac", "mp3", "ogg", "opus", "m4a", "stem.mp4", "png", "jpg", "webp", "tiff"]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=1)]
Text = Annotated[str, Meta(max_length=10_000)]
Paths = tuple[Text, ...]
Setting = bool | int | float | str | None
Hashes = dict[str, Digest]


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Quality of one sample; null: unknown.

    Attributes:
        seed: of the sample; of a recording, that of its first block.
        residual_rms: root mean square of the mixture minus the weighted sum of the sources.
        log_prior: nats, up to a constant.
        agreement_db: agreement with the other samples, dB.
    """

    seed: int
    residual_rms: float | None
    log_prior: float | None
    agreement_db: float | None


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What decides how the work is cut into batches.

    Attributes:
        samples: posterior samples per image or window.
        windows: windows of a recording side by side; null for images.
    """

    samples: Count
    windows: Count | None


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What computed, as far as results depend on it.

    Attributes:
        system: operating system.
        architecture: of the processor.
        instructions: instruction set that torch uses on it.
        accelerator: name of the GPU; null without one.
    """

    system: str
    architecture: str
    instructions: str
    accelerator: str | None


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the command that no other entry holds; the absent ones are not of this command.

    Attributes:
        filename: template of the names of outputs.
        other: whether the last source is what no prior explains.
        container: of stems and images, as ``--format`` has it; null: chosen by the input's.
        bitrate: of lossy stems, bits per second; null: the container's default.
        bit_depth: of lossless stems; null: the input's.
        only: names of the stems that are written; null: all.
        two_stems: the stem that is written beside the sum of the others; null: all are written.
        start: seconds of a recording before the part that is separated.
        length: seconds of that part; null: to the end.
        quality: of lossy images.
        gray: how the gray was computed; auto: as the file says.
    """

    filename: Text
    other: bool | UnsetType = UNSET
    container: Container | UnsetType | None = UNSET
    bitrate: int | UnsetType | None = UNSET
    bit_depth: BitDepth | UnsetType | None = UNSET
    only: tuple[str, ...] | UnsetType | None = UNSET
    two_stems: str | UnsetType | None = UNSET
    start: float | UnsetType = UNSET
    length: float | UnsetType | None = UNSET
    quality: Annotated[int, Meta(ge=1, le=100)] | UnsetType = UNSET
    gray: Literal["auto", "luma", "mean"] | UnsetType = UNSET


class RunRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run of ``sepcli separate`` or ``sepcli colorize`` on one input.

    Attributes:
        format: version of this layout.
        command: that ran.
        medium: of the input.
        input: path of the mixture; the name alone if the path would name a home folder or another drive.
        input_sha256: its hash.
        sources: names of the K sources.
        stems: per sample the K files, or the one that holds all; the best sample first.
        mean: of images with several samples, the K files.
        std: likewise, the standard deviation.
        contact_sheet: of images.
        outputs: file → its hash, of all files that the run wrote.
        prior: name of the prior, or of those of the sources; null for baselines.
        prior_references: where the priors are: names, ``hf:owner/name@commit``, or paths that begin with a
            dot; for objects of Python files the name of the file, which is never loaded from a record.
        files: file of the priors → its hash; a list, of several priors of images.
        rule: sentence on a baseline.
        engine: that sampled.
        sampler: null if the engine has none.
        settings: of engine, sampler and posterior that ran.
        weights: of the sources in the mixture.
        device: that computed.
        stream: windows, samples and consistency of recordings.
        seed: of the run.
        options: of the command.
        hint: path of the image with strokes of color; null without one.
        hint_sha256: its hash.
        gray: weights of the gray of a colorized image.
        gray_from: what decided on them.
        samples: quality of every sample.
        rank: rule of the order of several samples.
        medoid: number of the medoid of several samples, from 1.
        confidence: of audio with several samples, stem → one value per second, dB; null where it is silent.
        fit: whether the priors explain the mixture, see ``sepcli.separation.fit``; null: not assessed.
        report: measurements of the medium.
        plan: what decides the batches.
        threads: of the processor that torch computes with.
        machine: that computed.
        versions: of Python, sepcli and the libraries that compute.
    """

    format: Annotated[int, Meta(ge=1, le=FORMAT)]
    command: Literal["separate", "colorize"]
    medium: Literal["audio", "image"]
    input: Annotated[str, Meta(min_length=1, max_length=10_000)]
    input_sha256: Digest
    sources: Annotated[tuple[str, ...], Meta(min_length=1)]
    stems: Annotated[tuple[Paths, ...], Meta(min_length=1)]
    mean: Paths | UnsetType = UNSET
    std: Paths | UnsetType = UNSET
    contact_sheet: Text | UnsetType = UNSET
    outputs: dict[Text, Digest]
    prior: str | tuple[str, ...] | None
    prior_references: Paths
    files: Hashes | tuple[Hashes, ...] | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    engine: str
    sampler: str | None
    settings: dict[str, Setting]
    weights: tuple[float, ...]
    device: str
    stream: dict[str, Setting] | UnsetType = UNSET
    seed: Annotated[int, Meta(ge=0)]
    options: Options
    hint: Text | UnsetType | None = UNSET
    hint_sha256: Digest | UnsetType | None = UNSET
    gray: str | UnsetType = UNSET
    gray_from: str | UnsetType = UNSET
    samples: Annotated[tuple[Sample, ...], Meta(min_length=1)]
    rank: str | UnsetType = UNSET
    medoid: Count | UnsetType = UNSET
    confidence: dict[str, tuple[float | None, ...]] | UnsetType = UNSET
    fit: float | UnsetType | None = UNSET
    report: dict[str, Any]
    plan: Plan
    threads: Count
    machine: Machine
    versions: dict[str, str]

    def __post_init__(self) -> None:
        """Refuse outputs outside the record's folder; raise ``ValueError``."""
        for name in (*self.outputs, *self.listed()):
            if _leaves(name):
                raise ValueError(f"{name!r} is outside the record's folder")
        if any(name not in self.outputs for name in self.listed()):
            raise ValueError("an output has no hash")

    def listed(self) -> Iterator[str]:
        """Yield the outputs: stems by sample, mean, standard deviation, contact sheet."""
        for stems in self.stems:
            yield from stems
        for group in (self.mean, self.std):
            yield from () if group is UNSET else group
        if self.contact_sheet is not UNSET:
            yield self.contact_sheet


def make_record(entries: Mapping[str, Any]) -> RunRecord:
    """Make a record, held to the types of its file.

    Raises:
        msgspec.ValidationError: the entries are not those of a record.
    """
    return msgspec.convert(entries, RunRecord)


def read_record(path: Path) -> RunRecord:
    """Return the record in a file.

    Raises:
        InputError: there is no such file, it is not a regular one, too large, or no record.
        FormatError: it is of a newer format.
    """
    data = _read(path)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON", "give the run.json of a run") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is not the record of a run", "give the run.json of a run")
    refuse_newer(f"the record {path}", document.get("format"), FORMAT, _writer(document))
    try:
        return make_record(document)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InputError(
            f"{path} is not the record of a run of sepcli separate or colorize: {error}",
            "give the run.json of a run, unchanged",
        ) from error


def find_record(path: Path) -> RunRecord | None:
    """Return the record that an earlier run left; None if there is none, or it is another program's.

    Raises:
        OutputError: the file is not a regular one.
        FormatError: it is of a newer format.
    """
    if os.path.lexists(path) and not path.is_file():
        raise OutputError(f"{path} is not a regular file", "remove it, or choose another --out folder")
    try:
        return read_record(path)
    except InputError:
        return None


def _leaves(name: str) -> bool:
    """Return whether a path may lead out of the folder that it is relative to."""
    path = PurePath(name)
    return not path.parts or bool(path.anchor) or ".." in path.parts


def _read(path: Path) -> bytes:
    """Return the bytes of a regular file; a pipe is not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise InputError(f"there is no record {path}", "check the name") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot open the record {path}: {error}", "check its name and rights") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InputError(f"the record {path} is not a regular file", "give the run.json of a run")
        with open(handle, "rb", closefd=False) as file:
            data = file.read(MOST_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > MOST_BYTES:
        raise InputError(f"the record {path} is larger than any record", "give the run.json of a run")
    return data


def _writer(document: Mapping[str, Any]) -> str | None:
    """Return the version of sepcli that wrote a record of any format, if it looks like one."""
    versions = document.get("versions")
    version = versions.get("sepcli") if isinstance(versions, dict) else None
    return version if isinstance(version, str) and RELEASE.fullmatch(version) else None
