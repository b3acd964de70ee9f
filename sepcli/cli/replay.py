"""``--replay run.json``: a run repeated with what its record says, and compared with what it wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import typer

from sepcli.catalog.card import sha256
from sepcli.cli import console
from sepcli.cli.options import KEYS, NAMES, BatchOptions
from sepcli.cli.outputs import Job
from sepcli.cli.python_prior import is_python
from sepcli.cli.records import RunRecord, read_record
from sepcli.cli.run_record import as_entries, differing, is_file_of
from sepcli.errors import InputError, SepError, UsageError
from sepcli.media import MEDIA

Choices = TypeVar("Choices", bound=StrEnum)
FREE = ("replay", "inputs", "priors", "prior", "hint", "out", "device", "overwrite", "as_json", "quiet")
"""Options that may be given beside ``--replay``; it takes the others from the record."""
ENVIRONMENT = ("plan", "threads", "machine", "versions")
"""Entries of a record on which the bytes of outputs depend, besides what the options decide."""
BLOCK = 1 << 16
"""Samples compared at once."""


@dataclass
class Replay:
    """A run to repeat.

    Attributes:
        path: its record's.
        record: what it says.
        differences: what is other than in that run, each with both values.
        files: output that differs → its greatest difference in [0, 1] or full scale, None if unknown.
    """

    path: Path
    record: RunRecord
    differences: list[str] = field(default_factory=list)
    files: dict[str, float | None] = field(default_factory=dict)

    def input(self, given: Sequence[str]) -> list[str]:
        """Return the input: the given one, else where the record says; its hash is that of the record.

        Raises:
            UsageError: several are given.
            InputError: it is missing or another one.
        """
        if len(given) > 1:
            raise UsageError(
                f"--replay repeats one run, and {len(given)} inputs are given", "give one, or none"
            )
        return [str(self.file(self.record.input, self.record.input_sha256, *map(Path, given)))]

    def file(self, name: str, digest: str, given: Path | None = None) -> Path:
        """Return a file that the run read.

        Raises:
            InputError: it is missing or has another hash.
        """
        path = given or Path(os.path.normpath(self.path.parent / name))
        if not path.is_file():
            raise InputError(f"{path} is missing, an input of {self.path}", "give its path")
        if sha256(path) != digest:
            raise InputError(f"{path} is not the input of {self.path} (sha256)", "give the unchanged file")
        return path

    def priors(self, given: Sequence[str] | None) -> list[str]:
        """Return the priors: the given ones, else where the record says; their hashes are checked later.

        Raises:
            UsageError: the run had an object of a Python file, which a record cannot name.
            InputError: a folder is missing.
        """
        if given:
            return list(given)
        references = []
        for name in self.record.prior_references:
            if is_python(name):
                raise UsageError(
                    f"{self.path} names {name}, and no code is loaded because a record names it",
                    "give it with --prior, if you trust it",
                )
            folder = Path(os.path.normpath(self.path.parent / name))
            if name.startswith(".") and not folder.is_dir():
                raise InputError(
                    f"the prior {folder} of {self.path} is missing", "give its folder with --prior"
                )
            references.append(str(folder) if name.startswith(".") else name)
        return references

    def options(self, device: str) -> dict[str, Any]:
        """Return the options that all commands have, as the record has them."""
        record = self.record
        settings = {**record.settings, **self._stream()}
        return {
            "filename": record.options.filename,
            "settings": [f"{key}={_as_text(value)}" for key, value in settings.items()],
            "quality": record.options.quality or 95,
            "samples": len(record.stems),
            "seed": record.seed,
            "device": _device(record.device) if device == "auto" else device,
            "sampler": record.sampler,
            "replay": None,
        }

    def choice(self, kind: type[Choices], value: object) -> Choices:
        """Return a recorded value as one of the choices of an option.

        Raises:
            InputError: it is none of them.
        """
        try:
            return kind(str(value))
        except ValueError as error:
            raise InputError(f"{self.path} is damaged: {error}", "give the unchanged record") from error

    def weights(self, priors: Sequence[str]) -> str | None:
        """Return the weights as an option; None where a prior of several sources of audio fixes them."""
        record = self.record
        per_source = len(record.sources) - (record.options.other is True) == len(priors)
        if not priors or not (record.medium == "image" or per_source or any(map(is_python, priors))):
            return None
        return ",".join(map(repr, record.weights))

    def check(self, made_with: Mapping[str, Any]) -> None:
        """Note what is other than in the recorded run, before anything is computed.

        Raises:
            InputError: a prior has other files.
        """
        wanted = json.loads(console.to_json(made_with))
        there = as_entries(self.record)
        for table, name in differing(wanted, there):
            if "files" in (table, name):
                what = name if table else "a file"
                raise InputError(
                    f"the prior is not that of {self.path}: {what} differs (sha256)",
                    "give that prior with --prior",
                )
            self._note(table, name, there, wanted)

    def compare(self, job: Job, record: RunRecord) -> dict[str, Any]:
        """Compare the outputs with the recorded ones; return the entry of the JSON document on that."""
        new, old = as_entries(record), as_entries(self.record)
        for table, name in differing({key: new[key] for key in ENVIRONMENT}, old):
            self._note(table, name, old, new)
        for name, earlier in zip(record.listed(), self.record.listed(), strict=False):
            if record.outputs[name] != self.record.outputs[earlier]:
                there = self.path.parent / earlier
                intact = is_file_of(there, self.record.outputs[earlier])
                self.files[name] = greatest_difference(job.record.parent / name, there) if intact else None
        return {"replay": {"identical": not self.files, "differences": self.differences, "files": self.files}}

    def conclude(self, silent: bool) -> None:
        """Print, unless ``silent``, whether the outputs are the recorded ones, and what else differs.

        Raises:
            typer.Exit: they differ, and nothing else does; the error is printed after the document.
        """
        count, lines = len(self.record.outputs), []
        if self.differences:
            lines.append(f"other than in {self.path}: {', '.join(self.differences)}")
        if self.files:
            named = ", ".join(
                name if value is None else f"{name} (max |Δ| {value:.2g})"
                for name, value in self.files.items()
            )
            lines.append(f"{len(self.files)} of {count} files differ from those of {self.path}: {named}")
        else:
            lines.append(f"identical: all {count} files are as in {self.path}")
        for line in () if silent else lines:
            console.emit(f"  {line}")
        if self.files and not self.differences:
            console.error(
                "the same run has given other files, with equal versions, device, threads and batch plan",
                "compare the files: the device or a library may compute differently from run to run",
            )
            raise typer.Exit(1)

    def _stream(self) -> dict[str, Any]:
        """Return the settings of windows of a recording, as ``--set`` takes them."""
        if not isinstance(self.record.stream, dict):
            return {}
        stream = {key: 0 if value is None else value for key, value in self.record.stream.items()}
        kept, consistency = stream.pop("keep_samples", False), stream.pop("consistency", None)
        samples = stream.pop("samples", 1)
        return stream if kept or consistency == "none" else stream | {KEYS["samples"]: samples}

    def _note(self, table: str, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        before, now = ((entries[table] if table else entries).get(name) for entries in (old, new))
        self.differences.append(f"{name} {before} → {now}")


def open_replay(options: BatchOptions, command: str) -> Replay | None:
    """Return the run that a command is to repeat, if it is.

    Raises:
        UsageError: the record is of another command, or options are given that the record has.
        InputError: the file is no record.
        FormatError: it is of a newer format.
    """
    if options.replay is None:
        return None
    for option in fields(options):
        if option.name not in FREE and getattr(options, option.name) != option.default:
            written = NAMES.get(option.name, f"--{option.name.replace('_', '-')}")
            raise UsageError(f"--replay takes {written} from the record", "leave it out")
    record = read_record(options.replay)
    if record.command != command:
        raise UsageError(
            f"{options.replay} is the record of sepcli {record.command}",
            f"run sepcli {record.command} --replay {options.replay}",
        )
    return Replay(options.replay, record)


def greatest_difference(first: Path, second: Path) -> float | None:
    """Return the greatest difference of the values of two images or audio files; None of unlike ones."""
    import numpy as np

    from sepcli.media.audio import AudioReader
    from sepcli.media.images import read_image

    try:
        if first.suffix.lower() in MEDIA["image"].suffixes:
            one, other = (read_image(path).pixels for path in (first, second))
            return float(np.abs(one - other).max()) if one.shape == other.shape else None
        greatest, track, tracks = 0.0, 0, 1
        while track < tracks:
            with AudioReader(first, track) as reader, AudioReader(second, track) as earlier:
                tracks, track = reader.info.streams, track + 1
                while (block := reader.read(BLOCK)).size:
                    greatest = max(greatest, float(np.abs(block - earlier.read(BLOCK)).max()))
        return greatest
    except (SepError, ValueError):  # not alike in shape
        return None


def _as_text(value: Any) -> str:
    """Return the value of a setting as ``--set`` takes it."""
    return str(int(value) if isinstance(value, bool) else value)


def _device(name: str) -> str:
    """Return the recorded device if it is there, else the default one."""
    from sepcli.api import choose_device

    try:
        return str(choose_device(name))
    except UsageError:
        return "auto"
