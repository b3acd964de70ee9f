"""``sepcli colorize`` for one image: its colorizations, what they have in common, and a contact sheet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.options import BatchOptions
from sepcli.cli.outputs import Job
from sepcli.cli.resolve import Choice
from sepcli.cli.run_record import path_from
from sepcli.cli.samples import Quality, beside_labels, std_scale
from sepcli.cli.work import Loaded, Outcome, Work, fixed
from sepcli.errors import InputError
from sepcli.separation.executor import OnPart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from sepcli.media.images import RasterImage
    from sepcli.separation.colorize import ColorSamples

STEP = 1 / 255
"""One level of 8 bits."""
DIVERSITY = (
    "mean over pairs of samples of the rms difference of their chroma, in 8-bit levels, at working_size"
)
"""What ``diversity`` in a record is."""


def colorizing_work(
    choice: Choice,
    template: str,
    options: BatchOptions,
    stored: tuple[str, int],
    gray: str | None,
    hint: Path | None,
) -> Work:
    """Return what colorizes images of a gray in ``GRAYS`` (None: chosen for every image), with strokes.

    Results are ``stored`` with an extension and a quality.
    """
    from sepcli.catalog.card import sha256

    made_with = {
        **({} if gray is None else {"gray": gray}),
        "hint_sha256": sha256(hint) if hint is not None and hint.is_file() else None,
    }
    extension, quality = stored
    run = partial(colorize_image, quality=quality, gray_kind=gray, hint_file=hint)
    return Work(
        choice,
        template,
        options,
        "colorize",
        run,
        partial(fixed, extension),
        kept={"container": extension, "quality": quality, "gray": gray or "auto"},
        made_with=made_with,
        varying=("weights",) if gray is None else (),
    )


def colorize_image(
    loaded: Loaded,
    job: Job,
    on_part: OnPart,
    quality: int,
    gray_kind: str | None,
    hint_file: Path | None,
) -> Outcome:
    """Colorize one image and write all its files."""
    import torch

    from sepcli.media.image_writer import write_images
    from sepcli.media.images import find_gray, has_colors, read_image
    from sepcli.signal.chroma import GRAYS, diversity

    started = time.monotonic()
    options, separator = loaded.work.options, loaded.separator
    image = read_image(job.source, first=True)
    kind, why = (gray_kind, "as --gray says") if gray_kind else find_gray(image)
    weights, had_colors = GRAYS[kind], has_colors(image.pixels)
    image = _in_gray(job, image, weights, options.quiet)
    gray = torch.from_numpy(image.pixels[0])
    hint = None if hint_file is None else _read_hint(hint_file, gray.shape)
    colors = separator.sample_colors(
        gray,
        weights=weights,
        samples=options.samples,
        seed=options.seed,
        hint=hint,
        on_progress=on_part,
    )
    ranks = _quality(colors, options.seed)
    images = _results(job, image, colors, ranks, options.quiet)
    write_images(images, overwrite=options.overwrite, quality=quality)
    several: dict[str, Any] = {}
    if job.beside:
        several = {
            "std_scale": std_scale(colors.std),
            "diversity": diversity(colors.ranked.samples[:, :, 0]),
            "diversity_is": DIVERSITY,
        }
    report = {
        "frames": image.frames,
        "had_colors": had_colors,
        "size": list(gray.shape),
        "working_size": list(colors.small.shape),
        **several,
        "evaluations": separator.engine.evaluations,
        "elapsed": time.monotonic() - started,
    }
    outputs = f"{len(job.stems)} samples, mean, standard deviation" if several else job.stems[0][0].name
    line = f"{job.stems[0][0].parent}: {outputs}, {job.sheet.name if job.sheet else ''}; gray: {kind}, {why}"
    strokes = None if hint_file is None else path_from(hint_file, job.record.parent)
    entries = {"gray": kind, "gray_from": why, "weights": list(weights), "hint": strokes}
    return Outcome({**entries, **ranks.describe(), "report": report}, (line,))


def _quality(colors: ColorSamples, seed: int) -> Quality:
    from sepcli.separation.ranking import COLOR_RULE
    from sepcli.separation.seeds import sample_seeds

    ranked, seeds = colors.ranked, sample_seeds(seed, 0, len(colors.ranked.order))
    log_prior = None if ranked.log_prior is None else ranked.log_prior.tolist()
    ranked_seeds = [seeds[number] for number in ranked.order]
    return Quality(ranked_seeds, ranked.residual.tolist(), ranked.agreement.tolist(), log_prior, COLOR_RULE)


def _in_gray(job: Job, image: RasterImage, weights: Sequence[float], quiet: bool) -> RasterImage:
    """Return the image without its colors."""
    import torch

    from sepcli.media.images import has_colors
    from sepcli.signal.chroma import gray_of

    for note in image.notes:
        console.note(f"{job.track}: {note}", quiet)
    if image.frames > 1:
        console.note(f"{job.track}: only the first of {image.frames} images is colorized", quiet)
    if not has_colors(image.pixels):
        return replace(image, pixels=image.pixels[:1])
    console.note(f"{job.track} has colors: they are dropped, its gray is colorized anew", quiet)
    gray = gray_of(torch.from_numpy(image.pixels), weights).clamp(0.0, 1.0)
    return replace(image, pixels=gray[None].numpy())


def _read_hint(path: Path, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the colors (3, H, W) of a file of strokes and their opacity (H, W), 0 to 1.

    Raises:
        InputError: it cannot be read, has another size than the image, or holds no strokes.
    """
    import torch

    from sepcli.media.images import as_channels, read_image

    strokes = read_image(path)
    (height, width), (h, w) = size, strokes.pixels.shape[1:]
    if (h, w) != (height, width):
        raise InputError(
            f"the hint {path} has {w} x {h} pixels, the image {width} x {height}", "give both the same size"
        )
    opacity = strokes.opacity
    if opacity is None or not opacity.any():
        raise InputError(
            f"the hint {path} holds no strokes on transparency", "paint colors on a transparent layer"
        )
    return torch.from_numpy(as_channels(strokes, 3, path)), torch.from_numpy(opacity)


