"""Speaker layouts: masks of WAVEFORMATEXTENSIBLE, their names in FFmpeg, and the channel order of Ogg.

A mask has one bit per speaker, and channels come in the order of the bits. 0 stands for an unknown layout,
``AMBISONIC`` for channels that are no speakers.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sepcli.media.riff import wav_chunks

SPEAKERS = [
    "FL",
    "FR",
    "FC",
    "LFE",
    "BL",
    "BR",
    "FLC",
    "FRC",
    "BC",
    "SL",
    "SR",
    "TC",
    "TFL",
    "TFC",
    "TFR",
    "TBL",
    "TBC",
    "TBR",
]
"""Names of the bits of a mask, from the lowest on."""
DEFAULT_MASKS = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
"""Masks of 1 to 8 channels in FLAC (RFC 9639, section 9.1.3), Ogg Vorbis and Opus, by default."""
VORBIS_ORDERS = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}
"""Channel of Vorbis (specification I, section 4.3.9; Opus alike) at every position of the mask's order."""
AMBISONIC = -1
"""The mask of ambisonic B-format."""
AMBISONIC_GUID = bytes.fromhex("21 07 d3 11 86 44 c8 c1 ca 00 00 00")
"""Last 12 bytes of the format GUIDs of ambisonic B-format."""
FLAC_COMMENT = "WAVEFORMATEXTENSIBLE_CHANNEL_MASK"
"""Comment that holds a mask in FLAC (RFC 9639, section 8.6.2)."""
EXTENSIBLE = 0xFFFE
"""Format tag of WAVEFORMATEXTENSIBLE."""


def mask_of(names: tuple[str, ...]) -> int:
    """Return the mask of speakers by name; 0 if one is unknown or they are not in the order of the bits."""
    bits = [SPEAKERS.index(name) if name in SPEAKERS else -1 for name in names]
    return sum(1 << bit for bit in bits) if bits and min(bits) >= 0 and bits == sorted(set(bits)) else 0


def names_of(mask: int) -> tuple[str, ...]:
    """Return the names of a mask's speakers, in the order of the channels."""
    return tuple(name for bit, name in enumerate(SPEAKERS) if mask >> bit & 1)


def from_vorbis_order(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return samples (T, C) of Ogg Vorbis or Opus with channels in the order of masks."""
    order = VORBIS_ORDERS.get(samples.shape[1])
    return samples if order is None else samples[:, order]


def to_vorbis_order(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return samples (T, C) with channels in the order of Ogg Vorbis and Opus."""
    order = VORBIS_ORDERS.get(samples.shape[1])
    return samples if order is None else samples[:, np.argsort(order)]


def flac_mask(path: Path) -> int:
    """Return the mask in the comments of a FLAC file; 0 if there is none, or they cannot be read."""
    import mutagen.flac

    flac: Any = mutagen.flac.FLAC  # untyped
    try:
        return int(flac(path).get(FLAC_COMMENT, ["0"])[0], 16)
    except (mutagen.MutagenError, ValueError):
        return 0


def set_flac_mask(file: BinaryIO, mask: int) -> None:
    """Note a mask in the comments of a FLAC file, unless it is that of its number of channels.

    Raises:
        OSError: The file is not whole, or cannot be written.
    """
    import mutagen.flac

    flac: Any = mutagen.flac.FLAC
    try:
        file.seek(0)
        tags = flac(file)
        if DEFAULT_MASKS.get(tags.info.channels) != mask:
            tags[FLAC_COMMENT] = f"0x{mask:X}"
            file.seek(0)
            tags.save(file)
    except mutagen.MutagenError as error:
        raise OSError(f"the comments cannot be written: {error}") from error


def wav_mask(path: Path) -> int:
    """Return the mask in the header of a WAV file (RIFF, RF64); 0 if it has none."""
    with path.open("rb") as file:
        start = _extension(file)
        if start is None:
            return 0
        file.seek(start)
        mask, guid = struct.unpack("<I16s", file.read(20))
    return AMBISONIC if guid[4:] == AMBISONIC_GUID else int(mask)


def set_wav_mask(file: BinaryIO, mask: int) -> None:
    """Replace the mask in the header of a WAV file of WAVEFORMATEXTENSIBLE.

    Raises:
        OSError: The file has no such header.
    """
    file.seek(0)
    start = _extension(file)
    if start is None:
        raise OSError("the file has no extensible format")
    file.seek(start)
    file.write(struct.pack("<I", max(mask, 0)))
    if mask == AMBISONIC:
        file.seek(start + 8)
        file.write(AMBISONIC_GUID)


def _extension(file: BinaryIO) -> int | None:
    """Return the position of the mask in the format chunk of a WAV file, or None."""
    for name, size in wav_chunks(file):
        if name == b"fmt ":
            start = file.tell()
            data = file.read(min(size, 40))
            return start + 20 if len(data) == 40 and data[:2] == struct.pack("<H", EXTENSIBLE) else None
    return None
