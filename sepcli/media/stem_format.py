"""How stems are stored: what the user chose, and what follows from the mixture's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sepcli.errors import InputError, UsageError
from sepcli.media.audio import AudioInfo
from sepcli.media.stem_box import STEM_MP4

Container = Literal["wav", "flac", "mp3", "ogg", "opus", "m4a", "stem.mp4"]
Depth = Literal["16", "24", "32f"]

INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
SUBTYPES: dict[Depth, str] = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}
BITRATES: dict[Container, int] = {
    "mp3": 320_000,
    "ogg": 192_000,
    "opus": 160_000,
    "m4a": 256_000,
    "stem.mp4": 256_000,
}
"""Default bits per second of lossy containers, of up to two channels; of ``stem.mp4`` per track."""
FORMATS: dict[Container, str] = {"stem.mp4": STEM_MP4}
"""Lossy container → its name in ``FileFormat``, where that is not simply in capitals."""
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
    def together(self) -> bool:
        """Whether all stems, and the mixture, are in one file."""
        return self.format == STEM_MP4

    @property
    def bits(self) -> int | None:
        """Bits per integer sample; None for floating-point samples."""
        return INTEGER_BITS.get(self.subtype)


AS_MIXTURE = Encoding()
"""Stems are stored as the mixture is."""


def stem_format(info: AudioInfo, encoding: Encoding = AS_MIXTURE) -> StemFormat:
    """Choose the format of stems.

    FLAC has integers of at most 24 bits: there, stems of a float, lossy or 32-bit mixture are stored as
    PCM_24, and sum to the mixture rounded to 24 bits and clipped to full scale.

    Raises:
        UsageError: the container has no such sample format or bit rate.
        InputError: it has no such number of channels.
    """
    container = encoding.container or (
        "flac" if info.format == "FLAC" and info.subtype != "PCM_32" else "wav"
    )
    lossy = container in BITRATES
    if encoding.bitrate is not None and not lossy:
        raise UsageError(
            f"{container} has no bit rate", "choose mp3, ogg, opus, m4a or stem.mp4", argument="bitrate"
        )
    if encoding.depth is not None and (lossy or (container == "flac" and encoding.depth == "32f")):
        raise UsageError(
            f"{container} has no samples of {encoding.depth} bits", "choose wav", argument="depth"
        )
    if container == "stem.mp4" and info.channels > 2:
        raise InputError(
            f"{info.path} has {info.channels} channels, and stem.mp4 is stereo", "choose m4a or flac"
        )
    if lossy:
        bitrate = encoding.bitrate or BITRATES[container] * max(1, -(-info.channels // 2))
        name = FORMATS.get(container, container.upper())
        return StemFormat(name, "VORBIS" if container == "ogg" else "", container, bitrate)
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
