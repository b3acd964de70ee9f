"""The words on the command line → input files, and where each one's stems go."""

from __future__ import annotations

import glob
import os
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sepcli.errors import InputError, OutputError, UsageError
from sepcli.media.names import inside, safe_name

AUDIO = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64", ".au", ".caf")
"""What is taken from a folder; a file named by itself may be called anything."""

FIELDS = ("track", "stem", "ext", "sample", "prior")


@dataclass(frozen=True)
class Job:
    """One mixture and its outputs.

    Attributes:
        source: the file.
        track: its name, safe as one path component.
        stems: per kept sample, the K output paths.
        record: the run.json.
    """

    source: Path
    track: str
    stems: tuple[tuple[Path, ...], ...]
    record: Path


def collect(words: Sequence[str]) -> list[Path]:
    """Files, folders (their audio files, sorted) and globs → files, each once, in order.

    Raises:
        InputError: a word matches nothing, or a folder holds no audio.
    """
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            files = sorted(
                p for p in path.iterdir() if p.suffix.lower() in AUDIO and not p.name.startswith(".")
            )
            if not files:
                raise InputError(f"the folder {word} holds no audio file", f"it may hold {', '.join(AUDIO)}")
        elif path.exists() or not glob.has_magic(word):
            files = [path]
        else:
            files = [
                Path(match) for match in sorted(glob.glob(word, recursive=True)) if not Path(match).is_dir()
            ]
            if not files:
                raise InputError(f"nothing matches {word}", "check the pattern")
        found.update(dict.fromkeys(files))
    return list(found)


def check_template(template: str, samples: int) -> None:
    """Refuse a ``--filename`` template that cannot give every stem a name of its own.

    Raises:
        UsageError: an unknown field, or a missing one.
    """
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
        template.format(**dict.fromkeys(FIELDS, "x"))
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise UsageError(
            f"--filename {template} is not a template", f"fields: {', '.join(f'{{{f}}}' for f in FIELDS)}"
        ) from error
    missing = {"stem"} - fields | ({"sample"} - fields if samples > 1 else set())
    if missing:
        raise UsageError(
            f"--filename {template} lacks {{{missing.pop()}}}", "every stem needs a name of its own"
        )


def plan(
    source: Path, out: Path, template: str, stems: Sequence[str], samples: int, extension: str, prior: str
) -> Job:
    """Where the stems of one mixture go.

    Raises:
        OutputError: the template leads out of ``out``.
    """
    track = safe_name(source.stem)
    sets = tuple(
        tuple(
            inside(
                out,
                template.format(
                    track=track,
                    stem=safe_name(stem),
                    ext=extension,
                    sample=f"{sample:02d}",
                    prior=safe_name(prior),
                ),
            )
            for stem in stems
        )
        for sample in range(1, samples + 1)
    )
    together = Path(os.path.commonpath([path.parent for paths in sets for path in paths]))
    own = together != out and track in together.parts
    return Job(source, track, sets, together / ("run.json" if own else f"{track}.run.json"))


def refuse_collisions(jobs: Sequence[Job]) -> None:
    """Two mixtures must not write the same file.

    Raises:
        OutputError: they would.
    """
    owner: dict[str, Path] = {}
    for job in jobs:
        for path in (*(p for paths in job.stems for p in paths), job.record):
            other = owner.setdefault(os.path.normcase(os.path.abspath(path)), job.source)
            if other != job.source:
                raise OutputError(
                    f"{other} and {job.source} would both write {path}",
                    "separate them into two --out folders",
                )
