"""Tables on stdout: text of at most 80 columns, Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from sepcli.cli import console
from sepcli.cli.options import report
from sepcli.errors import UsageError

WIDTH, GAP = 80, "  "
"""Width of a table of text, and what is between its columns."""
PIECE = re.compile(r"\S*\[[^\]]*\]|\S+")
"""Pieces of a cell that stay whole, as far as possible: no spaces, or an interval in brackets."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of names that spreadsheets interpret as a formula (OWASP, "CSV injection")."""
LATEX = {**{c: f"\\{c}" for c in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}"} | {
    "^": r"\textasciicircum{}"
}
"""Special character of LaTeX → how it is written."""

Rows = Sequence[Sequence[str]]


class TableStyle(StrEnum):
    """What ``--table`` takes."""

    TEXT = "text"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"


Table = Annotated[TableStyle, report("Print tables as text, markdown, latex or csv.", "--table")]


def check_style(style: TableStyle, as_json: bool) -> None:
    """Refuse tables beside JSON.

    Raises:
        UsageError: both are given.
    """
    if as_json and style is not TableStyle.TEXT:
        raise UsageError(f"--table {style.value} and --json contradict each other", "give one of them")


def show(
    columns: Sequence[str],
    rows: Rows,
    caption: str | None = None,
    style: TableStyle = TableStyle.TEXT,
    left: int = 1,
) -> None:
    """Print a table with a caption; ``left`` columns are flush left, the others right.

    A text that is too wide has cells of several lines, else its columns in several blocks.
    """
    make = {TableStyle.MARKDOWN: _markdown, TableStyle.LATEX: _latex, TableStyle.CSV: _csv}
    console.emit(make[style](columns, rows, left) if style in make else _text(columns, rows, left))
    if caption and style is TableStyle.TEXT:
        console.emit(textwrap.fill(caption, WIDTH, break_on_hyphens=False))
    elif caption and style is not TableStyle.CSV:
        console.emit(f"\n{caption}" if style is TableStyle.MARKDOWN else f"% {caption}")


def _text(columns: Sequence[str], rows: Rows, left: int) -> str:
    lines = [columns, *rows]
    natural = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    fitted = _narrowed(lines, natural)
    if sum(fitted) + len(GAP) * (len(fitted) - 1) <= WIDTH:
        return _aligned(lines, fitted, left)
    first = min(natural[0], WIDTH // 3)
    most = WIDTH - first - len(GAP)
    blocks: list[list[int]] = [[]]
    for number in range(1, len(columns)):
        used = sum(min(natural[n], most) + len(GAP) for n in (*blocks[-1], number))
        if blocks[-1] and first + used > WIDTH:
            blocks.append([])
        blocks[-1].append(number)
    return "\n\n".join(
        _aligned(
            [[line[0], *(line[n] for n in block)] for line in lines],
            [first, *(min(natural[n], most) for n in block)],
            left if block == blocks[0] else 1,
        )
        for block in blocks
    )


def _narrowed(lines: Rows, widths: Sequence[int]) -> list[int]:
    """Return narrower columns, the widest first, as far as needed; pieces and names of rows stay whole."""
    least = [
        max((len(piece) for cell in column for piece in PIECE.findall(cell)), default=1)
        for column in zip(*lines, strict=True)
    ]
    names = max((len(line[0]) for line in lines[1:]), default=0)
    least[0] = max(least[0], min(names, WIDTH // 3))
    fitted = list(widths)
    while sum(fitted) + len(GAP) * (len(fitted) - 1) > WIDTH:
        spare = [n for n in range(len(fitted)) if fitted[n] > least[n]]
        if not spare:
            break
        fitted[max(spare, key=lambda n: fitted[n])] -= 1
    return fitted


def _aligned(lines: Rows, widths: Sequence[int], left: int) -> str:
    text: list[str] = []
    for line in lines:
        cells = [_wrapped(cell, width) for cell, width in zip(line, widths, strict=True)]
        for row in range(max(map(len, cells))):
            parts = [cell[row] if row < len(cell) else "" for cell in cells]
            placed = [
                part.ljust(width) if number < left else part.rjust(width)
                for number, (part, width) in enumerate(zip(parts, widths, strict=True))
            ]
            text.append(GAP.join(placed).rstrip())
    return "\n".join(text)


def _wrapped(cell: str, width: int) -> list[str]:
    """Return the lines of a cell; a piece that is too long is broken."""
    if len(cell) <= width:
        return [cell]
    lines = [""]
    for piece in PIECE.findall(cell):
        if lines[-1] and len(lines[-1]) + 1 + len(piece) > width:
            lines.append("")
        lines[-1] += f" {piece}" if lines[-1] else piece
        while len(lines[-1]) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return lines


def _markdown(columns: Sequence[str], rows: Rows, left: int) -> str:
    rule = [":---" if number < left else "---:" for number in range(len(columns))]
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (columns, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _latex(columns: Sequence[str], rows: Rows, left: int) -> str:
    """Return a tabular with the rules of the package booktabs."""
    head, *body = (
        " & ".join("".join(LATEX.get(c, c) for c in cell) for cell in line) + r" \\"
        for line in (columns, *rows)
    )
    form = "".join("l" if number < left else "r" for number in range(len(columns)))
    lines = [rf"\begin{{tabular}}{{{form}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}"])


def _csv(columns: Sequence[str], rows: Rows, left: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for name, *cells in rows:
        writer.writerow([f"'{name}" if name.startswith(FORMULA) else name, *cells])
    return text.getvalue().rstrip("\n")