def _results(
    job: Job, image: RasterImage, colors: ColorSamples, quality: Quality, quiet: bool
) -> Iterator[tuple[Path, RasterImage]]:
    """Yield all images of a job, one after the other; none is held here, for they may be large."""
    from sepcli.media.images import RasterImage

    def result(number: int, path: Path) -> RasterImage:
        pixels = _shown(number, colors, colors.gray)
        if number < len(job.stems) and pixels.amax(0).sub_(pixels.amin(0)).max() < STEP:
            console.warn(f"{path} has no colors, it equals the input", quiet)
        return image.with_pixels(pixels.numpy())

    files = (*job.stems, *job.beside)
    for number, (path,) in enumerate(files):
        yield path, result(number, path)
    if job.sheet is not None:
        yield job.sheet, RasterImage(_sheet(len(files), colors, quality.labels()))


def _sheet(count: int, colors: ColorSamples, labels: list[str]) -> NDArray[np.float32]:
    """Return the gray beside all ``count`` results, at a size that is easy to look at."""
    from sepcli.media.contact_sheet import CELL, contact_grid
    from sepcli.signal.chroma import reduced

    shrink = min(1.0, 4 * CELL / max(colors.gray.shape))
    height, width = (max(1, round(side * shrink)) for side in colors.gray.shape)
    view = reduced(colors.gray[None], (height, width))
    labels = labels + (beside_labels(std_scale(colors.std)) if count > 1 else [])
    shown = [_shown(number, colors, view[0]).numpy() for number in range(count)]
    return contact_grid([view.numpy(), *shown], ["gray", *labels])


def _shown(number: int, colors: ColorSamples, gray: Tensor) -> Tensor:
    """Return a sample for a gray (H, W); the numbers behind the last are their mean and their spread."""
    if number > len(colors.ranked.samples):
        return colors.full_std((gray.shape[0], gray.shape[1]), std_scale(colors.std))
    return colors.full(number, gray)
