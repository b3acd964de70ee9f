"""``sepcli separate`` for images: one image in, its sources and a contact sheet out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sepcli.cli import console
from sepcli.cli.jobs import Outcome, Work
from sepcli.cli.outputs import Job
from sepcli.cli.samples import Quality, beside_labels, std_scale

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sepcli.media.images import RasterImage
    from sepcli.separation.result import Result


def separate_image(work: Work, job: Job, title: str) -> Outcome:
    """Separate an image and write its sources and the contact sheet."""
    import torch

    from sepcli.media.images import as_channels, read_image

    started = time.monotonic()
    separator, options = work.separator, work.options
    image = read_image(job.source)
    channels = separator.engine.channels or image.pixels.shape[0]
    mixture = torch.from_numpy(as_channels(image, channels, job.source))
    with console.progress(title, options.quiet) as on_progress:
        result = separator.separate(
            mixture, samples=options.samples, seed=options.seed, channel_axis=0, on_progress=on_progress
        )
    for k, name in enumerate(separator.names):
        if result.samples[:, k].std(correction=0) < 1 / 255 <= mixture.std(correction=0):
            console.warn(f"{job.track}: the source {name} is empty")
    quality = Quality(result.seeds, result.residual, result.agreement, result.log_prior)
    _write(job, image, mixture.numpy(), result, quality, options.overwrite)
    report = {
        "size": list(mixture.shape[1:]),
        **({"std_scale": std_scale(result.std)} if options.samples > 1 else {}),
        "evaluations": separator.engine.evaluations,
        "elapsed": time.monotonic() - started,
    }
    sheet = job.sheet.name if job.sheet else ""
    line = f"{job.stems[0][0].parent}: {', '.join(separator.names)}, {sheet}"
    return Outcome({**quality.describe(), "report": report}, (line,))


def _write(
    job: Job,
    image: RasterImage,
    mixture: NDArray[np.float32],
    result: Result,
    quality: Quality,
    overwrite: bool,
) -> None:
    """Write all images of a job, with transparency and bits of the mixture's file, and the contact sheet.

    Args:
        job: its outputs.
        image: the mixture's file.
        mixture: (C, H, W), as it was separated.
        result: samples (S, K, C, H, W), the best first.
        quality: what the contact sheet says of them.
        overwrite: replace files that exist.
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
