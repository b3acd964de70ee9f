"""Reports as files for other programs: one row per score; and writing whole files only."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, fields

from sepcli.evaluation.report import Report
from sepcli.evaluation.score import TrackScore

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of cells that spreadsheets interpret as a formula (OWASP, "CSV injection")."""


def csv_text(report: Report) -> str:
    """Comma-separated values, as of RFC 4180: a head, then a row per track, method, stem and metric.

    The columns are the fields of ``TrackScore``. A value that is not a number is left empty; infinite ones
    are ``inf`` and ``-inf``. Text that a spreadsheet would take for a formula has a ``'`` before it: names of
    files may hold anything.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(TrackScore)])
    writer.writeheader()
    for score in report.scores:
        row = {key: _as_text(cell) if isinstance(cell, str) else cell for key, cell in asdict(score).items()}
        writer.writerow(row | ({"value": ""} if math.isnan(score.value) else {}))
    return text.getvalue()


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell
