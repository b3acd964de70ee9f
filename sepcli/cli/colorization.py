"""``sepcli colorize`` for one image: its colorizations, what they have in common, and a record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli import __version__
from sepcli.cli import console
from sepcli.cli.image_samples import describe, draw_labels
from sepcli.cli.resume import replace_record
from sepcli.errors import InputError, SepError
from sepcli.media.contact_sheet import CELL, contact_sheet
from sepcli.media.grayscale import find_gray, is_gray
from sepcli.media.images import RasterImage, as_channels, read_image, write_images
from sepcli.separation.ranking import RankedDraws, ranked
from sepcli.separation.seeds import sample_seeds
from sepcli.signal.chroma import (
    GRAYS,
    diversity,
    enlarged,
    gray_of,
    hinted,
    locked,
    reduced,
    stretched,
    working_size,
)

if TYPE_CHECKING:
    from sepcli.cli.inputs import Job
    from sepcli.priors.images.colorizer import Colorizer

LARGE = 4 * CELL
"""The longest side on a contact sheet."""
STEP = 1 / 255
"""One level of 8 bits."""
DIVERSITY = "mean over pairs of draws of the rms difference of their chroma, in 8-bit levels, at working_size"
"""What ``diversity`` in a record is, for people."""


@dataclass(frozen=True)
class Colorization:
    """What is asked for, of every image alike.

    Attributes:
        colorizer: prior and sampler.
        gray: a key of ``GRAYS``; None: found for every image.
        hint: a file of strokes.
        samples: how many draws.
        seed: of the draws.
        overwrite: replace files that exist.
        quiet: no progress and no notes.
        made_with: what the record says of all this.
    """

    colorizer: Colorizer
    gray: str | None
    hint: Path | None
    samples: int
    seed: int
    overwrite: bool
    quiet: bool
    made_with: Mapping[str, Any]

    @property
    def weights(self) -> Sequence[float]:
        """The w of the gray Σ w_c x_c."""
        return self.colorizer.weights


def color(job: Job, task: Colorization) -> dict[str, Any]:
    """Color one image and write all its files.

    Returns:
        The record.

    Raises:
        InputError: the image or the hint cannot be used.
        OutputError: a place cannot be written.
    """
    started = time.monotonic()
    image = read_image(job.source, first=True)
    kind, why = (task.gray, "as --gray says") if task.gray else find_gray(image)
    task = replace(task, colorizer=replace(task.colorizer, weights=GRAYS[kind]))
    had_colors = not is_gray(image)
    image = _in_gray(job, image, task)
    gray = torch.from_numpy(image.pixels[0])
    height, width = gray.shape
    small = reduced(gray[None], working_size(height, width, task.colorizer.short))[0]
    hint = None if task.hint is None else _read_hint(task.hint, gray, small, task.weights)
    seeds = torch.tensor(sample_seeds(task.seed, 0, task.samples))
    sets = _draw(job, task, small, hint, seeds)
    write_images(_results(job, image, small, sets, task.weights), overwrite=task.overwrite)
    record = {
        "input": str(job.source),
        "frames": image.frames,
        "had_colors": had_colors,
        "colorizations": [str(path) for (path,) in job.stems[: task.samples]],
        "contact_sheet": str(job.sheet),
        **task.made_with,
        "gray": kind,
        "gray_from": why,
        "weights": list(task.weights),
        "size": [height, width],
        "working_size": list(small.shape),
        "residual_rms": sets.residual.tolist(),
        **(_described(job, sets, seeds.tolist()) if task.samples > 1 else {}),
        "seconds": time.monotonic() - started,
        "versions": {"sepcli": __version__, "torch": torch.__version__},
    }
    return replace_record(job, record, task.quiet)


def _in_gray(job: Job, image: RasterImage, task: Colorization) -> RasterImage:
    """The image without its colors."""
    if image.frames > 1:
        console.note(f"{job.track}: only the first of {image.frames} images is colorized", task.quiet)
    if is_gray(image):
        return replace(image, pixels=image.pixels[:1])
    console.note(f"{job.track} has colors: they are dropped, its gray is colorized anew", task.quiet)
    gray = gray_of(torch.from_numpy(image.pixels), task.weights).clamp(0.0, 1.0)
    return replace(image, pixels=gray[None].numpy())


def _read_hint(path: Path, gray: Tensor, small: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The colors of a file of strokes, at the size of the small gray; see ``hinted``."""
    strokes = read_image(path)
    (height, width), (h, w) = gray.shape, strokes.pixels.shape[1:]
    if (h, w) != (height, width):
        raise InputError(
            f"the hint {path} has {w} x {h} pixels, the image {width} x {height}", "make them of one size"
        )
    if strokes.alpha is None or not strokes.alpha.any():
        raise InputError(
            f"the hint {path} holds no strokes on transparency", "paint colors on a transparent layer"
        )
    colors, alpha = as_channels(strokes, 3, path), strokes.alpha.astype(np.float32) / 255
    return hinted(torch.from_numpy(colors), torch.from_numpy(alpha), small, weights)


