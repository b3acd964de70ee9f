"""Conversion of images with a color profile or a gamma to sRGB, in which priors are trained."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from sepcli.media.icc import apply_profile, is_srgb

SPACES = {"GRAY": ("L",), "RGB": ("RGB",), "CMYK": ("CMYK",)}
"""Color spaces of profiles → modes of Pillow that have them."""
GAMMA = 1 / 2.2
"""Gamma of a PNG file that needs no conversion (PNG specification, third edition, section 11.3.2.2)."""


def to_srgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert an image with an ICC profile, or with a gamma of PNG, to sRGB.

    Returns:
        The image, in its own mode if it is gray or in color, and notes on what is ignored.
    """
    profile = image.info.get("icc_profile")
    if profile:
        return _from_profile(image, bytes(profile))
    exponent = png_exponent(image)
    if exponent == 1:
        return image, ()
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        return image, ("its gamma is ignored",)
    curve = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(int).tolist()
    same = list(range(256))
    bands = [
        *([curve] * (3 if image.mode.startswith("RGB") else 1)),
        *([same] if image.mode[-1] == "A" else []),
    ]
    return image.point([value for band in bands for value in band]), ()


def png_exponent(image: Image.Image) -> float:
    """Return the power that converts values in [0, 1] to sRGB by the gamma of PNG; 1 if there is none."""
    gamma = image.info.get("gamma")
    if not isinstance(gamma, float) or gamma <= 0 or abs(gamma - GAMMA) < 0.01:
        return 1.0
    return 1.0 if "srgb" in image.info or image.info.get("icc_profile") else GAMMA / gamma


def deep_to_srgb(
    pixels: NDArray[np.float32], image: Image.Image
) -> tuple[NDArray[np.float32], tuple[str, ...]] | None:
    """Convert pixels (C, H, W) in [0, 1], of 16 bits, by profile or gamma of their image to sRGB.

    Returns:
        Pixels, and notes on what is ignored; None if only ``to_srgb`` can convert the image.
    """
    exponent = png_exponent(image)
    if exponent != 1:
        return np.power(pixels, np.float32(exponent)), ()
    profile = bytes(image.info.get("icc_profile") or b"")
    if not profile or is_srgb(profile):
        return pixels, ()
    converted = apply_profile(pixels, profile)
    if converted is not None:
        return converted, ()
    same, notes = to_srgb(image)
    return (pixels, notes) if same is image else None


def _from_profile(image: Image.Image, data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    try:
        if is_srgb(data):
            return image, ()
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = profile.profile.xcolor_space.strip()
        colors, alpha = _without_alpha(image)
        if colors.mode not in SPACES.get(space, ()):
            return image, ("its color profile is ignored",)
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(
            colors, profile, target, outputMode="RGB", flags=ImageCms.Flags.NOOPTIMIZE
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image, ("its color profile is damaged and ignored",)
    if converted is None:
        return image, ("its color profile is ignored",)
    if space == "GRAY":
        converted = converted.getchannel(0)
    if alpha is not None:
        converted.putalpha(alpha)
    converted.info = {
        key: value for key, value in image.info.items() if key not in ("icc_profile", "transparency")
    }
    return converted, ()


def _without_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colors of an image and its opacity, if it has transparency."""
    if image.mode == "1":
        image = image.convert("L")
    if not image.has_transparency_data:
        return (image.convert("RGB") if image.mode == "P" else image), None
    both = image.convert("LA" if image.mode in ("L", "LA") else "RGBA")
    return both.convert("L" if both.mode == "LA" else "RGB"), both.getchannel("A")
