"""What ``sepcli separate`` stores of the draws of an image: sources, mean, standard deviation and a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sepcli.cli.inputs import Job
    from sepcli.media.images import RasterImage
    from sepcli.separation.ranking import RankedDraws

BESIDE = ("mean", "deviation")
"""What is stored beside several draws, in the place of their number."""


def write_sets(
    job: Job,
    image: RasterImage,
    mixture: NDArray[np.float32],
    sets: RankedDraws,
    names: Sequence[str],
    overwrite: bool,
) -> None:
    """Write all images of a job, with the mixture's transparency and bits, and the contact sheet.

    Args:
        job: where; its stems have the places of ``BESIDE`` if there are several draws.
        image: the mixture as it was read.
        mixture: (C, H, W), as it was separated.
        sets: draws, best first.
        names: of the K sources.
        overwrite: replace files that exist.

    Raises:
        OutputError: a file exists, or a place cannot be written.
    """
    from sepcli.media.contact_sheet import contact_sheet
    from sepcli.media.images import RasterImage, write_images

    planes = [draw.numpy() for draw in sets.draws]
    rows: list[list[NDArray[np.float32] | None]] = [[mixture, *plane] for plane in planes]
    labels = [""]
    if len(planes) > 1:
        beside = [sets.mean.numpy(), (deviation_scale(sets) * sets.deviation).numpy()]
        planes += beside
        rows += [[None, *plane] for plane in beside]
        labels = [*draw_labels(sets), "mean", f"standard deviation\nx {deviation_scale(sets):.3g}"]
    images = {
        path: RasterImage(pixels, image.alpha, image.bits)
        for paths, sources in zip(job.stems, planes, strict=True)
        for path, pixels in zip(paths, sources, strict=True)
    }
    if job.sheet is not None:
        images[job.sheet] = RasterImage(contact_sheet(rows, ["mixture", *names], labels))
    write_images(images.items(), overwrite=overwrite)


def deviation_scale(sets: RankedDraws) -> float:
    """What the standard deviations are multiplied by to be seen: the greatest becomes white."""
    widest = float(sets.deviation.max())
    return 1.0 / widest if widest > 0.0 else 1.0


def describe(job: Job, sets: RankedDraws, seeds: Sequence[int]) -> dict[str, Any]:
    """What the record says of several draws; numbers count from 1, as in the names of the files.

    Args:
        job: where they were stored.
        sets: draws, best first.
        seeds: of the draws before they were ranked.
    """
    from sepcli.separation.ranking import RULE

    bounds = [None] * len(seeds) if sets.log_prior is None else sets.log_prior.tolist()
    columns = (sets.order, sets.residual.tolist(), bounds, sets.agreement.tolist())
    return {
        "draws": [
            {
                "seed": seeds[was],
                "residual_rms": residual,
                "log_prior_bound": bound,
                "agreement_db": agreement,
            }
            for was, residual, bound, agreement in zip(*columns, strict=True)
        ],
        "rank": RULE,
        "medoid": sets.medoid + 1,
        **{word: [str(p) for p in paths] for word, paths in zip(BESIDE, job.stems[-2:], strict=True)},
        "deviation_scale": deviation_scale(sets),
    }


def draw_labels(sets: RankedDraws) -> list[str]:
    """What a contact sheet says of every draw, a few lines each."""
    labels = []
    for number in range(len(sets.order)):
        lines = [f"{number + 1:02d}{' (medoid)' if number == sets.medoid else ''}"]
        if sets.log_prior is not None:
            lines.append(f"log prior {sets.log_prior[number]:.1f}")
        lines.append(f"agreement {sets.agreement[number]:.1f} dB")
        lines.append(f"residual {sets.residual[number]:.4f}")
        labels.append("\n".join(lines))
    return labels
