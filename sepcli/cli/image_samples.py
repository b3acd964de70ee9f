"""Samples of images: their entries in a record, their labels on a contact sheet, how spread is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from sepcli.separation.ranking import RankedSamples


def describe_samples(ranked: RankedSamples, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the record's entries on samples; numbers count from 1, as in the names of the files.

    Args:
        ranked: samples, the best first.
        seeds: of the samples before they were ranked.

    Returns:
        ``samples``, per sample its ``seed`` and quality, null where it is not known; of several also ``rank``
        and ``medoid``.
    """
    from sepcli.separation.ranking import RULE

    log_prior = [None] * len(seeds) if ranked.log_prior is None else ranked.log_prior.tolist()
    columns = (ranked.order, ranked.residual.tolist(), log_prior, ranked.agreement.tolist())
    samples = [
        {"seed": seeds[number], "residual_rms": residual, "log_prior": prior, "agreement_db": agreement}
        for number, residual, prior, agreement in zip(*columns, strict=True)
    ]
    several = {"rank": RULE, "medoid": ranked.medoid + 1} if len(samples) > 1 else {}
    return {"samples": samples, **several}


def sample_labels(ranked: RankedSamples) -> list[str]:
    """Return what a contact sheet says of every sample, a few lines each; nothing of a single one."""
    if len(ranked.order) == 1:
        return [""]
    labels = []
    for number in range(len(ranked.order)):
        lines = [f"{number + 1:02d}{' (medoid)' if number == ranked.medoid else ''}"]
        if ranked.log_prior is not None:
            lines.append(f"log prior {ranked.log_prior[number]:.1f}")
        lines.append(f"agreement {ranked.agreement[number]:.1f} dB")
        lines.append(f"residual {ranked.residual[number]:.4f}")
        labels.append("\n".join(lines))
    return labels


def beside_labels(scale: float) -> list[str]:
    """Return what a contact sheet says of mean and standard deviation."""
    return ["mean", f"standard deviation\nx {scale:.3g}"]


def std_scale(std: Tensor) -> float:
    """Return the factor that makes a standard deviation visible: the greatest becomes white."""
    greatest = float(std.max())
    return 1.0 / greatest if greatest > 0.0 else 1.0
