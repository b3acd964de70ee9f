"""What ``sepcli separate`` says of several draws of a recording, in the words that it has for images."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepcli.separation.stem_report import StreamReport


def describe(report: StreamReport, seed: int) -> dict[str, Any]:
    """Entries of a record; nothing for a single draw.

    Args:
        report: of one file.
        seed: of the run.

    Returns:
        ``confidence``, per stem a list over seconds in dB, null where there is nothing (see
        ``sepcli.separation.DrawsReport``); and if every draw was kept ``draws``, best first, as their folders
        are, each with the ``seed`` of its first block, what that order is (``rank``), and the number of the
        ``medoid``.
    """
    from sepcli.separation.ranking import RULE
    from sepcli.separation.seeds import sample_seeds

    if report.draws is None:
        return {}
    stems = [stem.name for stem in report.sets[0]]
    confidence = {"confidence": dict(zip(stems, report.draws.confidence, strict=True))}
    if len(report.sets) == 1:
        return confidence
    seeds = sample_seeds(seed, 0, len(report.sets))
    ranked = zip(report.draws.order, report.draws.draws, strict=True)
    draws = [{"seed": seeds[number], **asdict(draw)} for number, draw in ranked]
    return {"draws": draws, "rank": RULE, "medoid": report.draws.medoid, **confidence}


def summary(report: StreamReport) -> str | None:
    """One line on kept draws, what they are ranked by, and the number of the medoid."""
    if report.draws is None or len(report.sets) == 1:
        return None
    by = "agreement" if report.draws.draws[0].log_prior_bound is None else "log prior"
    return f"  {len(report.sets)} draws, best first by {by}, medoid: {report.draws.medoid:02d}"
