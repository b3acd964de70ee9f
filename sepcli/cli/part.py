"""``--only``, ``--two-stems``, ``--start`` and ``--length``: what of a recording is separated and written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.cli.outputs import Job
    from sepcli.media.audio import AudioReader
    from sepcli.media.excerpt import Excerpt, TwoStems
    from sepcli.media.stem_format import Encoding
    from sepcli.media.stems import StemWriter

CLOCK = re.compile(r"\s*(?:(?:(\d{1,4}):)?(\d{1,5}):)?(\d{1,9}(?:\.\d{1,12})?)\s*", re.ASCII)
"""Hours, minutes and seconds."""


@dataclass(frozen=True)
class Part:
    """What of a recording is separated, and which stems are written.

    Attributes:
        names: of the sources.
        only: names of the stems that are written; None: all.
        two_stems: the stem that is written beside the sum of the others; None: all are written.
        start: seconds before the part.
        length: seconds of it; None: to the end.
    """

    names: tuple[str, ...]
    only: tuple[str, ...] | None = None
    two_stems: str | None = None
    start: Fraction = Fraction(0)
    length: Fraction | None = None

    @property
    def written(self) -> tuple[str, ...]:
        """The names of the stems that are written."""
        return (self.two_stems, f"no_{self.two_stems}") if self.two_stems else self.only or self.names

    def describe(self) -> dict[str, Any]:
        """Return the entries of a record."""
        length = None if self.length is None else float(self.length)
        only = None if self.only is None else list(self.only)
        return {"only": only, "two_stems": self.two_stems, "start": float(self.start), "length": length}

    def open(self, source: Path, stack: ExitStack) -> AudioReader | Excerpt:
        """Open the part of a file that is read.

        Raises:
            InputError: the file cannot be read, or ends before the part.
        """
        from sepcli.media.audio import AudioReader
        from sepcli.media.excerpt import Excerpt

        reader = stack.enter_context(AudioReader(source))
        return Excerpt(reader, self.start, self.length) if self.start or self.length is not None else reader

    def writers(
        self, job: Job, reader: AudioReader | Excerpt, encoding: Encoding, overwrite: bool, stack: ExitStack
    ) -> tuple[list[StemWriter], Sequence[StemWriter | TwoStems]]:
        """Open the files of a job, one set per sample; return them, and what the stems are written to."""
        from sepcli.media.excerpt import TwoStems
        from sepcli.media.stems import StemWriter

        only = None if self.only is None else [self.names.index(name) for name in self.only]
        files = [
            stack.enter_context(
                StemWriter(
                    paths,
                    reader.info,
                    encoding=encoding,
                    overwrite=overwrite,
                    only=only,
                    names=self.written,
                )
            )
            for paths in job.stems
        ]
        if self.two_stems is None:
            return files, files
        return files, [TwoStems(writer, self.names.index(self.two_stems)) for writer in files]


def parse_part(
    names: tuple[str, ...],
    only: Sequence[str] | None,
    two_stems: str | None,
    start: str | None,
    length: str | None,
) -> Part:
    """Return what the options say of the stems with these names.

    Raises:
        UsageError: a stem has another name, options contradict each other, or a time is none.
    """
    chosen = dict.fromkeys(name.strip() for text in only or () for name in text.split(","))
    for option, name in [("--only", name) for name in chosen] + [("--two-stems", two_stems or "")]:
        if name not in names and (name or option == "--only"):
            raise UsageError(f"{option} {name}: there is no such stem", f"choose from {', '.join(names)}")
    if two_stems and chosen:
        raise UsageError("--only and --two-stems contradict each other", "give one of them")
    if two_stems and len(names) < 2:
        raise UsageError(f"--two-stems {two_stems}: there are no other stems", "leave it out, or add --other")
    seconds = None if length is None else parse_clock(length, "--length")
    if seconds == 0:
        raise UsageError(f"--length {length} is nothing", "give seconds, or minutes and seconds as in 1:30")
    first = Fraction(0) if start is None else parse_clock(start, "--start")
    ordered = tuple(name for name in names if name in chosen)
    return Part(names, ordered or None, two_stems or None, first, seconds)


def parse_clock(text: str, option: str) -> Fraction:
    """Return the exact seconds of ``90``, ``90.5``, ``1:30`` or ``1:02:03.5``.

    Raises:
        UsageError: the text is not of that form.
    """
    match = CLOCK.fullmatch(text)
    if match is None:
        raise UsageError(f"{option} {text} is not a time", "give seconds, or minutes and seconds as in 1:30")
    return 3600 * int(match[1] or 0) + 60 * int(match[2] or 0) + Fraction(match[3])
