"""A part of an audio file, and stems of which some are written."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sepcli.errors import InputError
from sepcli.media.audio import AudioReader
from sepcli.media.stems import StemWriter
from sepcli.media.tags import starting_later


class Excerpt:
    """A part of a recording, read in blocks, as if the file held nothing else.

    Args:
        reader: the recording, at its start.
        start: seconds before the part; rounded to samples.
        length: seconds of the part; None, or more than there are: to the end.

    Raises:
        InputError: The recording ends before the part.
    """

    def __init__(self, reader: AudioReader, start: Fraction, length: Fraction | None) -> None:
        info = reader.info
        self._reader, self._first = reader, round(start * info.sample_rate)
        left = info.frames - self._first
        if left <= 0:
            raise InputError(
                f"{info.path} ends at {info.seconds:.3f} s, before the part from {float(start):g} s on",
                "choose an earlier start",
            )
        frames = left if length is None else min(left, max(1, round(length * info.sample_rate)))
        self.info = replace(info, frames=frames, tags=starting_later(info.tags, self._first))
        self._left = frames
        reader.skip(self._first)

    def read(self, frames: int) -> NDArray[np.float64]:
        """Decode the next ``frames`` samples (C, T), fewer at the end of the part."""
        block = self._reader.read(min(frames, self._left))
        self._left -= block.shape[-1]
        return block

    def rewind(self) -> None:
        """Return to the first sample of the part."""
        self._reader.rewind()
        self._reader.skip(self._first)
        self._left = self.info.frames


class TwoStems:
    """Writes one of K stems, and all others as one; fulfils ``BlockWriter``.

    Args:
        writer: of these two.
        index: of the one.
    """

    def __init__(self, writer: StemWriter, index: int) -> None:
        self._writer, self._index = writer, index

    def write(
        self, stems: NDArray[np.float64], mixture: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Append a block (K, C, T), see ``StemWriter.write``; the two stems sum to the mixture.

        Returns:
            (K, C, T): the one as stored, and others that sum to what is stored of them.
        """
        others = np.delete(stems, self._index, axis=0).sum(axis=0)
        one, rest = self._writer.write(np.stack([stems[self._index], others]), mixture)
        stored = stems.copy()
        stored[self._index] = one
        stored[0 if self._index else 1] += rest - others
        return stored
