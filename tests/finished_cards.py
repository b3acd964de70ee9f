"""What a script of ``examples/reproduce/`` has to leave in a card: a bundled prior's settings, figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sepcli.catalog import card as cards
from sepcli.catalog import resolve


def check_card(folder: Path, bundled: str, *reports: Path) -> None:
    """The card separates as the bundled one does, and its figures are those of the reports."""
    card, model = cards.read(folder), resolve.find(bundled)[0]
    assert (card.title, card.settings, card.stream) == (model.title, model.settings, model.stream)
    assert card.figures.keys() == {"command", *(path.stem for path in reports)}
    for path in reports:
        check_figures(card.figures[path.stem], json.loads(path.read_text()))


def check_figures(figures: dict[str, Any], report: dict[str, Any]) -> None:
    """The figures have every mean of the report, what told it, and what it cost."""
    for key in ("dataset", "tracks", "version"):
        assert figures[key] == report["protocol"][key]
    for metric, rows in report["results"].items():
        for row, stems in rows.items():
            means = {stem: summary["mean"] for stem, summary in stems.items() if summary["mean"] is not None}
            found = {stem: s["mean"] for stem, s in figures[metric][row].items() if "mean" in s}
            assert found == pytest.approx(means, abs=0.0051), (metric, row)
    assert figures.get("cost", {}) == pytest.approx(report.get("cost", {}), abs=0.0001)
