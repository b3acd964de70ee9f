"""The words on the command line → input files, and where each one's stems go."""

from __future__ import annotations

import glob
import os
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sepcli.errors import InputError, OutputError, UsageError
from sepcli.media import MEDIA
from sepcli.media.names import inside, safe_name

AUDIO = MEDIA["audio"].suffixes
IMAGES = MEDIA["image"].suffixes
"""What is taken from a folder; a file named by itself may be called anything."""

FIELDS = ("track", "stem", "ext", "sample", "prior")


@dataclass(frozen=True)
class Job:
    """One mixture and its outputs.

    Attributes:
        source: the file.
        track: its name, safe as one path component.
        stems: per kept sample, and per word beside the samples, the K output paths.
        record: the run.json.
        sheet: the contact sheet, if there is to be one.
    """

    source: Path
    track: str
    stems: tuple[tuple[Path, ...], ...]
    record: Path
    sheet: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All outputs."""
        stems = (path for paths in self.stems for path in paths)
        return (*stems, *([self.sheet] if self.sheet else []), self.record)


def collect(words: Sequence[str], suffixes: Sequence[str] = AUDIO) -> list[Path]:
    """Files, folders (their files of these suffixes, sorted) and globs → files, each once, in order.

    Raises:
        InputError: a word matches nothing, or a folder holds no such file.
    """
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if not word:
            raise InputError("an input is an empty word", "give files, folders or globs")
        if os.path.isdir(path):
            files = _files_in(path, suffixes)
        elif os.path.lexists(path) or not glob.has_magic(word):
            files = [path]
        else:
            files = [
                Path(match) for match in sorted(glob.glob(word, recursive=True)) if not Path(match).is_dir()
            ]
            if not files:
                raise InputError(f"nothing matches {word}", "check the pattern")
        found.update(dict.fromkeys(files))
    return list(found)


def image_among(words: Sequence[str]) -> Path | None:
    """Return the first input if it is an image, by its content or else its suffix; None if it is not.

    Of a folder, its first image counts if it holds no audio; what does not exist or match is no image.
    """
    from sepcli.media.images import is_image

    word = words[0]
    if os.path.isdir(word):
        try:
            files = _files_in(Path(word), (*AUDIO, *IMAGES))
        except InputError:  # empty or not to be read: ``collect`` says so
            return None
        if any(path.suffix.lower() in AUDIO for path in files):
            return None
    else:
        there = os.path.lexists(word) or not glob.has_magic(word)
        files = [Path(word)] if there else sorted(map(Path, glob.glob(word, recursive=True)))
    if not (files and os.path.isfile(files[0])) or files[0].suffix.lower() in AUDIO:
        return None
    found = files[0]
    return found if is_image(found) or (found.suffix.lower() in IMAGES and not _is_audio(found)) else None


def _is_audio(path: Path) -> bool:
    from sepcli.media.audio import AudioReader

    try:
        with AudioReader(path):
            return True
    except InputError:
        return False


def _files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    try:
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in suffixes and not path.name.startswith(".") and not path.is_dir()
        )
    except OSError as error:
        raise InputError(
            f"cannot read the folder {folder}: {error.strerror}", "check that you are allowed to read it"
        ) from error
    if not files:
        kind = "audio file" if suffixes is AUDIO else "image"
        raise InputError(f"the folder {folder} holds no {kind}", f"it may hold {', '.join(suffixes)}")
    return files


def check_template(template: str, samples: int, stems: int = 2) -> None:
    """Refuse a ``--filename`` template that cannot give every stem a name of its own.

    Args:
        template: the words.
        samples: how many draws there will be.
        stems: how many stems of each.

    Raises:
        UsageError: an unknown field, a field with a conversion or a format, or a missing one.
    """
    try:
        parts = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError:
        parts = [("", "", None)]
    fields = {field for field, _, _ in parts}
    if not fields <= set(FIELDS) or any(spec or conversion for _, spec, conversion in parts):
        raise UsageError(
            f"--filename {template} is not a template", f"fields: {', '.join(f'{{{f}}}' for f in FIELDS)}"
        )
    needed = ({"stem"} if stems > 1 else set()) | ({"sample"} if samples > 1 else set())
    missing = needed - fields
    if missing:
        raise UsageError(
            f"--filename {template} lacks {{{missing.pop()}}}", "every stem needs a name of its own"
        )


def plan(
    source: Path,
    out: Path,
    template: str,
    stems: Sequence[str],
    samples: int,
    extension: str,
    prior: str,
    beside: Sequence[str] = (),
) -> Job:
    """Where the stems of one mixture go; words ``beside`` the samples stand in the place of their number.

    Raises:
        OutputError: the template leads out of ``out``, or names files of a kind that is not written.
    """
    track = safe_name(source.stem)
    named = Path(template).suffix.lower()
    if named in AUDIO and named != f".{extension}":
        raise OutputError(
            f"the stems of {source} are {extension.upper()} files, not {named}",
            "end --filename with .{ext}, or choose with --format",
        )
    sets = tuple(
        tuple(
            inside(
                out,
                template.format(
                    track=track,
                    stem=safe_name(stem),
                    ext=extension,
                    sample=sample,
                    prior=safe_name(prior),
                ),
            )
            for stem in stems
        )
        for sample in (*(f"{number:02d}" for number in range(1, samples + 1)), *beside)
    )
    together = Path(os.path.commonpath([path.parent for paths in sets for path in paths]))
    own = track in together.relative_to(out).parts
    return Job(source, track, sets, together / ("run.json" if own else f"{track}.run.json"))


def to_do(jobs: Sequence[Job], *, overwrite: bool, resume: bool) -> list[Job]:
    """The jobs that are left: all, or with ``resume`` those whose files are not all there.

    Raises:
        OutputError: a file of those exists, and is not to be replaced.
    """
    todo = [job for job in jobs if not (resume and all(path.is_file() for path in job.files))]
    hint = "use --overwrite to replace it, --resume to skip it, or another --out folder"
    if resume:
        hint = "it is not of a finished run: add --overwrite to replace it, or choose another --out folder"
    for path in (path for job in todo for path in job.files):
        if os.path.lexists(path) and not overwrite:
            raise OutputError(f"{path} exists already", hint)
    return todo


def refuse_collisions(jobs: Sequence[Job]) -> None:
    """No file may be written twice, by two mixtures or by one, and no input be written over.

    Raises:
        OutputError: they would.
    """
    owner: dict[str, Path] = {}
    inputs = {os.path.realpath(job.source) for job in jobs}
    for job in jobs:
        for path in job.files:
            if os.path.realpath(path) in inputs:
                raise OutputError(
                    f"a stem of {job.source} would replace the input {path}", "choose another --out folder"
                )
            place = os.path.normcase(os.path.abspath(path))
            other = owner.get(place)
            if other == job.source:
                raise OutputError(
                    f"two outputs of {job.source} would both be {path}", "choose another --filename"
                )
            if other is not None:
                raise OutputError(
                    f"{other} and {job.source} would both write {path}",
                    "separate them into two --out folders",
                )
            owner[place] = job.source