def _draw(
    job: Job, task: Colorization, small: Tensor, hint: tuple[Tensor, Tensor] | None, seeds: Tensor
) -> RankedDraws:
    """Draws (S, 3, 1, h, w) of exactly the gray ``small``, ranked as they were before that was enforced."""
    separator = task.colorizer.separator(hint)
    with console.progress(job.track, task.quiet) as on_progress:
        drawn = separator(small[None, None], seeds[None], on_progress)[0].clamp(0, 1)
        bounds = separator.log_prior(drawn) if task.samples > 1 else None
    if not torch.isfinite(drawn).all():
        raise SepError(f"the colors of {job.source} are not finite", "use more steps, or another sampler")
    sets = ranked(drawn, small[None], task.weights, bounds)
    exact = locked(small, sets.draws[:, :, 0] - small, task.weights)
    return replace(sets, draws=exact[:, :, None])


def _results(
    job: Job, image: RasterImage, small: Tensor, sets: RankedDraws, weights: Sequence[float]
) -> Iterator[tuple[Path, RasterImage]]:
    """All images of a job, one after the other; none is held here, for they may be large."""
    gray = torch.from_numpy(image.pixels[0])

    def result(number: int, path: Path) -> RasterImage:
        pixels = _shown(number, gray, small, sets, weights)
        if number < len(sets.draws) and pixels.amax(0).sub_(pixels.amin(0)).max() < STEP:
            console.warn(f"{path} has no colors, it equals the input")
        return RasterImage(pixels.numpy(), image.alpha, image.bits)

    for number, (path,) in enumerate(job.stems):
        yield path, result(number, path)
    if job.sheet is not None:
        yield job.sheet, RasterImage(_sheet(len(job.stems), gray, small, sets, weights))


def _sheet(
    count: int, gray: Tensor, small: Tensor, sets: RankedDraws, weights: Sequence[float]
) -> NDArray[np.float32]:
    """The gray beside all ``count`` results, at a size that is easily looked at."""
    shrink = min(1.0, LARGE / max(gray.shape))
    height, width = (max(1, round(side * shrink)) for side in gray.shape)
    view = reduced(gray[None], (height, width))
    labels = [*draw_labels(sets), "mean", f"standard deviation\nx {_scale(sets):.3g}"] if count > 1 else [""]
    shown = [_shown(number, view[0], small, sets, weights).numpy() for number in range(count)]
    rows = [[None if number else view.numpy(), pixels] for number, pixels in enumerate(shown)]
    return contact_sheet(rows, ["gray", "colors"], labels)


def _shown(number: int, gray: Tensor, small: Tensor, sets: RankedDraws, weights: Sequence[float]) -> Tensor:
    """A draw at the size of ``gray``; the numbers behind the last are their mean and their standard deviation."""
    draws = len(sets.draws)
    if number > draws:
        spread = _scale(sets) * _deviation(sets)
        return torch.cat([rows for _, rows in stretched(spread, (gray.shape[0], gray.shape[1]))], dim=1)
    own = sets.draws[number] if number < draws else sets.mean
    return enlarged(gray, small, own[:, 0] - small, weights)


def _described(job: Job, sets: RankedDraws, seeds: Sequence[int]) -> dict[str, Any]:
    """What the record says of several draws."""
    return {
        **describe(job, sets, seeds),
        "deviation_scale": _scale(sets),
        "diversity": diversity(sets.draws[:, :, 0]),
        "diversity_is": DIVERSITY,
    }


def _deviation(sets: RankedDraws) -> Tensor:
    """Root mean square over the channels of the standard deviation over draws, (1, h, w)."""
    return sets.deviation[:, 0].square().mean(0, keepdim=True).sqrt()


def _scale(sets: RankedDraws) -> float:
    """What the standard deviation is multiplied by to be seen: the greatest becomes white."""
    widest = float(_deviation(sets).max())
    return 1.0 / widest if widest > 0.0 else 1.0
