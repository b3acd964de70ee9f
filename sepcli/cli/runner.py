"""``sepcli evaluate --runner demucs[:MODEL]``: find the program, keep it offline, let it separate."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sepcli.cli import console
from sepcli.errors import SepError, UsageError

if TYPE_CHECKING:
    from sepcli.datasets.songs import Songs

NOWHERE = "http://127.0.0.1:9"
"""A proxy that does not exist: no service listens on the port of ``discard``."""
DEFAULT_MODEL = "htdemucs"


def run_program(name: str, references: Path | Songs, out: Path, device: str, quiet: bool) -> None:
    """Separate the mixtures of references by another program; tracks that it has done already are kept.

    Args:
        name: ``demucs``, or ``demucs:MODEL``.
        references: a folder, or songs.
        out: folder of the stems, ``MODEL/TRACK/STEM.wav``.
        device: of ``--device``; ``auto`` leaves it to the program.
        quiet: no progress.

    Raises:
        UsageError: the program is unknown.
        SepError: it is not installed, or separates nothing.
        OutputError: the folder cannot be written.
    """
    program, _, model = name.partition(":")
    if program != "demucs":
        raise UsageError(f"--runner {name} is not supported", "write --runner demucs, or demucs:MODEL")
    command = _find_demucs()
    from sepcli.api import choose_device
    from sepcli.evaluation.external import Demucs, separate_tracks
    from sepcli.evaluation.folder_layouts import read_references

    chosen = None if device == "auto" else str(choose_device(device))
    demucs = Demucs(command, model or DEFAULT_MODEL, chosen, _offline())
    layout = read_references(references) if isinstance(references, Path) else references
    try:
        with console.progress(f"separating with {demucs.model}", quiet) as on_progress:
            failures = separate_tracks(layout, out, demucs, on_progress)
    except KeyboardInterrupt:
        console.note(f"finished tracks are in {out}; the same command continues", quiet)
        raise
    for failure in failures:
        console.warn(f"{failure.track} was not separated: {failure.reason}")


def _find_demucs() -> tuple[str, ...]:
    """Return the command that starts demucs: that of this Python, else the one on the PATH."""
    if importlib.util.find_spec("demucs") is not None:
        return (sys.executable, "-m", "demucs")
    there = shutil.which("demucs")
    if there is None:
        raise SepError(
            "demucs is not installed",
            "run `pip install sepcli[demucs]`, or put the demucs of another environment on the PATH",
        )
    return (os.path.abspath(there),)


def _offline() -> dict[str, str]:
    """Return the environment without access to the network: a program must not fetch anything by itself."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    blocked = {form(name): NOWHERE for name in names for form in (str.lower, str.upper)}
    return {**os.environ, **blocked, "no_proxy": "", "NO_PROXY": "", "HF_HUB_OFFLINE": "1"}
