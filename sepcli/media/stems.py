"""Audio output: K stems written block by block, under temporary names until all of them are complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

import numpy as np
from numpy.typing import NDArray

from sepcli.atomic import failed_write, remove, rename_all, temporary
from sepcli.errors import OutputError, UsageError
from sepcli.media.audio import DECODE_ERRORS, AudioInfo, AudioReader
from sepcli.media.encoders import open_encoder
from sepcli.media.file_format import Encoder, FileFormat
from sepcli.media.names import refuse_existing
from sepcli.media.pcm_rounding import round_floats, round_integers

Container = Literal["wav", "flac", "mp3", "ogg", "opus", "m4a"]
Depth = Literal["16", "24", "32f"]

INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
SUBTYPES: dict[Depth, str] = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}
BITRATES: dict[Container, int] = {"mp3": 320_000, "ogg": 192_000, "opus": 160_000, "m4a": 256_000}
"""Default bits per second of lossy containers, of up to two channels."""
PLAIN_MASKS = (0, 0x3, 0x4)
"""Masks of WAV files that need no extensible header: unknown, stereo, mono."""
MAX_WAV_BYTES = (1 << 32) - (1 << 20)
"""Bytes of samples up to which a WAV file has no 64-bit header (RF64)."""


@dataclass(frozen=True)
class Encoding:
    """The user's choice of how stems are stored.

    Attributes:
        container: None: that of the mixture's file if it is lossless, otherwise WAV.
        bitrate: bits per second of lossy containers; None: see ``BITRATES``.
        depth: sample format of WAV and FLAC, ``32f`` is floating point; None: that of the mixture.
    """

    container: Container | None = None
    bitrate: int | None = None
    depth: Depth | None = None


@dataclass(frozen=True)
class StemFormat:
    """Container and sample format of stems, in the names of libsndfile; lossy ones have a bit rate."""

    format: str
    subtype: str
    extension: Container
    bitrate: int | None = None

    @property
    def bits(self) -> int | None:
        """Bits per integer sample; None for floating-point samples."""
        return INTEGER_BITS.get(self.subtype)


def stem_format(info: AudioInfo, encoding: Encoding = Encoding()) -> StemFormat:
    """Choose the format of stems.

    FLAC has integers of at most 24 bits: there, stems of a float, lossy or 32-bit mixture are stored as
    PCM_24, and sum to the mixture rounded to 24 bits and clipped to full scale.

    Raises:
        UsageError: the container has no such sample format or bit rate.
    """
    container = encoding.container or (
        "flac" if info.format == "FLAC" and info.subtype != "PCM_32" else "wav"
    )
    lossy = container in BITRATES
    if encoding.bitrate is not None and not lossy:
        raise UsageError(f"{container} has no bit rate", "choose mp3, ogg, opus or m4a", argument="bitrate")
    if encoding.depth is not None and (lossy or (container == "flac" and encoding.depth == "32f")):
        raise UsageError(
            f"{container} has no samples of {encoding.depth} bits", "choose wav", argument="depth"
        )
    if lossy:
        bitrate = encoding.bitrate or BITRATES[container] * max(1, -(-info.channels // 2))
        return StemFormat(container.upper(), "VORBIS" if container == "ogg" else "", container, bitrate)
    bits = INTEGER_BITS.get(info.subtype)
    if container == "flac":
        chosen = SUBTYPES[encoding.depth] if encoding.depth else None
        return StemFormat("FLAC", chosen or {8: "PCM_S8", 16: "PCM_16"}.get(bits or 0, "PCM_24"), "flac")
    if encoding.depth:
        subtype = SUBTYPES[encoding.depth]
    elif bits is None:
        subtype = "DOUBLE" if info.subtype == "DOUBLE" else "FLOAT"
    else:
        subtype = "PCM_U8" if bits == 8 else info.subtype
    size = (
        info.frames * info.channels * (INTEGER_BITS.get(subtype) or (64 if subtype == "DOUBLE" else 32)) // 8
    )
    wav = "WAVEX" if info.format == "WAVEX" or info.mask not in PLAIN_MASKS else "WAV"
    return StemFormat("RF64" if size >= MAX_WAV_BYTES else wav, subtype, "wav")


class StemWriter:
    """Write K files together: all of them appear on success, none of them on an error or Ctrl-C.

    Every temporary file is opened once, by a name that nothing has, and written through that: a file that
    another program puts in its place is never written to.

    Args:
        paths: the K files; missing folders are created (and removed on failure). Until the end, other
            ``paths`` may be set, within the same file system.
        info: the mixture, whose rate, channels and sample format the stems get.
        encoding: what the user chose.
        overwrite: replace existing files.
        only: which of the stems that are written to it the paths are for, by index; None: all.

    Raises:
        OutputError: on entering: a file exists, two paths are equal, or a file cannot be created; on
            leaving: a write failed.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        info: AudioInfo,
        *,
        encoding: Encoding = Encoding(),
        overwrite: bool = False,
        only: Sequence[int] | None = None,
    ) -> None:
        self._only = only
        self.paths = tuple(paths)
        self.info = info
        self.format = stem_format(info, encoding)
        self._overwrite = overwrite
        self._encoders: list[Encoder] = []
        self._files: list[BinaryIO] = []
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
        stored = data if self._only is None else data[list(self._only)]
        for path, encoder, stem in zip(self.paths, self._encoders, stored, strict=True):
            try:
                encoder.write(stem.T)
            except (*DECODE_ERRORS, AssertionError) as error:
                raise failed_write(path, error) from error
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
            raise failed_write(self.paths[0], failure) from failure
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
            self._files.append(part.open("x+b"))
            self._encoders.append(open_encoder(self._files[-1], _file_format(self.info, self.format)))
        except OSError as error:
            raise failed_write(path, error) from error
        except DECODE_ERRORS as error:
            raise OutputError(
                f"cannot write {path}: {self.format.format} does not support {self.info.channels} channels at"
                f" {self.info.sample_rate} Hz",
                "convert the input to another number of channels, rate or container first",
            ) from error

    def _make_folder(self, folder: Path) -> None:
        self._new_folders += [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)

    def _complete(self) -> None:
        """Close the files and check that they are complete, since a full disk may only show now."""
        for path, encoder, file, part in zip(
            self.paths, self._encoders, self._files, self._parts, strict=True
        ):
            try:
                encoder.close()
                file.close()
                if self._frames and _count_samples(part) != encoder.samples:
                    raise OSError("the file is incomplete")
            except DECODE_ERRORS as error:
                raise failed_write(path, error) from error
        self._check_free()

    def _discard(self) -> None:
        """Close open files; remove remaining temporary files and new folders that are empty."""
        for close in [opened.close for opened in self._encoders] + [opened.close for opened in self._files]:
            with contextlib.suppress(*DECODE_ERRORS):
                close()
        remove(self._parts)
        for folder in sorted(self._new_folders, key=lambda new: len(new.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()


def reorder(writers: Sequence[StemWriter], order: Sequence[int]) -> None:
    """Exchange the paths of open writers, one per sample, for an order of the samples, the best first."""
    paths = [writer.paths for writer in writers]
    for number, names in zip(order, paths, strict=True):
        writers[number].paths = names


def _file_format(info: AudioInfo, form: StemFormat) -> FileFormat:
    rate, channels = info.sample_rate, info.channels
    return FileFormat(form.format, rate, channels, form.subtype, form.bitrate, info.mask, info.tags)


def _count_samples(path: Path) -> int:
    """Return the length of a file in samples, as a reader finds it."""
    with AudioReader(path) as reader:
        return reader.info.frames
