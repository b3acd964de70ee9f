"""Make the results table of the README from the reports in ``results/``.

    python examples/reproduce/tables.py                    # writes README.md
    python examples/reproduce/tables.py --check            # exits with 1 if they differ
    python examples/reproduce/tables.py --add REPORT...    # takes in reports, without the values of items

These commands write the reports; ``examples/make_pairs.py`` makes PAIRS, and MNIST holds the IDX files::

    sepcli evaluate --data PAIRS --metric sdr,si-sdr,si-sdri --out drums-bass.json
    mnist="sepcli evaluate --dataset mnist --data MNIST --prior mnist --pairs 100 --metric psnr"
    $mnist --out mnist-halving.json
    $mnist --sampler projected --set steps=50 --out mnist-projected.json

Figures of papers are typed here; figures of sepcli are only read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
START, END = "<!-- results -->", "<!-- end of results -->"


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        file: report in ``results/``.
        task: in words.
        paper: what the paper reports, with its source.
        metric: key of the report's results.
        method: row of the report.
        digits: decimals.
        unit: of the metric.
    """

    file: str
    task: str
    paper: str
    metric: str
    method: str = "sepcli"
    digits: int = 2
    unit: str = "dB"


ROWS = (
    Row("mnist-halving.json", "MNIST, sums of two digits, PSNR", "29.3 dB (BASIS, NCSN)", "psnr"),
    Row("mnist-projected.json", "the same, 50 evaluations", "–", "psnr"),
    Row("drums-bass.json", "drums + bass, SDR", "4.86 dB (LASS, other data)", "sdr"),
    Row("drums-bass.json", "the same, SI-SDR improvement", "–", "si-sdri"),
)
HEADS = ("task", "paper", "ours [95 %]", "average of the mixture", "items", "evaluations")


def cells(row: Row) -> tuple[str, ...] | None:
    """The cells of a row; None if its report is not there."""
    path = HERE / "results" / row.file
    if not path.is_file():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    results = report["results"][row.metric]
    ours, average = figure(results[row.method]), figure(results.get("average"))
    low, high = (f"{end:.{row.digits}f}" for end in ours["ci95"])
    base = "–" if average is None else f"{average['mean']:.{row.digits}f} {row.unit}"
    value = f"**{ours['mean']:.{row.digits}f}** {row.unit} [{low}, {high}]"
    settings = report["protocol"]["settings"].get("settings", {})
    evaluations = report.get("cost", {}).get("evaluations", settings.get("steps"))
    return (
        row.task,
        row.paper,
        value,
        base,
        str(ours["n"]),
        "–" if evaluations is None else f"{evaluations:g}",
    )


def figure(stems: Any) -> Any:
    """The summary over all stems, or of the only one."""
    return None if stems is None else stems.get("average") or next(iter(stems.values()))


def table() -> str:
    """The table in Markdown; rows without a report are left out."""
    rows = [texts for row in ROWS if (texts := cells(row)) is not None]
    lines = [HEADS, tuple("---" for _ in HEADS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def readme() -> str:
    """The README with the table."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


def add(report: Path) -> None:
    """Take a report in: protocol, results and cost."""
    whole = json.loads(report.read_text(encoding="utf-8"))
    kept = {key: whole[key] for key in ("protocol", "results", "cost") if key in whole}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / report.name).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Write the README, or compare it."""
    if sys.argv[1:2] == ["--add"]:
        for path in sys.argv[2:]:
            add(Path(path))
    text = readme()
    if "--check" in sys.argv[1:]:
        return int(text != (ROOT / "README.md").read_text(encoding="utf-8"))
    (ROOT / "README.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
