"""Options for training the parts of LASS; this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sepcli.settings import check


@dataclass(frozen=True)
class AudioOptions:
    """Options of the parts of LASS for audio; there are none."""


@dataclass(frozen=True)
class ImageCodecOptions:
    """Options of a codec of images.

    Attributes:
        size: side, in pixels, to which the images of a folder are resized; default: their common size, or 64.
        channels: 1: gray, 3: color; default: color if an image of the folder has any.
        flip: whether to train on mirror images as well; default: if there are colors.
    """

    size: Annotated[int, Meta(ge=8, le=1024)] | None = None
    channels: Literal[1, 3] | None = None
    flip: bool | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            UsageError: a value is out of range.
        """
        check(self)


@dataclass(frozen=True)
class ImageTransformerOptions:
    """Options of a transformer over the tokens of images.

    Attributes:
        classes: classes that the transformer is conditioned on: of MNIST halves or digits, of a folder its
            folders.
        class_dropout: share of training images whose class is withheld.
        flip: whether to train on mirror images as well; default: if there are colors.
    """

    classes: Literal["none", "halves", "digits", "folders"] = "none"
    class_dropout: Annotated[float, Meta(ge=0, le=1)] = 0.5
    flip: bool | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            UsageError: a value is out of range.
        """
        check(self)
