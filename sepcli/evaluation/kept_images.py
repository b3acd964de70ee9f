"""Images that a run separates, kept in 8 bits until its end."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sepcli.errors import OutputError

if TYPE_CHECKING:
    from torch import Tensor

Images = NDArray[np.uint8]  # (N, C, H, W)


@dataclass(frozen=True)
class ImageFile:
    """Images of 8 bits, (N, K, C, H, W) per row, of N items with K images each, in one file of fixed size."""

    file: BinaryIO
    rows: Sequence[str]
    shape: tuple[int, ...]

    def put(self, number: int, row: str, images: Tensor) -> None:
        """Keep an item's images (K, C, H, W) in [0, 1] of one row."""
        data = (images.clamp(0.0, 1.0) * 255.0).round().byte().numpy().tobytes()
        try:
            self.file.seek((self.rows.index(row) * self.shape[0] + number) * len(data))
            self.file.write(data)
            self.file.flush()
        except OSError as error:
            raise OutputError(f"cannot keep images: {error.strerror}", "free some space") from error

    def sets(self) -> dict[str, Images]:
        """All images by row, mapped into memory."""
        count, each, *image = self.shape
        mapped = np.memmap(self.file, np.uint8, "r", shape=(len(self.rows), count * each, *image))
        return dict(zip(self.rows, mapped, strict=True))


def image_place(journal: Path) -> Path:
    """Return the path of a run's images, beside its journal."""
    return journal.with_name(f"{journal.name}.images")


def has_images(path: Path, rows: Sequence[str], shape: tuple[int, ...]) -> bool:
    """Whether a file has the size of the images of a run."""
    return path.is_file() and path.stat().st_size == len(rows) * math.prod(shape)


@contextmanager
def keep_images(
    rows: Sequence[str], shape: tuple[int, ...], path: Path | None, go_on: bool
) -> Iterator[ImageFile]:
    """Open a file for images (N, K, C, H, W) of every row, a temporary one without a path.

    An existing file is continued with ``go_on``, else replaced.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        if path is None:
            file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        elif go_on:
            file = path.open("r+b")
        else:
            path.unlink(missing_ok=True)  # not written through if it is a link
            file = path.open("x+b")
    except OSError as error:
        message = f"cannot keep images: {error.strerror}"
        raise OutputError(message, "choose another file for the report") from error
    with file:
        try:
            file.truncate(len(rows) * math.prod(shape))
        except (OSError, OverflowError) as error:  # too large for the disk, or for a file
            with suppress(OSError):
                if path is not None:
                    path.unlink()
            reason = getattr(error, "strerror", None) or "they are too many"
            raise OutputError(f"cannot keep images: {reason}", "ask for fewer") from error
        yield ImageFile(file, rows, shape)
