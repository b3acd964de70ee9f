"""Audio output: K stems written block by block, under temporary names until all of them are complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from sepcli.atomic import failed_write, remove, rename_all, temporary
from sepcli.errors import OutputError
from sepcli.media.audio import DECODE_ERRORS, AudioInfo, AudioReader
from sepcli.media.encoders import open_encoder
from sepcli.media.file_format import Encoder, FileFormat
from sepcli.media.names import refuse_existing
from sepcli.media.pcm_rounding import round_floats, round_integers
from sepcli.media.stem_format import AS_MIXTURE, Encoding, stem_format
from sepcli.media.stem_mp4 import StemMp4Encoder


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
        names: of these; they are needed, and there is one path, where all stems are in one file.

    Raises:
        OutputError: on entering: a file exists, two paths are equal, or a file cannot be created; on
            leaving: a write failed.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        info: AudioInfo,
        *,
        encoding: Encoding = AS_MIXTURE,
        overwrite: bool = False,
        only: Sequence[int] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self._only, self._names = only, names
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
                floats. None: every stem is stored as it is, clipped to full scale for integer samples; not
                where the mixture is stored with them.

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
        tracks = (data if self._only is None else data[list(self._only)]).swapaxes(1, 2)
        if self.format.together:
            if mixture is None:
                raise ValueError("the mixture is missing, which is stored with its stems")
            tracks = np.concatenate([mixture.T[None], tracks])[None]
        for path, encoder, samples in zip(self.paths, self._encoders, tracks, strict=True):
            try:
                encoder.write(samples)
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
            self._encoders.append(self._encoder(self._files[-1]))
        except OSError as error:
            raise failed_write(path, error) from error
        except DECODE_ERRORS as error:
            container, channels, rate = self.format.extension, self.info.channels, self.info.sample_rate
            raise OutputError(
                f"cannot write {path}: {container.upper()} does not support {channels} channels at {rate} Hz",
                "convert the input to another number of channels, rate or container first",
            ) from error

    def _encoder(self, file: BinaryIO) -> Encoder:
        info, form = self.info, self.format
        target = FileFormat(
            form.format, info.sample_rate, info.channels, form.subtype, form.bitrate, info.mask, info.tags
        )
        return StemMp4Encoder(file, target, self._names) if form.together else open_encoder(file, target)

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
                if self._frames and _count_samples(part) != {encoder.samples}:
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


def _count_samples(path: Path) -> set[int]:
    """Return the lengths of the tracks of a file in samples, as a reader finds them."""
    lengths, track, tracks = set[int](), 0, 1
    while track < tracks:
        with AudioReader(path, track) as reader:
            tracks = reader.info.streams
            lengths.add(reader.info.frames)
        track += 1
    return lengths
