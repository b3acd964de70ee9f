"""``sepcli separate`` for images: one image in, its sources and a contact sheet out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.image_samples import Quality, beside_labels, std_scale
from sepcli.cli.jobs import Outcome
from sepcli.cli.outputs import Job, Layout, plan
from sepcli.cli.separators import Choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sepcli.media.images import RasterImage
    from sepcli.separation.result import Result
    from sepcli.separation.separator import Separator


@dataclass(frozen=True, eq=False)
class ImageSeparation:
    """Separates images; fulfils ``sepcli.cli.jobs.Work``.

    Attributes:
        choice: what separates.
        layout: how files are named.
        seed: of the run.
        overwrite: replace files that exist.
        quiet: no progress.
    """

    choice: Choice
    layout: Layout
    seed: int
    overwrite: bool
    quiet: bool

    smaller = "make the image smaller"
    libraries = ("torch", "numpy", "pillow")

    def plan(self, source: Path) -> Job:
        """Name the outputs of an image."""
        return plan(source, self.layout, "png")

    def prepare(self) -> Mapping[str, Any]:
        """Load the separator; return what runs."""
        return {**self._separator.describe(), "seed": self.seed}

    def run(self, job: Job, title: str) -> Outcome:
        """Separate an image and write its sources and the contact sheet."""
        import torch

        from sepcli.media.images import as_channels, read_image

        started = time.monotonic()
        separator, samples = self._separator, self.layout.samples
        image = read_image(job.source)
        channels = separator.engine.channels or image.pixels.shape[0]
        mixture = torch.from_numpy(as_channels(image, channels, job.source))
        with console.progress(title, self.quiet) as on_progress:
            result = separator.separate(
                mixture, samples=samples, seed=self.seed, channel_axis=0, on_progress=on_progress
            )
        for k, name in enumerate(separator.names):
            if result.samples[:, k].std(correction=0) < 1 / 255 <= mixture.std(correction=0):
                console.warn(f"{job.track}: the source {name} is empty")
        quality = Quality(result.seeds, result.residual, result.agreement, result.log_prior)
        write_sources(job, image, mixture.numpy(), result, quality, self.overwrite)
        report = {
            "size": list(mixture.shape[1:]),
            **({"std_scale": std_scale(result.std)} if samples > 1 else {}),
            "evaluations": separator.engine.evaluations,
            "elapsed": time.monotonic() - started,
        }
        sheet = job.sheet.name if job.sheet else ""
        line = f"{job.stems[0][0].parent}: {', '.join(separator.names)}, {sheet}"
        return Outcome({**quality.describe(), "report": report}, (line,))

    @cached_property
    def _separator(self) -> Separator:
        return self.choice.load(None)


def write_sources(
    job: Job,
    image: RasterImage,
    mixture: NDArray[np.float32],
    result: Result,
    quality: Quality,
    overwrite: bool,
) -> None:
    """Write all images of a job, with the mixture's transparency and bits, and the contact sheet.

    Args:
        job: its outputs.
        image: the mixture's file.
        mixture: (C, H, W), as it was separated.
        result: samples (S, K, C, H, W), the best first.
        quality: what the contact sheet says of them.
        overwrite: replace files that exist.

    Raises:
        OutputError: a file exists, or cannot be written.
    """
    from sepcli.media.contact_sheet import contact_sheet
    from sepcli.media.images import RasterImage, write_images

    planes = [sample.numpy() for sample in result.samples]
    rows: list[list[NDArray[np.float32] | None]] = [[mixture, *plane] for plane in planes]
    labels = quality.labels()
    if job.beside:
        scale = std_scale(result.std)
        beside = [result.mean.numpy(), (scale * result.std).numpy()]
        planes += beside
        rows += [[None, *plane] for plane in beside]
        labels += beside_labels(scale)
    images = {
        path: RasterImage(pixels, image.alpha, image.bits)
        for paths, sources in zip((*job.stems, *job.beside), planes, strict=True)
        for path, pixels in zip(paths, sources, strict=True)
    }
    if job.sheet is not None:
        images[job.sheet] = RasterImage(contact_sheet(rows, ["mixture", *result.names], labels))
    write_images(images.items(), overwrite=overwrite)
