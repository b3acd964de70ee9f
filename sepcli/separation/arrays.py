"""Arrays of any layout to channels-first signals and back; in-memory readers and writers of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.errors import InputError, UsageError

Medium = Literal["audio", "image"]
Signal = NDArray[np.float64]
COLORS = (1, 3)
"""Numbers of channels that an image may have."""


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

    def restore(self, signal: Tensor) -> Any:
        """Bring signals (..., C, *D) to the caller's layout, type and device.

        A single channel loses its axis if the input had none; several channels of an image without a channel
        axis come last in numpy arrays and first in tensors.
        """
        signal_axes = 1 if self.medium == "audio" else 2
        lead = signal.ndim - signal_axes - 1
        if self.channel_axis is None and signal.shape[lead] == 1:
            laid = signal.select(lead, 0)
        else:
            last = self.device is None and self.medium == "image"
            axis = self.channel_axis if self.channel_axis is not None else (signal_axes if last else 0)
            laid = signal.movedim(lead, lead + axis)
        if self.device is not None:
            return laid.to(device=self.device, dtype=self.dtype)
        return np.ascontiguousarray(laid.numpy().astype(self.dtype, copy=False))


def channels_first(signal: Any, medium: Medium, channel_axis: int | None = None) -> tuple[Signal, Layout]:
    """Bring an array of a caller to (C, *D).

    Audio is (T,) or has two axes, the shorter of which is the channels; images are (H, W) or have a channel
    axis of length 1 or 3, first or last. Integers are divided by their full scale.

    Args:
        signal: a numpy array, a tensor, or nested sequences of numbers.
        medium: audio or image.
        channel_axis: the axis of the channels, where it is not evident.

    Returns:
        (C, *D) float64 and the layout to bring results back to.

    Raises:
        UsageError: the channel axis is ambiguous or absent, or there are too many axes.
        InputError: the array is empty, or holds values that are not finite numbers.
    """
    device = signal.device if isinstance(signal, Tensor) else None
    array = signal.detach().cpu().numpy() if isinstance(signal, Tensor) else np.asarray(signal)
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


def _floats(array: NDArray[Any]) -> Signal:
    """Values as float64; integers by their full scale."""
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    limits = np.iinfo(array.dtype)
    return array.astype(np.float64) / (limits.max if limits.min == 0 else limits.max + 1)


def _channel_axis(shape: Sequence[int], medium: Medium, given: int | None) -> int | None:
    """The axis of the channels, None where there is none."""
    signal_axes = 1 if medium == "audio" else 2
    if len(shape) not in (signal_axes, signal_axes + 1):
        raise UsageError(
            f"a mixture of shape {tuple(shape)} is not {medium}",
            f"pass an array of {signal_axes} or {signal_axes + 1} axes",
            argument="signal",
        )
    if len(shape) == signal_axes:
        if given is not None:
            raise UsageError(
                f"a mixture of shape {tuple(shape)} has no channel axis",
                "leave it out",
                argument="channel_axis",
            )
        return None
    if given is not None:
        if not -len(shape) <= given < len(shape):
            raise UsageError(
                f"channel_axis {given} is out of range for shape {tuple(shape)}",
                "name an axis of the mixture",
                argument="channel_axis",
            )
        return given % len(shape)
    if medium == "audio":
        if shape[0] == shape[1]:
            raise UsageError(
                f"the channel axis of shape {tuple(shape)} is ambiguous",
                "pass channel_axis=0 or 1",
                argument="channel_axis",
            )
        return int(shape[1] < shape[0])
    fitting = [axis for axis in (0, 2) if shape[axis] in COLORS]
    if len(fitting) != 1:
        raise UsageError(
            f"the channel axis of shape {tuple(shape)} is {'ambiguous' if fitting else 'missing'}",
            "pass channel_axis, of 1 or 3 channels",
            argument="channel_axis",
        )
    return fitting[0]


@dataclass(frozen=True)
class ArrayInfo:
    """Name, sample rate and size of a signal in memory; see ``sepcli.media.audio.AudioInfo``."""

    name: str
    sample_rate: int
    """Hz."""
    channels: int
    frames: int
    """Samples per channel."""

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.frames / self.sample_rate


class ArrayReader:
    """A signal (C, T) in memory, read in blocks; fulfils ``BlockReader``."""

    def __init__(self, signal: Signal, sample_rate: int, name: str = "the mixture") -> None:
        self.info = ArrayInfo(name, sample_rate, *signal.shape)
        self._signal, self._position = signal, 0

    def read(self, frames: int) -> Signal:
        """The next ``frames`` samples (C, T), fewer at the end."""
        block = self._signal[:, self._position : self._position + frames]
        self._position += block.shape[-1]
        return block

    def rewind(self) -> None:
        """Start again at the first sample."""
        self._position = 0


class ArrayWriter:
    """Keeps the blocks of K stems (K, C, T) in memory; fulfils ``BlockWriter``."""

    def __init__(self) -> None:
        self._blocks: list[Signal] = []

    def write(self, stems: Signal, mixture: Signal | None = None) -> Signal:
        """Append a block (K, C, T) as it is; floats need no rounding to sum to the mixture."""
        self._blocks.append(stems)
        return stems

    @property
    def stems(self) -> Tensor:
        """All of the stems (K, C, T), float64."""
        return torch.from_numpy(np.concatenate(self._blocks, axis=-1))
