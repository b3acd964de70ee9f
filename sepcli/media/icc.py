"""Color profiles of curves and a matrix (ICC.1:2022, section 8.3.3), applied to values of 16 bits.

::

    linear = curve(value) per channel,   XYZ = M linear,   sRGB = curve_sRGB^-1(M_sRGB^-1 XYZ)

Pillow's library converts images of 8 bits only. Profiles with tables of colors are left to it.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

LEVELS = 65536
"""Values of 16 bits."""
CURVES = {"RGB": (b"rTRC", b"gTRC", b"bTRC"), "GRAY": (b"kTRC",)}
"""Color space → tags of the curves of its channels."""
TABLES = {b"A2B0", b"A2B1", b"D2B0", b"D2B1"}
"""Tags of tables of colors, which supersede curves and matrix."""
PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""Kind of a parametric curve → number of its parameters (section 10.18)."""
STRIP = 256
"""Rows converted at once."""


def apply_profile(pixels: NDArray[np.float32], profile: bytes) -> NDArray[np.float32] | None:
    """Convert an image with a profile to sRGB.

    Args:
        pixels: (C, H, W) in [0, 1], of 16 bits; C is 1 for a gray profile and 3 for one of colors.
        profile: the ICC profile.

    Returns:
        (C, H, W) in [0, 1]; None if the profile has no curves for these channels, or tables, or is damaged.
    """
    try:
        opened: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
        names, tags = CURVES[opened.xcolor_space.strip()], _tags(profile)
        if len(names) != len(pixels) or opened.connection_space.strip() != "XYZ" or tags.keys() & TABLES:
            return None
        curves = [_curve(tags[name]) for name in names]
        matrix = _to_linear_srgb(opened) if len(names) == 3 else np.eye(1)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, LookupError, struct.error):
        return None
    result = np.empty(pixels.shape, np.float32)
    for start in range(0, pixels.shape[1], STRIP):
        rows = slice(start, start + STRIP)
        values = np.rint(pixels[:, rows] * (LEVELS - 1.0)).astype(np.uint16)
        linear = np.stack([curve[plane] for curve, plane in zip(curves, values, strict=True)])
        result[:, rows] = encode_srgb(np.einsum("ck,khw->chw", matrix, linear).clip(0.0, 1.0))
    return result


def is_srgb(profile: bytes) -> bool:
    """Return whether a profile names itself sRGB."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return False
    return "sRGB" in (opened.profile.profile_description or "")


def encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of sRGB for linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Return the data of the tags of a profile by signature (section 7.3)."""
    (count,) = struct.unpack(">I", profile[128:132])
    entries = [struct.unpack(">4sII", profile[132 + 12 * n : 144 + 12 * n]) for n in range(min(count, 200))]
    return {name: profile[start : start + size] for name, start, size in entries}


def _curve(data: bytes) -> NDArray[np.float64]:
    """Return the linear light (65536) of all values of a curve (sections 10.6 and 10.18)."""
    levels = np.linspace(0.0, 1.0, LEVELS)
    (kind, count) = struct.unpack(">4s4xI", data[:12])
    if kind == b"curv" and count < 2:
        return np.asarray(levels ** (int.from_bytes(data[12:14], "big") / 256 if count else 1.0))
    if kind == b"curv":
        table = np.frombuffer(data, ">u2", count, 12) / 65535
        return np.interp(levels, np.linspace(0.0, 1.0, count), table)
    if kind != b"para":
        raise ValueError("there is no such curve")
    number = count >> 16
    values = np.zeros(7)
    values[: PARAMETERS[number]] = np.frombuffer(data, ">i4", PARAMETERS[number], 12) / 65536
    g, a, b, c, d, e, f = map(float, values)
    if number == 0:
        a, d = 1.0, 0.0
    elif number < 3:  # constant below the point where the base of the power is 0
        c, d, e, f = 0.0, -b / a, c, c
    power = np.maximum(a * levels + b, 0.0) ** g + e
    return np.asarray(np.where(levels >= d, power, c * levels + f).clip(0.0, 1.0))


def _to_linear_srgb(profile: Any) -> NDArray[np.float64]:
    """Return the matrix (3, 3) from a profile's linear light to that of sRGB."""

    def matrix(of: Any) -> NDArray[np.float64]:
        return np.array([of.red_colorant[0], of.green_colorant[0], of.blue_colorant[0]]).T

    return np.asarray(np.linalg.solve(matrix(ImageCms.createProfile("sRGB")), matrix(profile)))
