"""``sepcli colorize`` for one picture: its colourings, what they have in common, and a record."""

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
from sepcli.cli.earlier import replace_record
from sepcli.cli.picture_sets import describe, draw_labels
from sepcli.colouring import (
    GREYS,
    diversity,
    enlarged,
    grey_of,
    hinted,
    locked,
    reduced,
    stretched,
    working_size,
)
from sepcli.draws import RankedDraws, ranked
from sepcli.errors import InputError, SepError
from sepcli.media.grey import find_grey, is_grey
from sepcli.media.images import Picture, as_channels, read_picture, write_pictures
from sepcli.media.sheets import CELL, contact_sheet
from sepcli.seeds import sample_seeds

if TYPE_CHECKING:
    from sepcli.catalog.colours import Colourist
    from sepcli.cli.inputs import Job

LARGE = 4 * CELL
"""The longest side on a contact sheet."""
STEP = 1 / 255
"""One level of 8 bits."""
DIVERSITY = "mean over pairs of draws of the rms difference of their chroma, in 8-bit levels, at working_size"
"""What ``diversity`` in a record is, for people."""


@dataclass(frozen=True)
class Colouring:
    """What is asked for, of every picture alike.

    Attributes:
        colourist: prior and sampler.
        grey: a key of ``GREYS``; None: found for every picture.
        hint: a file of strokes.
        samples: how many draws.
        seed: of the draws.
        overwrite: replace files that exist.
        quiet: no progress and no notes.
        made_with: what the record says of all this.
    """

    colourist: Colourist
    grey: str | None
    hint: Path | None
    samples: int
    seed: int
    overwrite: bool
    quiet: bool
    made_with: Mapping[str, Any]

    @property
    def weights(self) -> Sequence[float]:
        """The w of the grey Σ w_c x_c."""
        return self.colourist.weights


def colour(job: Job, task: Colouring) -> dict[str, Any]:
    """Colour one picture and write all its files.

    Returns:
        The record.

    Raises:
        InputError: the picture or the hint cannot be used.
        OutputError: a place cannot be written.
    """
    started = time.monotonic()
    picture = read_picture(job.source, first=True)
    kind, why = (task.grey, "as --grey says") if task.grey else find_grey(picture)
    task = replace(task, colourist=replace(task.colourist, weights=GREYS[kind]))
    had_colours = not is_grey(picture)
    picture = _in_grey(job, picture, task)
    grey = torch.from_numpy(picture.pixels[0])
    height, width = grey.shape
    small = reduced(grey[None], working_size(height, width, task.colourist.short))[0]
    hint = None if task.hint is None else _read_hint(task.hint, grey, small, task.weights)
    seeds = torch.tensor(sample_seeds(task.seed, 0, task.samples))
    sets = _draw(job, task, small, hint, seeds)
    write_pictures(_results(job, picture, small, sets, task.weights), overwrite=task.overwrite)
    record = {
        "input": str(job.source),
        "frames": picture.frames,
        "had_colours": had_colours,
        "colourings": [str(path) for (path,) in job.stems[: task.samples]],
        "contact_sheet": str(job.sheet),
        **task.made_with,
        "grey": kind,
        "grey_from": why,
        "weights": list(task.weights),
        "size": [height, width],
        "working_size": list(small.shape),
        "residual_rms": sets.residual.tolist(),
        **(_described(job, sets, seeds.tolist()) if task.samples > 1 else {}),
        "seconds": time.monotonic() - started,
        "versions": {"sepcli": __version__, "torch": torch.__version__},
    }
    return replace_record(job, record, task.quiet)


def _in_grey(job: Job, picture: Picture, task: Colouring) -> Picture:
    """The picture without its colours."""
    if picture.frames > 1:
        console.note(f"{job.track}: only the first of {picture.frames} pictures is coloured", task.quiet)
    if is_grey(picture):
        return replace(picture, pixels=picture.pixels[:1])
    console.note(f"{job.track} has colours: they are dropped, its grey is coloured anew", task.quiet)
    grey = grey_of(torch.from_numpy(picture.pixels), task.weights).clamp(0.0, 1.0)
    return replace(picture, pixels=grey[None].numpy())


