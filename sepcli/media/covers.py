"""Cover images: read from the tags of recordings, and written to those of FLAC, Ogg, MP3 and MP4."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sepcli.media.stem_box import STEM_MP4

FRONT = 3
"""Type of an image in ID3 and FLAC (RFC 9639, section 8.8): the front cover."""
MOST_BYTES = (1 << 24) - (1 << 10)
"""Bytes up to which an image is copied: a block of FLAC's metadata holds 16 MiB."""
MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
"""First bytes of images → MIME type."""
MP4_FORMATS = {"image/jpeg": 13, "image/png": 14}
"""MIME types of images in MP4 → their numbers there."""
ERRORS = (OSError, ValueError, LookupError, TypeError, struct.error)
"""Exceptions for tags that are damaged, besides those of mutagen."""


@dataclass(frozen=True)
class Cover:
    """An image in the tags of a recording.

    Attributes:
        data: the image file.
    """

    data: bytes = field(repr=False)

    @property
    def mime(self) -> str:
        """Its MIME type; empty if it is not known."""
        return next((mime for magic, mime in MAGIC.items() if self.data.startswith(magic)), "")


def read_cover(path: Path) -> Cover | None:
    """Return the front cover of a recording, else its first image; None if its tags hold none."""
    import mutagen

    read: Any = mutagen.File  # untyped
    try:
        file = read(path)
        images = [] if file is None else sorted(_images(file), key=lambda one: one[0] != FRONT)
    except (mutagen.MutagenError, *ERRORS):
        return None
    return Cover(bytes(images[0][1])) if images else None


def holds_cover(container: str, cover: Cover) -> bool:
    """Return whether files of a container, in the names of ``FileFormat``, can hold an image."""
    mimes = MP4_FORMATS if container in ("M4A", STEM_MP4) else MAGIC.values()
    return container in WRITERS and cover.mime in mimes and len(cover.data) <= MOST_BYTES


def add_cover(file: BinaryIO, container: str, cover: Cover) -> None:
    """Add an image to the tags of a whole file, if its container can hold it.

    Raises:
        OSError: The file cannot be written.
    """
    import mutagen

    if not holds_cover(container, cover):
        return
    try:
        file.seek(0)
        tags = WRITERS[container](file, cover)
        file.seek(0)
        tags.save(file)
    except mutagen.MutagenError as error:
        raise OSError(f"the cover cannot be written: {error}") from error


def _images(file: Any) -> Iterator[tuple[int, bytes]]:
    """Yield type and data of the images in the tags of a file."""
    from mutagen.flac import Picture

    for block in getattr(file, "metadata_blocks", ()):  # FLAC
        if isinstance(block, Picture):
            yield block.type, block.data
    for name, value in () if file.tags is None else dict(file.tags).items():
        if name.startswith("APIC"):  # ID3
            yield value.type, value.data
        elif name == "covr":  # MP4
            yield from ((FRONT, image) for image in value)
        elif name.lower() == "metadata_block_picture":  # Ogg
            for image in map(Picture, map(base64.b64decode, value)):
                yield image.type, image.data
        elif name == "Cover Art (Front)":  # APE: a name, and the image
            yield FRONT, value.value.partition(b"\0")[2]
        elif name == "WM/Picture":  # ASF: type and size, two names, and the image
            for image in value:
                kind, size = struct.unpack("<BI", image.value[:5])
                yield kind, image.value[len(image.value) - size :]


def _picture(cover: Cover) -> Any:
    from mutagen.flac import Picture

    image: Any = Picture()  # type: ignore[no-untyped-call]
    image.type, image.mime, image.data = FRONT, cover.mime, cover.data
    return image


def _with_flac(file: BinaryIO, cover: Cover) -> Any:
    import mutagen.flac

    flac: Any = mutagen.flac.FLAC
    tags = flac(file)
    tags.add_picture(_picture(cover))
    return tags


def _with_ogg(file: BinaryIO, cover: Cover) -> Any:
    import mutagen

    read: Any = mutagen.File
    tags = read(file)
    tags["metadata_block_picture"] = [base64.b64encode(_picture(cover).write()).decode()]
    return tags


def _with_id3(file: BinaryIO, cover: Cover) -> Any:
    import mutagen.id3

    read: Any = mutagen.id3.ID3
    tags = read(file)
    image: Any = mutagen.id3.APIC
    tags.add(image(mime=cover.mime, type=FRONT, data=cover.data))
    return tags


def _with_mp4(file: BinaryIO, cover: Cover) -> Any:
    import mutagen.mp4

    read: Any = mutagen.mp4.MP4
    image: Any = mutagen.mp4.MP4Cover
    tags = read(file)
    tags["covr"] = [image(cover.data, MP4_FORMATS[cover.mime])]
    return tags


WRITERS: Mapping[str, Callable[[BinaryIO, Cover], Any]] = {
    "FLAC": _with_flac,
    "OGG": _with_ogg,
    "OPUS": _with_ogg,
    "MP3": _with_id3,
    "M4A": _with_mp4,
    STEM_MP4: _with_mp4,
}
"""Container → what adds an image to the tags of a file, and returns them."""
