"""``sepcli colorize`` for one image: its colorizations, what they have in common, and a contact sheet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.image_samples import beside_labels, describe_samples, sample_labels, std_scale
from sepcli.cli.jobs import Outcome
from sepcli.cli.outputs import Job, Layout, plan
from sepcli.errors import InputError, SepError
from sepcli.separation.seeds import sample_seeds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from sepcli.catalog.card import Card
    from sepcli.media.images import RasterImage
    from sepcli.priors.images.colorizer import Colorizer
    from sepcli.protocols import ProgressCallback
    from sepcli.separation.ranking import RankedSamples

STEP = 1 / 255
"""One level of 8 bits."""
DIVERSITY = (
    "mean over pairs of samples of the rms difference of their chroma, in 8-bit levels, at working_size"
)
"""What ``diversity`` in a record is."""


@dataclass(frozen=True, eq=False)
class Colorization:
    """Colorizes images; fulfils ``sepcli.cli.jobs.Work``.

    Attributes:
        prior: name or folder.
        card: of the prior.
        layout: how files are named.
        gray: a key of ``GRAYS``; None: found for every image.
        hint: a file of strokes.
        device: the argument.
        sampler: name; None: the prior's own.
        settings: of sampler and hints.
        seed: of the run.
        overwrite: replace files that exist.
        quiet: no progress and no notes.
    """

    prior: str
    card: Card
    layout: Layout
    gray: str | None
    hint: Path | None
    device: str
    sampler: str | None
    settings: Mapping[str, str]
    seed: int
    overwrite: bool
    quiet: bool

    smaller = "make the image smaller"
    libraries = ("torch", "numpy", "pillow")

    def plan(self, source: Path) -> Job:
        """Name the outputs of an image."""
        return plan(source, self.layout, "png")

    def prepare(self) -> Mapping[str, Any]:
        """Load the prior; return what ran."""
        from sepcli.catalog import card as cards
        from sepcli.signal.chroma import GRAYS

        gray = {} if self.gray is None else {"gray": self.gray, "weights": list(GRAYS[self.gray])}
        digest = cards.sha256(self.hint) if self.hint is not None and self.hint.is_file() else None
        return {
            "prior": self.card.name,
            "files": {name: entry.sha256 for name, entry in self.card.files.items()},
            **self._colorizer.describe(),
            "device": str(self._colorizer.device),
            "gray_asked": self.gray or "auto",
            **gray,
            "seed": self.seed,
            "hint": None if self.hint is None else self.hint.name,
            "hint_sha256": digest,
        }

    def run(self, job: Job, title: str) -> Outcome:
        """Colorize one image and write all its files."""
        import torch

        from sepcli.media.grayscale import find_gray, is_gray
        from sepcli.media.images import read_image, write_images
        from sepcli.signal.chroma import GRAYS, diversity

        started = time.monotonic()
        image = read_image(job.source, first=True)
        kind, why = (self.gray, "as --gray says") if self.gray else find_gray(image)
        colorizer = replace(self._colorizer, weights=GRAYS[kind])
        weights, had_colors = colorizer.weights, not is_gray(image)
        image = _in_gray(job, image, weights, self.quiet)
        gray = torch.from_numpy(image.pixels[0])
        hint = None if self.hint is None else _read_hint(self.hint, gray.shape)
        seeds = sample_seeds(self.seed, 0, self.layout.samples)
        with console.progress(title, self.quiet) as on_progress:
            colors = _sample(job, colorizer, gray, torch.tensor(seeds), hint, on_progress)
        write_images(_results(job, image, colors), overwrite=self.overwrite)
        several: dict[str, Any] = {}
        if job.beside:
            several = {
                "std_scale": std_scale(colors.std),
                "diversity": diversity(colors.ranked.samples[:, :, 0]),
            }
            several["diversity_is"] = DIVERSITY
        details = {
            "gray": kind,
            "gray_from": why,
            "weights": list(weights),
            **describe_samples(colors.ranked, seeds),
            "report": {
                "frames": image.frames,
                "had_colors": had_colors,
                "size": list(gray.shape),
                "working_size": list(colors.small.shape),
                **several,
                "evaluations": colorizer.separator().evaluations,
                "elapsed": time.monotonic() - started,
            },
        }
        made = f"{len(seeds)} samples, mean, standard deviation" if several else job.stems[0][0].name
        sheet = job.sheet.name if job.sheet else ""
        return Outcome(details, (f"{job.stems[0][0].parent}: {made}, {sheet}; gray: {kind}, {why}",))

    @cached_property
    def _colorizer(self) -> Colorizer:
        from sepcli.cli.device import choose_device
        from sepcli.media.grayscale import DEFAULT
        from sepcli.priors.images.colorizer import load_colors
        from sepcli.signal.chroma import GRAYS

        device = str(choose_device(self.device))
        weights = GRAYS[self.gray or DEFAULT]
        return load_colors(self.prior, weights, device=device, sampler=self.sampler, settings=self.settings)


def _in_gray(job: Job, image: RasterImage, weights: Sequence[float], quiet: bool) -> RasterImage:
    """Return the image without its colors."""
    import torch

    from sepcli.media.grayscale import is_gray
    from sepcli.signal.chroma import gray_of

    if image.frames > 1:
        console.note(f"{job.track}: only the first of {image.frames} images is colorized", quiet)
    if is_gray(image):
        return replace(image, pixels=image.pixels[:1])
    console.note(f"{job.track} has colors: they are dropped, its gray is colorized anew", quiet)
    gray = gray_of(torch.from_numpy(image.pixels), weights).clamp(0.0, 1.0)
    return replace(image, pixels=gray[None].numpy())


def _read_hint(path: Path, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the colors (3, H, W) of a file of strokes and their opacity (H, W), 0 to 1.

    Raises:
        InputError: it cannot be read, has another size than the image, or holds no strokes.
    """
    import numpy as np
    import torch

    from sepcli.media.images import as_channels, read_image

    strokes = read_image(path)
    (height, width), (h, w) = size, strokes.pixels.shape[1:]
    if (h, w) != (height, width):
        raise InputError(
            f"the hint {path} has {w} x {h} pixels, the image {width} x {height}", "give both the same size"
        )
    if strokes.alpha is None or not strokes.alpha.any():
        raise InputError(
            f"the hint {path} holds no strokes on transparency", "paint colors on a transparent layer"
        )
    colors, alpha = as_channels(strokes, 3, path), strokes.alpha.astype(np.float32) / 255
    return torch.from_numpy(colors), torch.from_numpy(alpha)


