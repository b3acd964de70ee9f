"""Separation of the mixtures of a set of references by another program, demucs, so that it can be scored.

It is called by its documented command line, ``demucs -n MODEL -o OUT [-d DEVICE] -- FILE``, and nothing of
it is imported. Its stems are OUT/MODEL/TRACK/STEM.wav, as if it had been called by hand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import soundfile

from sepcli.atomic import remove_leftovers, temporary
from sepcli.errors import OutputError, SepError, UsageError
from sepcli.evaluation.folder_layouts import MIXTURE, Layout, Stems
from sepcli.evaluation.folders import read_alike
from sepcli.evaluation.report import Failure
from sepcli.media.names import inside
from sepcli.protocols import ProgressCallback

MODEL = re.compile(r"\w[\w.-]*", re.ASCII)
"""Valid model names: no options, no paths."""


@dataclass(frozen=True)
class Demucs:
    """Command (such as ``("python", "-m", "demucs")``), options and environment of demucs.

    Raises:
        UsageError: the model cannot be a name.
    """

    program: tuple[str, ...]
    model: str
    device: str | None
    environment: Mapping[str, str]

    def __post_init__(self) -> None:
        if MODEL.fullmatch(self.model) is None:
            raise UsageError(f"'{self.model}' is no model's name", "use for example htdemucs")

    def separate(self, mixture: Path, out: Path) -> Path:
        """Separate one file; returns the folder of its stems, below ``out``.

        Raises:
            SepError: it cannot be started, fails, or leaves no stems.
        """
        device = [] if self.device is None else ["-d", self.device]
        command = [*self.program, "-n", self.model, "-o", str(out), *device, "--", str(mixture)]
        hint = (
            f"run `demucs -n {self.model}` on a file by yourself: the first time it fetches its weights, "
            "and here it is kept from the network"
        )
        try:
            done = subprocess.run(
                command,
                env=dict(self.environment),
                cwd=mixture.parent,  # python -m looks for modules there
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            raise SepError(f"cannot start demucs: {error.strerror}", "install it again") from error
        stems = out / self.model / mixture.stem
        if done.returncode or not any(stems.glob("*.wav")):
            said = done.stdout.decode(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(said) if line.strip()), "nothing")
            raise SepError(f"demucs left no stems (exit code {done.returncode}), it said: {last}", hint)
        return stems


def separate_tracks(
    references: Layout, out: Path, demucs: Demucs, on_progress: ProgressCallback | None = None
) -> list[Failure]:
    """Separate the mixtures of all tracks that have no stems by the model yet.

    The mixture is that of the references if there is one, else the sum of the stems, as in scoring. The stems
    of a track are moved below ``out`` at once. Progress is in tracks.

    Returns:
        The tracks that could not be separated, and why.

    Raises:
        OutputError: the folder cannot be written.
        SepError: no track could be separated.
    """
    failures: list[tuple[Failure, SepError]] = []
    for number, (track, stems) in enumerate(references.items(), start=1):
        try:
            _separate(track or MIXTURE, stems, out, demucs)
        except OutputError:
            raise
        except SepError as error:
            failures.append((Failure(track, error.message), error))
        if on_progress is not None:
            on_progress(number, len(references))
    if failures and len(failures) == len(references):
        raise failures[0][1]
    return [failure for failure, _ in failures]


def _separate(track: str, stems: Stems, out: Path, demucs: Demucs) -> None:
    target = inside(out / demucs.model, track)
    if target.is_dir():
        return
    names = [MIXTURE] if MIXTURE in stems else list(stems)
    signals, rate = read_alike(stems, names)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out)
        folder = temporary(out.absolute() / MIXTURE)
        folder.mkdir()
        try:
            mixture = folder / "track.wav"  # whatever the track is called
            soundfile.write(mixture, signals.sum(axis=0), rate, subtype="FLOAT")
            os.replace(demucs.separate(mixture, folder / "out"), target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"cannot write {target}: {reason}", "choose another folder for the estimates"
        ) from error
