"""Confidence is lowered by what it exceeds the errors of recordings by, of the samples so measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import sepcli
from sepcli.catalog import resolve
from sepcli.errors import UsageError
from sepcli.separation.settings import StreamSettings
from sepcli.separation.spread import SampleTally

RESULTS = Path(__file__).parents[2] / "examples" / "reproduce" / "results"
MEASURED = {"songs": "songs", "slakh-drums-bass": "drums-bass"}


def test_every_second_is_lowered_by_as_much_and_silence_stays_silent() -> None:
    g = torch.Generator().manual_seed(0)
    samples = torch.randn(4, 2, 30, generator=g).double()
    samples[:, 1, :10] = 0.0
    reports = []
    for excess in (0.0, 12.3):
        tally = SampleTally(4, 2, 3.0, 10, excess)
        tally.add(0.0, samples.mean(0).sum(0), samples, None)
        reports.append(tally.report().confidence)
    plain, lowered = reports
    assert plain[1][0] is lowered[1][0] is None
    pairs = [
        (a, b) for row, other in zip(plain, lowered, strict=True) for a, b in zip(row, other, strict=True)
    ]
    numbers = [(a, b) for a, b in pairs if a is not None and b is not None]
    assert len(numbers) == 5
    for before, after in numbers:
        assert before - after == pytest.approx(12.3, abs=0.11)


@pytest.mark.parametrize(("prior", "report"), MEASURED.items())
def test_bundled_priors_are_lowered_by_what_was_measured(prior: str, report: str) -> None:
    document = json.loads((RESULTS / f"calibration-{report}-recorded.json").read_text(encoding="utf-8"))
    excess = document["confidence"]["median_db"]["excess"]
    assert resolve.find(prior)[0].stream["confidence_excess"] == excess
    assert sepcli.load(prior).stream.confidence_excess == excess
    assert document["about"]["prior"] == prior


def test_other_samples_are_not_lowered() -> None:
    name = "slakh-drums-bass"
    for options in ({"sampler": "projected"}, {"preset": "draws"}, {"engine": "lass"}, {"other": True}):
        assert sepcli.load(name, **options).stream.confidence_excess == 0.0  # type: ignore[arg-type]
    given = sepcli.load(name, sampler="projected", settings={"confidence_excess": 3})
    assert given.stream.confidence_excess == 3.0
    with pytest.raises(UsageError, match="confidence_excess"):
        StreamSettings(confidence_excess=100.0)
