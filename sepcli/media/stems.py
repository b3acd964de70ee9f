"""Audio files out: K stems side by side, in blocks, under temporary names until all of them are complete."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from sepcli.errors import OutputError
from sepcli.media.audio import DECODE_ERRORS, AudioInfo
from sepcli.media.pcm_rounding import quantise, settle

Container = Literal["wav", "flac"]

INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
LARGEST_WAV = (1 << 32) - (1 << 20)
"""Bytes of samples from which on a WAV file needs the 64-bit header of RF64."""
NEARLY_FULL = 1 << 20
"""A file system with fewer free bytes than this counts as full when a write fails."""


@dataclass(frozen=True)
class StemFormat:
    """How stems are stored, in libsndfile's names."""

    format: str
    subtype: str
    extension: Container

    @property
    def bits(self) -> int | None:
        """Bits per integer sample; None for floating-point samples."""
        return INTEGER_BITS.get(self.subtype)


def stem_format(info: AudioInfo, container: Container | None = None) -> StemFormat:
    """Choose how stems are stored: like the mixture's file if that is lossless, else as 32-bit float WAV.

    Args:
        info: The mixture.
        container: Ask for WAV or FLAC. FLAC holds integers of at most 24 bits: stems of a float, lossy or
            32-bit mixture are then stored as PCM_24, and sum to the mixture rounded to 24 bits and clipped to
            full scale.

    Returns:
        The format; ``extension`` is what the files should be called.
    """
    bits = INTEGER_BITS.get(info.subtype)
    if container == "flac" or (container is None and info.format == "FLAC"):
        return StemFormat("FLAC", {8: "PCM_S8", 16: "PCM_16"}.get(bits or 0, "PCM_24"), "flac")
    if bits is None:
        subtype = "DOUBLE" if info.subtype == "DOUBLE" else "FLOAT"
    else:
        subtype = "PCM_U8" if bits == 8 else info.subtype
    size = info.frames * info.channels * (bits or (64 if subtype == "DOUBLE" else 32)) // 8
    small = "WAVEX" if info.format == "WAVEX" else "WAV"
    return StemFormat("RF64" if size >= LARGEST_WAV else small, subtype, "wav")


class StemWriter:
    """K files, written together: all of them appear on success, none of them on any error or Ctrl-C.

    Args:
        paths: K files to be written; missing folders are made (and removed again on failure).
        info: The mixture, whose rate, channels and sample format the stems keep.
        container: See ``stem_format``.
        overwrite: Replace files that exist.

    Raises:
        OutputError: On entering: a file exists, two paths are equal, or a place cannot be written. On
            leaving: a write failed.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        info: AudioInfo,
        *,
        container: Container | None = None,
        overwrite: bool = False,
    ) -> None:
        self.paths = tuple(paths)
        self.info = info
        self.format = stem_format(info, container)
        self._overwrite = overwrite
        self._files: list[Any] = []
        self._parts: list[Path] = []
        self._made: list[Path] = []
        self._frames = 0

    def __enter__(self) -> Self:
        try:
            self._refuse_existing()
            for path in self.paths:
                self._open(path)
        except BaseException:
            self._discard()
            raise
        return self

    def redirect(self, paths: Sequence[Path]) -> None:
        """Give the files other names than on entering, of the same file system; folders are made at the end.

        Args:
            paths: K files, in the order of the stems.
        """
        self.paths = tuple(paths)

    def write(
        self, stems: NDArray[np.float64], mixture: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Append one block to every file.

        Args:
            stems: (K, C, T), full scale is 1.
            mixture: (C, T), what the stored stems shall sum to: exactly for integer samples, within one
                rounding for floats. None stores every stem as it is, clipped to full scale for integer
                samples.

        Returns:
            (K, C, T) the samples as stored.

        Raises:
            OutputError: The disk is full or fails.
        """
        bits = self.format.bits
        if bits is None:
            values = data = settle(stems, mixture, self.format.subtype)
        else:
            integers = quantise(stems, mixture, bits)
            values = integers / 2.0 ** (bits - 1)
            data = (integers << 32 - bits).astype(np.int32)  # libsndfile keeps the upper bits of each sample
        for path, file, stem in zip(self.paths, self._files, data, strict=True):
            try:
                file.write(np.ascontiguousarray(stem.T))
            except (*DECODE_ERRORS, AssertionError) as error:
                _refuse(path, error)
        self._frames += stems.shape[-1]
        return values

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        placed: list[Path] = []
        try:
            if error is None:
                self._complete()
                for part, path in zip(self._parts, self.paths, strict=True):
                    new = not path.exists()
                    self._make(path.parent)
                    part.replace(path)
                    placed += [path] * new
        except BaseException as failure:
            for path in placed:
                path.unlink(missing_ok=True)
            if isinstance(failure, OSError):
                _refuse(self.paths[0], failure)
            raise
        finally:
            self._discard()

    def _refuse_existing(self) -> None:
        if len({os.path.abspath(path) for path in self.paths}) < len(self.paths):
            raise OutputError(f"two stems would be written to {self.paths[0]}", "use {stem} in the file name")
        for path in self.paths:
            if os.path.isdir(path) or (os.path.lexists(path) and not self._overwrite):
                raise OutputError(
                    f"{path} exists already", "use --overwrite to replace it, or another --out folder"
                )

    def _open(self, path: Path) -> None:
        folder = path.parent
        part = folder / f".sepcli-{os.getpid()}-{secrets.token_hex(4)}.part"
        try:
            self._make(folder)
            self._parts.append(part)
            part.open("xb").close()
            file = soundfile.SoundFile(
                os.fsencode(part),
                "w",
                self.info.sample_rate,
                self.info.channels,
                self.format.subtype,
                format=self.format.format,
            )
        except OSError as error:
            _refuse(path, error)
        except DECODE_ERRORS as error:
            raise OutputError(
                f"cannot write {path}: {self.format.format} does not hold {self.info.channels} channels at"
                f" {self.info.sample_rate} Hz",
                "convert the input to another channel count, rate or container first",
            ) from error
        self._files.append(file)

    def _make(self, folder: Path) -> None:
        self._made += [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)

    def _complete(self) -> None:
        """Close the files and see that they hold everything, since a full disk may show only now."""
        for path, file, part in zip(self.paths, self._files, self._parts, strict=True):
            try:
                file.close()
                if self._frames and soundfile.info(os.fsencode(part)).frames != self._frames:
                    raise OSError("the file is incomplete")
                _forget_time(part)
            except DECODE_ERRORS as error:
                _refuse(path, error)
        self._refuse_existing()

    def _discard(self) -> None:
        """Close what is open; remove the temporary files that are left, and the folders made for nothing."""
        for file in self._files:
            with contextlib.suppress(*DECODE_ERRORS):
                file.close()
        for part in self._parts:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        for folder in sorted(self._made, key=lambda made: len(made.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _forget_time(part: Path) -> None:
    """Zero the time of writing in the PEAK chunk of a float WAV file, so that equal runs give equal files."""
    with part.open("r+b") as file:
        peak = file.read(256).find(b"PEAK")
        if peak >= 0:
            file.seek(peak + 12)  # after the chunk's name, size and version
            file.write(bytes(4))


def _refuse(path: Path, error: Exception) -> NoReturn:
    folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
    full = shutil.disk_usage(folder).free < NEARLY_FULL
    reason = "no space left on the device" if full else getattr(error, "strerror", None) or "the write failed"
    hint = (
        "free some space" if full else "check that the folder may be written and has room"
    ) + ", or choose another --out folder"
    raise OutputError(f"cannot write {path}: {reason}", hint) from error
