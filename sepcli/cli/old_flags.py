"""Habits of users of demucs and spleeter: options and commands of these, and their twins here."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from sepcli.media import MEDIA

_PRIOR = "--prior NAME; `sepcli fetch-priors --list` lists the priors"
_START, _LENGTH = "--start TIME, in seconds or as 1:30", "--length TIME, in seconds or as 1:30"
TWINS: Mapping[str, str] = {
    "-n": _PRIOR,
    "--name": _PRIOR,
    "-p": _PRIOR,
    "--params_filename": _PRIOR,
    "--mp3": "--format mp3",
    "--flac": "--format flac",
    "-c": "--format mp3",
    "--codec": "--format mp3",
    "--mp3-bitrate": "--format mp3 --bitrate 320",
    "--mp3-preset": "--format mp3 --bitrate 320",
    "-b": "--bitrate 320",
    "--int24": "--bit-depth 24",
    "--float32": "--bit-depth 32f",
    "--clip-mode": "--bit-depth 32f, which holds any peak; stems are never rescaled one by one",
    "--shifts": "--set draws=4, the mean of several samples",
    "--overlap": "--set overlap=0.5, in seconds",
    "--segment": "--set window=3, in seconds",
    "--no-split": "--set window=600, in seconds",
    "-d": "--device cuda, or --length TIME for a duration",
    "-s": _START,
    "--offset": _START,
    "--duration": _LENGTH,
    "-f": "--filename TEMPLATE, for example {folder}/{track}/{stem}.{ext}",
    "--filename_format": "--filename TEMPLATE, for example {folder}/{track}/{stem}.{ext}",
    "--output_path": "--out FOLDER",
    "-i": "files and folders without an option",
    "--inputs": "files and folders without an option",
    "-v": "SEPCLI_DEBUG=1 in the environment",
    "--verbose": "SEPCLI_DEBUG=1 in the environment",
}
"""Option of other separators → what does the same here."""


def twin(option: str, command: str) -> str | None:
    """Return the hint for an unknown option of ``sepcli`` or ``sepcli separate``; None: there is no twin."""
    if option not in TWINS or command not in ("sepcli", "sepcli separate"):
        return None
    return ("use " if command == "sepcli separate" else "use sepcli separate with ") + TWINS[option]


def missing_command(arguments: Collection[str], commands: Collection[str]) -> tuple[str, str] | None:
    """Return the two lines for files without a command, as in ``sepcli song.mp3``; None: another error."""
    first = next(iter(arguments), "")
    suffixes = {suffix for row in MEDIA.values() for suffix in row.suffixes}
    if first in commands or first.startswith("-"):
        return None
    if not Path(first).exists() and Path(first).suffix.lower() not in suffixes:
        return None
    return f"{first} is no command", f"run: sepcli separate {shlex.join(arguments)}"
