"""Audio output: K stems written block by block, under temporary names until all of them are complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from sepcli.atomic import remove, rename_all, temporary
from sepcli.errors import OutputError
from sepcli.media.audio import DECODE_ERRORS, AudioInfo
from sepcli.media.names import refuse_existing
from sepcli.media.pcm_rounding import round_floats, round_integers

Container = Literal["wav", "flac"]

INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
MAX_WAV_BYTES = (1 << 32) - (1 << 20)
"""Bytes of samples up to which a WAV file has no 64-bit header (RF64)."""
FULL_BYTES = 1 << 20
"""Free bytes below which a failed write is reported as a full disk."""


@dataclass(frozen=True)
class StemFormat:
    """Container and sample format of stems, in the names of libsndfile."""

    format: str
    subtype: str
    extension: Container

    @property
    def bits(self) -> int | None:
        """Bits per integer sample; None for floating-point samples."""
        return INTEGER_BITS.get(self.subtype)


def stem_format(info: AudioInfo, container: Container | None = None) -> StemFormat:
    """Choose the format of stems: that of the mixture's file if it is lossless, otherwise 32-bit float WAV.

    FLAC has integers of at most 24 bits: there, stems of a float, lossy or 32-bit mixture are stored as
    PCM_24, and sum to the mixture rounded to 24 bits and clipped to full scale.
    """
    bits = INTEGER_BITS.get(info.subtype)
    if container == "flac" or (container is None and info.format == "FLAC"):
        return StemFormat("FLAC", {8: "PCM_S8", 16: "PCM_16"}.get(bits or 0, "PCM_24"), "flac")
    if bits is None:
        subtype = "DOUBLE" if info.subtype == "DOUBLE" else "FLOAT"
    else:
        subtype = "PCM_U8" if bits == 8 else info.subtype
    size = info.frames * info.channels * (bits or (64 if subtype == "DOUBLE" else 32)) // 8
    wav = "WAVEX" if info.format == "WAVEX" else "WAV"
    return StemFormat("RF64" if size >= MAX_WAV_BYTES else wav, subtype, "wav")


class StemWriter:
    """Write K files together: all of them appear on success, none of them on an error or Ctrl-C.

    Args:
        paths: the K files; missing folders are created (and removed on failure). Until the end, other
            ``paths`` may be set, within the same file system.
        info: the mixture, whose rate, channels and sample format the stems get.
        container: see ``stem_format``.
        overwrite: replace existing files.

    Raises:
        OutputError: on entering: a file exists, two paths are equal, or a file cannot be created; on
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
        self._new_folders: list[Path] = []
        self._frames = 0

    def __enter__(self) -> Self:
        try:
            self._check_free()
            for path in self.paths:
                self._open(path)
        except BaseException:
            self._discard()
            raise
        return self

    def write(
        self, stems: NDArray[np.float64], mixture: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Append one block to every file.

        Args:
            stems: (K, C, T), full scale is 1.
            mixture: (C, T), the sum of the stored stems: exact for integer samples, within one rounding for
                floats. None: every stem is stored as it is, clipped to full scale for integer samples.

        Returns:
            (K, C, T), the samples as stored.

        Raises:
            OutputError: the disk is full or fails.
        """
        bits = self.format.bits
        if bits is None:
            values = data = round_floats(stems, mixture, self.format.subtype)
        else:
            integers = round_integers(stems, mixture, bits)
            values = integers / 2.0 ** (bits - 1)
            data = (integers << 32 - bits).astype(np.int32)  # libsndfile stores the upper bits
        for path, file, stem in zip(self.paths, self._files, data, strict=True):
            try:
                file.write(np.ascontiguousarray(stem.T))
            except (*DECODE_ERRORS, AssertionError) as error:
                _raise_failed(path, error)
        self._frames += stems.shape[-1]
        return values

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._complete()
                for path in self.paths:
                    self._make_folder(path.parent)
                rename_all(zip(self._parts, self.paths, strict=True))
        except OutputError:
            raise
        except OSError as failure:
            _raise_failed(self.paths[0], failure)
        finally:
            self._discard()

    def _check_free(self) -> None:
        for path in self.paths:
            mixture = self.info.path
            if os.path.exists(path) and os.path.exists(mixture) and os.path.samefile(path, mixture):
                raise OutputError(
                    f"a stem would replace the mixture {path}", "choose another folder or file name"
                )
        if len({os.path.abspath(path) for path in self.paths}) < len(self.paths):
            raise OutputError(
                f"two stems have the same path {self.paths[0]}",
                "use {stem} in the file name",
                argument="filename",
            )
        for path in self.paths:
            refuse_existing(path, self._overwrite)

    def _open(self, path: Path) -> None:
        part = temporary(path)
        try:
            self._make_folder(path.parent)
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
            _raise_failed(path, error)
        except DECODE_ERRORS as error:
            raise OutputError(
                f"cannot write {path}: {self.format.format} does not support {self.info.channels} channels at"
                f" {self.info.sample_rate} Hz",
                "convert the input to another number of channels, rate or container first",
            ) from error
        self._files.append(file)

    def _make_folder(self, folder: Path) -> None:
        self._new_folders += [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)

    def _complete(self) -> None:
        """Close the files and check that they are complete, since a full disk may only show now."""
        for path, file, part in zip(self.paths, self._files, self._parts, strict=True):
            try:
                file.close()
                if self._frames and soundfile.info(os.fsencode(part)).frames != self._frames:
                    raise OSError("the file is incomplete")
                _clear_timestamp(part)
            except DECODE_ERRORS as error:
                _raise_failed(path, error)
        self._check_free()

    def _discard(self) -> None:
        """Close open files; remove remaining temporary files and new folders that are empty."""
        for file in self._files:
            with contextlib.suppress(*DECODE_ERRORS):
                file.close()
        remove(self._parts)
        for folder in sorted(self._new_folders, key=lambda new: len(new.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()


def reorder(writers: Sequence[StemWriter], order: Sequence[int]) -> None:
    """Exchange the paths of open writers, one per sample, for an order of the samples, the best first."""
    paths = [writer.paths for writer in writers]
    for number, names in zip(order, paths, strict=True):
        writers[number].paths = names


def _clear_timestamp(part: Path) -> None:
    """Set the timestamp in the PEAK chunk of a float WAV file to 0, so that equal runs give equal files."""
    with part.open("r+b") as file:
        peak = file.read(256).find(b"PEAK")
        if peak >= 0:
            file.seek(peak + 12)  # after the name, size and version of the chunk
            file.write(bytes(4))


def _raise_failed(path: Path, error: Exception) -> NoReturn:
    folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
    full = shutil.disk_usage(folder).free < FULL_BYTES
    reason = "no space left on the device" if full else getattr(error, "strerror", None) or "the write failed"
    hint = (
        "free some space" if full else "check the permissions and the free space of the folder"
    ) + ", or choose another folder"
    raise OutputError(f"cannot write {path}: {reason}", hint) from error
