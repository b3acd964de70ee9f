"""The mixture and its stems as tracks of one MP4 file, for DJ software and DAWs: ``.stem.mp4``.

The layout is that of Native Instruments, and of MUSDB18: stereo tracks in AAC, the mixture first, which other
players play, as only its track is enabled. Players of stems demand four of them: fewer are filled up with
silent ones, more are written as they are. Mono is written to both channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sepcli.media.covers import add_cover
from sepcli.media.file_format import FileFormat
from sepcli.media.libav_encoder import Track
from sepcli.media.stem_box import append_stem_box, filled_up
from sepcli.media.tags import to_libav

MIXTURE = "mixture"
"""Title of the first track."""


class StemMp4Encoder:
    """A file of the mixture and K stems; fulfils ``Encoder``.

    Args:
        file: open for reading and writing, and empty.
        form: its rate, bits per second of every track, and tags.
        names: of the stems.

    Raises:
        OSError, ValueError: AAC has no such rate.
    """

    def __init__(self, file: BinaryIO, form: FileFormat, names: Sequence[str]) -> None:
        import av

        self._file, self._format, self._names = file, form, names
        options = {"movie_timescale": str(form.rate)}  # else the length is rounded to ms
        self._container: Any = av.open(file, "w", format="ipod", options=options)
        self._container.metadata.update(to_libav(form.tags.texts))
        try:
            self._tracks = [
                Track(self._container, "aac", form.rate, "stereo", form.bitrate, title=title)
                for title in (MIXTURE, *filled_up(names))
            ]
        except BaseException:
            self._container.close()
            raise

    @property
    def samples(self) -> int:
        """Length of the closed file in samples."""
        return self._tracks[0].samples

    def write(self, samples: NDArray[Any]) -> None:
        """Append the mixture and the stems (1 + K, T, C): floating point at full scale 1, C is 1 or 2."""
        stereo = np.broadcast_to(samples, (*samples.shape[:2], 2))
        silence = np.zeros(stereo.shape[1:], np.float32)
        for number, track in enumerate(self._tracks):
            track.append(stereo[number] if number < len(stereo) else silence)

    def close(self) -> None:
        """Write what is left, once; the file stays open."""
        if self._container is None:
            return
        for track in self._tracks:
            track.finish()
        self._container.close()
        self._container = None
        if self._format.tags.cover is not None:
            add_cover(self._file, self._format.container, self._format.tags.cover)
        append_stem_box(self._file, self._names)