def _sample(
    job: Job,
    colorizer: Colorizer,
    gray: Tensor,
    seeds: Tensor,
    hint: tuple[Tensor, Tensor] | None,
    on_progress: ProgressCallback,
) -> ColorSamples:
    """Sample colors of exactly the gray (H, W); samples are ranked as they were before that was enforced."""
    import torch

    from sepcli.separation.ranking import ranked
    from sepcli.signal.chroma import hinted, locked, reduced, working_size

    weights = tuple(colorizer.weights)
    small = reduced(gray[None], working_size(gray.shape[0], gray.shape[1], colorizer.short))[0]
    known = None if hint is None else hinted(*hint, small, weights)
    separator = colorizer.separator(known)
    drawn = separator.sample(small[None, None], seeds[None], on_progress)[0].clamp(0, 1)
    log_prior = separator.log_prior(drawn) if len(seeds) > 1 else None
    if not torch.isfinite(drawn).all():
        raise SepError(f"the colors of {job.source} are not finite", "use more steps, or another sampler")
    sets = ranked(drawn, small[None], weights, log_prior)
    exact = locked(small, sets.samples[:, :, 0] - small, weights)
    return ColorSamples(gray, small, replace(sets, samples=exact[:, :, None]), weights)


@dataclass(frozen=True)
class ColorSamples:
    """Ranked samples of the colors of one image, small, and the image at full size.

    Attributes:
        gray: (H, W), full size.
        small: (h, w), the gray that the prior was given.
        ranked: samples (S, 3, 1, h, w) of exactly that gray, the best first.
        weights: w of the gray Σ w_c x_c.
    """

    gray: Tensor
    small: Tensor
    ranked: RankedSamples
    weights: tuple[float, ...]

    def full(self, number: int, gray: Tensor | None = None) -> Tensor:
        """Return sample ``number`` (3, H, W), or the mean of the samples if it is their number.

        Args:
            number: from 0.
            gray: (H, W), the same gray at another size; None: at full size.
        """
        from sepcli.signal.chroma import enlarged

        own = self.ranked.samples[number] if number < len(self.ranked.samples) else self.ranked.mean
        full = self.gray if gray is None else gray
        return enlarged(full, self.small, own[:, 0] - self.small, self.weights)

    @property
    def std(self) -> Tensor:
        """(1, h, w): root mean square over the channels of the standard deviation over the samples."""
        return self.ranked.std[:, 0].square().mean(0, keepdim=True).sqrt()

    def full_std(self, size: tuple[int, int], scale: float = 1.0) -> Tensor:
        """Return the standard deviation times ``scale`` at another size, (1, H, W)."""
        import torch

        from sepcli.signal.chroma import stretched

        return torch.cat([rows for _, rows in stretched(scale * self.std, size)], dim=1)


def _results(job: Job, image: RasterImage, colors: ColorSamples) -> Iterator[tuple[Path, RasterImage]]:
    """Yield all images of a job, one after the other; none is held here, for they may be large."""
    from sepcli.media.images import RasterImage

    def result(number: int, path: Path) -> RasterImage:
        pixels = _shown(number, colors, colors.gray)
        if number < len(job.stems) and pixels.amax(0).sub_(pixels.amin(0)).max() < STEP:
            console.warn(f"{path} has no colors, it equals the input")
        return RasterImage(pixels.numpy(), image.alpha, image.bits)

    files = (*job.stems, *job.beside)
    for number, (path,) in enumerate(files):
        yield path, result(number, path)
    if job.sheet is not None:
        yield job.sheet, RasterImage(_sheet(len(files), colors))


def _sheet(count: int, colors: ColorSamples) -> NDArray[np.float32]:
    """Return the gray beside all ``count`` results, at a size that is easy to look at."""
    from sepcli.media.contact_sheet import CELL, contact_sheet
    from sepcli.signal.chroma import reduced

    shrink = min(1.0, 4 * CELL / max(colors.gray.shape))
    height, width = (max(1, round(side * shrink)) for side in colors.gray.shape)
    view = reduced(colors.gray[None], (height, width))
    labels = sample_labels(colors.ranked) + (beside_labels(std_scale(colors.std)) if count > 1 else [])
    shown = [_shown(number, colors, view[0]).numpy() for number in range(count)]
    rows = [[None if number else view.numpy(), pixels] for number, pixels in enumerate(shown)]
    return contact_sheet(rows, ["gray", "colors"], labels)


def _shown(number: int, colors: ColorSamples, gray: Tensor) -> Tensor:
    """Return a sample for a gray (H, W); the numbers behind the last are their mean and their spread."""
    if number > len(colors.ranked.samples):
        return colors.full_std((gray.shape[0], gray.shape[1]), std_scale(colors.std))
    return colors.full(number, gray)
