"""Reports as files for other programs: one row per score; and writing whole files only."""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import asdict, fields
from pathlib import Path

from sepcli.errors import OutputError
from sepcli.evaluation.report import Report
from sepcli.evaluation.score import TrackScore


def csv_text(report: Report) -> str:
    """Comma-separated values, as of RFC 4180: a head, then a row per track, method, stem and metric.

    The columns are the fields of ``TrackScore``. A value that is not a number is left empty; infinite ones
    are ``inf`` and ``-inf``.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(TrackScore)])
    writer.writeheader()
    for score in report.scores:
        row = asdict(score)
        writer.writerow(row | ({"value": ""} if math.isnan(score.value) else {}))
    return text.getvalue()


def write_whole(path: Path, text: str, option: str) -> None:
    """Write a file, atomically, as UTF-8; what UTF-8 lacks is escaped, for names of files may hold anything.

    Args:
        path: Replaced if it is there.
        text: What to write; line ends stay as they are.
        option: That chose the path, for the error.

    Raises:
        OutputError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", f"choose another {option}") from error
    finally:
        part.unlink(missing_ok=True)
