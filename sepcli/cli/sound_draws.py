"""What ``sepcli separate`` says of several draws of a recording, in the words that it has for pictures."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepcli.stream import StreamReport


def describe(report: StreamReport) -> dict[str, Any]:
    """Entries of a record; nothing for a single draw.

    Returns:
        ``confidence``, per stem a list over seconds in dB, null where there is nothing (see
        ``sepcli.stream.DrawsReport``); and if every draw was kept ``draws``, in the order of their folders,
        each with its place in the order of merit, what that order is (``rank``), and the number of the
        ``medoid``.
    """
    from sepcli.draws import RULE

    if report.draws is None:
        return {}
    stems = [stem.name for stem in report.sets[0]]
    confidence = {"confidence": dict(zip(stems, report.draws.confidence, strict=True))}
    if len(report.sets) == 1:
        return confidence
    draws = [asdict(draw) for draw in report.draws.draws]
    return {"draws": draws, "rank": RULE, "medoid": report.draws.medoid, **confidence}


def summary(report: StreamReport) -> str | None:
    """One line on kept draws: they were written before they could be ranked, so folders are in no order."""
    if report.draws is None or len(report.sets) == 1:
        return None
    best = next(n for n, draw in enumerate(report.draws.draws, 1) if draw.rank == 1)
    by = "agreement" if report.draws.draws[0].log_prior_bound is None else "log prior"
    return f"  best of {len(report.sets)} draws by {by}: {best:02d}, medoid: {report.draws.medoid:02d}"