def _read_hint(path: Path, grey: Tensor, small: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The colours of a file of strokes, at the size of the small grey; see ``hinted``."""
    strokes = read_picture(path)
    (height, width), (h, w) = grey.shape, strokes.pixels.shape[1:]
    if (h, w) != (height, width):
        raise InputError(
            f"the hint {path} has {w} x {h} pixels, the picture {width} x {height}", "make them of one size"
        )
    if strokes.alpha is None or not strokes.alpha.any():
        raise InputError(
            f"the hint {path} holds no strokes on transparency", "paint colours on a transparent layer"
        )
    colours, alpha = as_channels(strokes, 3, path), strokes.alpha.astype(np.float32) / 255
    return hinted(torch.from_numpy(colours), torch.from_numpy(alpha), small, weights)


def _draw(
    job: Job, task: Colouring, small: Tensor, hint: tuple[Tensor, Tensor] | None, seeds: Tensor
) -> RankedDraws:
    """Draws (S, 3, 1, h, w) of exactly the grey ``small``, ranked as they were before that was enforced."""
    separator = task.colourist.separator(hint)
    with console.progress(job.track, task.quiet) as on_step:
        drawn = separator(small[None, None], seeds[None], on_step)[0].clamp(0, 1)
        bounds = separator.log_prior(drawn) if task.samples > 1 else None
    if not torch.isfinite(drawn).all():
        raise SepError(f"the colours of {job.source} are not finite", "use more steps, or another sampler")
    sets = ranked(drawn, small[None], task.weights, bounds)
    exact = locked(small, sets.draws[:, :, 0] - small, task.weights)
    return replace(sets, draws=exact[:, :, None])


def _results(
    job: Job, picture: Picture, small: Tensor, sets: RankedDraws, weights: Sequence[float]
) -> Iterator[tuple[Path, Picture]]:
    """All pictures of a job, one after the other; none is held here, for they may be large."""
    grey = torch.from_numpy(picture.pixels[0])

    def result(number: int, path: Path) -> Picture:
        pixels = _shown(number, grey, small, sets, weights)
        if number < len(sets.draws) and pixels.amax(0).sub_(pixels.amin(0)).max() < STEP:
            console.warn(f"{path} has no colours, it equals the input")
        return Picture(pixels.numpy(), picture.alpha, picture.bits)

    for number, (path,) in enumerate(job.stems):
        yield path, result(number, path)
    if job.sheet is not None:
        yield job.sheet, Picture(_sheet(len(job.stems), grey, small, sets, weights))


def _sheet(
    count: int, grey: Tensor, small: Tensor, sets: RankedDraws, weights: Sequence[float]
) -> NDArray[np.float32]:
    """The grey beside all ``count`` results, at a size that is easily looked at."""
    shrink = min(1.0, LARGE / max(grey.shape))
    height, width = (max(1, round(side * shrink)) for side in grey.shape)
    view = reduced(grey[None], (height, width))
    labels = [*draw_labels(sets), "mean", f"deviation\nx {_scale(sets):.3g}"] if count > 1 else [""]
    shown = [_shown(number, view[0], small, sets, weights).numpy() for number in range(count)]
    rows = [[None if number else view.numpy(), pixels] for number, pixels in enumerate(shown)]
    return contact_sheet(rows, ["grey", "colours"], labels)


def _shown(number: int, grey: Tensor, small: Tensor, sets: RankedDraws, weights: Sequence[float]) -> Tensor:
    """A draw at the size of ``grey``; the numbers behind the last are their mean and their deviation."""
    draws = len(sets.draws)
    if number > draws:
        spread = _scale(sets) * _deviation(sets)
        return torch.cat([rows for _, rows in stretched(spread, (grey.shape[0], grey.shape[1]))], dim=1)
    own = sets.draws[number] if number < draws else sets.mean
    return enlarged(grey, small, own[:, 0] - small, weights)


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
    """What the deviation is multiplied by to be seen: the greatest becomes white."""
    widest = float(_deviation(sets).max())
    return 1.0 / widest if widest > 0.0 else 1.0
