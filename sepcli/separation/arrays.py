"""Arrays of any layout to channels-first signals and back."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.errors import InputError, UsageError
from sepcli.signal.windows import RATES, Signal

Medium = Literal["audio", "image"]
AXES: Mapping[Medium, int] = {"audio": 1, "image": 2}
"""Numbers of axes of a channel."""
COLORS = (1, 3)
"""Numbers of channels that an image may have."""
READING: Mapping[Medium, str] = {
    "audio": "mixture, sample_rate = soundfile.read(path), then separate(mixture, sample_rate=sample_rate)",
    "image": "mixture = numpy.asarray(PIL.Image.open(path)), then separate(mixture)",
}
"""How a file becomes a mixture."""


@dataclass(frozen=True)
class Layout:
    """Layout of the caller's array.

    Attributes:
        channel_axis: the axis of the channels; None: there was none.
        dtype: a floating-point type of numpy; integers come back as float32.
        device: the torch device of a tensor; None for numpy arrays.
        medium: audio or image.
    """

    channel_axis: int | None
    dtype: Any
    device: torch.device | None
    medium: Medium

    @property
    def axis(self) -> int:
        """The axis of several channels: where there was none, the last of images in numpy, else the first."""
        if self.channel_axis is not None:
            return self.channel_axis
        return AXES[self.medium] if self.device is None and self.medium == "image" else 0

    def restore(self, signal: Tensor) -> Any:
        """Bring signals (..., C, *D) to the caller's layout, type and device.

        A single channel loses its axis if the input had none.
        """
        lead = signal.ndim - AXES[self.medium] - 1
        if self.channel_axis is None and signal.shape[lead] == 1:
            laid = signal.select(lead, 0)
        else:
            laid = signal.movedim(lead, lead + self.axis)
        if self.device is not None:
            return laid.to(device=self.device, dtype=self.dtype)
        return np.ascontiguousarray(laid.numpy().astype(self.dtype, copy=False))


def channels_first(signal: Any, medium: Medium, channel_axis: int | None = None) -> tuple[Signal, Layout]:
    """Bring an array, a tensor or nested sequences to (C, *D), float64; return its layout, too.

    Audio is (T,) or has two axes, the shorter of which is the channels; images are (H, W) or have a channel
    axis of length 1 or 3, first or last. Integers are divided by their full scale.

    Raises:
        UsageError: the signal is the path of a file, the channel axis is ambiguous or absent, or there are
            too many axes.
        InputError: the array is empty, or holds values that are not finite numbers.
    """
    device = signal.device if isinstance(signal, Tensor) else None
    array = signal.detach().cpu().numpy() if isinstance(signal, Tensor) else np.asarray(signal)
    if array.dtype.kind in "US" or isinstance(signal, os.PathLike):
        raise UsageError(
            f"the mixture is {reprlib.repr(signal)}, not an array of samples",
            f"read a file: {READING[medium]}",
            argument="signal",
        )
    if array.dtype.kind not in "fiu" or array.size == 0:
        raise InputError(
            f"a mixture of type {array.dtype} and shape {array.shape} holds no samples",
            "pass an array of floating-point or integer numbers",
            argument="signal",
        )
    values = _floats(array)
    if not np.isfinite(values).all():
        raise InputError(
            "the mixture holds NaN or infinite values", "replace these values", argument="signal"
        )
    axis = _channel_axis(array.shape, medium, channel_axis)
    first = values[None] if axis is None else np.moveaxis(values, axis, 0)
    kind: Any = array.dtype if array.dtype.kind == "f" else np.dtype(np.float32)
    if device is not None:
        kind = signal.dtype if signal.dtype.is_floating_point else torch.float32
    return np.ascontiguousarray(first), Layout(axis, kind, device, medium)


def checked_rate(medium: Medium, sample_rate: int | None, of_prior: int) -> int:
    """Return the sample rate of mixtures in Hz, 0 for images.

    Args:
        medium: of the mixtures.
        sample_rate: that the caller gives; None: none.
        of_prior: the prior's, for the advice.

    Raises:
        UsageError: audio has no sample rate, or one out of range, or images have one.
    """
    given: Any = sample_rate
    if medium == "image":
        if given is not None:
            raise UsageError("images have no sample rate", "leave it out", argument="sample_rate")
        return 0
    if given is None:
        hint = f"pass sample_rate, in Hz as its file says; that of the prior is {of_prior}"
        raise UsageError("the sample rate of the mixture is missing", hint, argument="sample_rate")
    low, high = RATES
    if isinstance(given, Real) and low <= float(given) <= high and float(given).is_integer():
        return round(float(given))
    hint = f"use a whole number from {low:,} to {high:,} Hz"
    raise UsageError(f"the sample rate is {given!r}", hint, argument="sample_rate")


def _floats(array: NDArray[Any]) -> Signal:
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    limits = np.iinfo(array.dtype)
    return array.astype(np.float64) / (limits.max if limits.min == 0 else limits.max + 1)


def _channel_axis(shape: tuple[int, ...], medium: Medium, given: int | None) -> int | None:
    signal_axes = AXES[medium]
    if len(shape) not in (signal_axes, signal_axes + 1):
        raise UsageError(
            f"a mixture of shape {shape} is not {medium}",
            f"pass an array of {signal_axes} or {signal_axes + 1} axes",
            argument="signal",
        )
    if len(shape) == signal_axes:
        if given is None:
            return None
        problem, hint = "has no channel axis", "leave channel_axis out"
    elif given is not None:
        if -len(shape) <= given < len(shape):
            return given % len(shape)
        problem, hint = f"has no axis {given}", "name an axis of the mixture"
    else:
        channels = [axis for axis in (0, 2) if shape[axis] in COLORS] if medium == "image" else []
        if medium == "audio" and shape[0] != shape[1]:
            channels = [int(shape[1] < shape[0])]
        if len(channels) == 1:
            return channels[0]
        problem, hint = "has no evident channel axis", "pass channel_axis; images have 1 or 3 channels"
    raise UsageError(f"a mixture of shape {shape} {problem}", hint, argument="channel_axis")
