"""Make RESULTS.md and the table of the README from the reports in ``results/``.

    python examples/reproduce/tables.py                    # writes both
    python examples/reproduce/tables.py --check            # exits with 1 if they differ
    python examples/reproduce/tables.py --add REPORT...    # takes in reports, and writes both

Reports are what ``sepcli evaluate --out`` writes; ``COMMANDS`` has the options of each. ``--add`` keeps
their protocol, summaries and cost, not the values of items, and adds date and installed versions: run it
where they were written. Figures of papers are typed here; figures of sepcli are only read.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from lass_sections import codes, decode, drafts
from lass_sections import cost as lass_cost
from posterior_sections import (
    CALIBRATIONS,
    FITS,
    PRESETS,
    calibrations,
    fits,
    from_mixtures,
    levy,
    preset_cost,
    presets,
)
from sampler_sections import color_ranking, exactness, samplers
from sections import (
    CROSS,
    against,
    cost,
    decoding,
    figure,
    fuzz,
    kills,
    markdown,
    section,
    storage,
    summary,
)

from sepcli import __version__
from sepcli.atomic import write_text
from sepcli.errors import refuse_newer
from sepcli.metrics import METRICS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
START, END = "<!-- results -->", "<!-- end of results -->"

_DIGITS = "--dataset mnist --data MNIST --pairs 100 --metric psnr --prior"
_PAIRS = "--dataset pairs --data PAIRS --metric"
_COLORS = "--dataset cifar10 --data CIFAR10 --prior cifar10 --pairs 1000 --batch 16 --metric psnr,fd-cifar"
_BASELINES = " ".join(f"--method {name}" for name in ("hpss", "repet", "ft2d", "rpca", "ica"))
_TOYS = "--dataset toy-waves --metric sdr,si-sdr --prior"
_FLOWS = "examples/reproduce/toy-flows"
_EACH_FLOW = " ".join(f"--prior {_FLOWS}/priors/{n}" for n in range(1, 5))
COMMANDS: Mapping[str, str] = {
    "mnist-halving": f"{_DIGITS} mnist",
    "mnist-projected": f"{_DIGITS} mnist --sampler projected --set steps=50",
    "mnist-langevin": f"{_DIGITS} mnist --sampler langevin --set preset=paper",
    "mnist-classes": f"{_DIGITS} mnist --pairing class",
    "mnist-flow": f"{_DIGITS} mnist-flow --batch 16",
    "mnist-flow-langevin": "--dataset mnist --data MNIST --pairs 20 --metric psnr --prior mnist-flow"
    " --sampler langevin --set preset=paper --batch 10",
    "mnist-flow-ten": "--dataset mnist --data MNIST --pairs 16 --metric psnr --prior mnist-flow"
    " --samples 10 --batch 4",
    "mnist-glow": f"{_DIGITS} examples/reproduce/mnist-glow --batch 16",
    "mnist-lass": f"{_DIGITS} mnist-lass",
    "mnist-lass-three": "--dataset mnist --data MNIST --pairs 20 --metric psnr --prior mnist-lass --sum 3"
    " --batch 1 --set candidates=128 --set max_candidates=1024",
    "drums-bass": f"{_PAIRS} sdr,si-sdr,si-sdri",
    "drums-bass-lass": f"{_PAIRS} sdr --method lass --pairs 12",
    "songs": "--dataset musdb --data FULLMIX --split test --prior songs --metric sdr,si-sdri",
    "songs-whole": "--dataset slakh --data SONGS --split test --prior songs --metric sdr,si-sdri,pes",
    "speech-music": "--dataset slakh --data VOICES --split test --prior speech-music --pairs 48"
    " --metric sdr,si-sdri",
    "drums-bass-baselines": f"{_PAIRS} sdr --pairs 50 {_BASELINES}",
    "cifar10-pairs": "--dataset cifar10 --data CIFAR10 --prior cifar10 --pairs 500 --batch 16"
    " --metric psnr,fd-cifar,cs-cifar",
    "cifar10-colors": f"{_COLORS} --task colorize",
    "toy-waves-flows": f"{_TOYS} {_FLOWS} --pairs 4 --batch 4",
    "toy-waves-encoders": f"{_TOYS} toy-waves --pairs 20",
    "toy-waves-likelihood": f"--metric cross-likelihood --data toy-waves {_EACH_FLOW} --pairs 10",
}
"""Report → options of `sepcli evaluate` that write it, with ``--out``."""


class Row(NamedTuple):
    """A row of the tables.

    Attributes:
        report: in ``results/``, without its suffix.
        task: in words, with the metric.
        paper: what the paper reports, with its source.
        metric: key of the report's results.
        method: row of the report.
        short: whether the README has the row, too.
    """

    report: str
    task: str
    paper: str
    metric: str
    method: str = "sepcli"
    short: bool = True


_BASIS, _LASS = "29.3 dB (BASIS, NCSN)", "4.86 dB (LASS, other data)"
ROWS = (
    Row("mnist-halving", "MNIST, sums of two digits, PSNR", _BASIS, "psnr"),
    Row("mnist-projected", "MNIST, the same in 50 evaluations", "–", "psnr"),
    Row("mnist-langevin", "MNIST, by BASIS' own sampler", _BASIS, "psnr", short=False),
    Row("mnist-classes", "MNIST, 0-4 + 5-9, PSNR", "29.5 dB (BASIS, NCSN)", "psnr", short=False),
    Row("mnist-flow", "MNIST, by an autoregressive flow, PSNR", "22.7 dB (BASIS, Glow)", "psnr", short=False),
    Row(
        "mnist-flow-ten",
        "MNIST, by an autoregressive flow, likeliest of ten",
        "27.1 dB (BASIS, Glow)",
        "psnr",
        "sepcli-10x",
        short=False,
    ),
    Row(
        "mnist-flow-langevin",
        "MNIST, by this flow and BASIS' own sampler",
        "22.7 dB (BASIS, Glow)",
        "psnr",
        short=False,
    ),
    Row("mnist-glow", "MNIST, by a Glow, PSNR", "22.7 dB (BASIS, Glow)", "psnr", short=False),
    Row("mnist-lass", "MNIST, by LASS", "24.2 dB (LASS)", "psnr"),
    Row("mnist-lass-three", "MNIST, sums of three, by LASS", "14.19 dB (LASS, belief propagation)", "psnr"),
    Row("drums-bass", "drums + bass, SDR", _LASS, "sdr"),
    Row("drums-bass", "drums + bass, SI-SDR improvement", "–", "si-sdri"),
    Row("songs", "full mixes: drums, bass and other, SDR", "–", "sdr"),
    Row("songs-whole", "whole songs: drums, bass and other, SDR", "–", "sdr", short=False),
    Row("songs-whole", "whole songs, level where a source is silent", "–", "pes", short=False),
    Row("speech-music", "speech beside music, other voices and pieces, SDR", "–", "sdr"),
    Row("drums-bass-lass", "drums + bass, by LASS, as decoded, SDR", _LASS, "sdr", "sepcli raw"),
    Row(
        "drums-bass-baselines",
        "drums + bass, HPSS, SDR",
        "-0.45 dB (LASS, other data)",
        "sdr",
        "hpss",
        short=False,
    ),
    Row(
        "drums-bass-baselines",
        "drums + bass, REPET, SDR",
        "1.04 dB (LASS, other data)",
        "sdr",
        "repet",
        short=False,
    ),
    Row(
        "drums-bass-baselines",
        "drums + bass, FT2D, SDR",
        "0.95 dB (LASS, other data)",
        "sdr",
        "ft2d",
        short=False,
    ),
    Row(
        "drums-bass-baselines",
        "drums + bass, rPCA, SDR",
        "0.82 dB (LASS, other data)",
        "sdr",
        "rpca",
        short=False,
    ),
    Row(
        "drums-bass-baselines",
        "drums + bass, ICA, SDR",
        "-1.26 dB (LASS, other data)",
        "sdr",
        "ica",
        short=False,
    ),
    Row("cifar10-pairs", "CIFAR-10, sums of two images, FD-cifar (not FID)", "–", "fd-cifar", short=False),
    Row("cifar10-pairs", "CIFAR-10, sums of two images, class score", "–", "cs-cifar", short=False),
    Row("cifar10-colors", "CIFAR-10, colorization, FD-cifar (not FID)", "–", "fd-cifar"),
    Row("toy-waves-flows", "toy waves, mean of four, by flows, SDR", "no separation (Frank)", "sdr"),
    Row("toy-waves-encoders", "toy waves, mean of four, by encoders, SDR", "–", "sdr", short=False),
    Row(
        "toy-waves-likelihood",
        "toy waves, least margin of the flows, log p",
        "50.8 nats (Frank)",
        CROSS,
        short=False,
    ),
)
"""Rows in their order; those whose report is not there are left out."""
DROPPED = ("tracks", "seeds", "differences", "notes", "failed")
"""Entries of a report that are not kept."""
HEADS = ("task", "paper", "ours [95 %]", "average or gray", "items", "cost per item")


ABOUT = """# Results

Written by `examples/reproduce/tables.py` from the reports in `examples/reproduce/results/`; no figure of
sepcli is typed. PAIRS, FULLMIX, SONGS, VOICES, MNIST and CIFAR10 are folders of test data, see `NOTES.md`.
Intervals are 95 % bootstrap intervals of the mean over items. Data, networks and machines of the papers
differ from these.
"""


def read(report: str) -> dict[str, Any] | None:
    """Return a report; None if it is not there."""
    path = HERE / "results" / f"{report}.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    refuse_newer(f"the report {path}", document.get("format"), 1)
    return document or None


def cells(row: Row) -> tuple[str, ...] | None:
    """Return the cells of a row; None if its report is not there."""
    document = read(row.report)
    if document is None:
        return None
    if row.metric == CROSS:
        least = min(document["margins"], key=lambda verdict: verdict["margin"])
        value = figure({"mean": least["margin"], "ci95": least["ci95"]}, CROSS, bold=True)
        return row.task, row.paper, value, "–", str(document["n"]), "–"
    results = document["results"][row.metric]
    ours, average = summary(results[row.method]), summary(results.get("average", results.get("gray")))
    base = (
        "–"
        if average is None
        else f"{figure({'mean': average['mean']}, row.metric)} {METRICS[row.metric].unit}"
    )
    is_of_set = METRICS[row.metric].scope == "set"  # one value of all items
    return (
        row.task,
        row.paper,
        figure(ours, row.metric, bold=True),
        base.strip(),
        str(document["protocol"]["tracks"] if is_of_set else ours["n"]),
        cost(document),
    )


def table(short: bool) -> str:
    """Return the table of the README, or of all rows; those without a report are left out."""
    rows = [texts for row in ROWS if (row.short or not short) and (texts := cells(row)) is not None]
    return markdown(HEADS, rows)


def readme() -> str:
    """Return the README with its table."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table(short=True)}\n{END}{after}"


def results() -> str:
    """Return RESULTS.md: the table of all rows, then a section per report."""
    found = {report: document for report in COMMANDS if (document := read(report)) is not None}
    sections = [section(report, COMMANDS[report], document) for report, document in found.items()]
    others = {"posterior-samplers": samplers, "storage": storage, "decoding": decoding}
    others |= {"lass-codes": codes, "lass-decode": decode, "lass-drafts": drafts, "lass-cost": lass_cost}
    others |= {"preset-cost": preset_cost, "color-ranking": color_ranking}
    others |= {"posterior-exactness": exactness, "levy-posterior": levy}
    others |= {"prior-from-mixtures": from_mixtures, "against": against, "fuzz": fuzz, "kills": kills}
    for names, collect in ((CALIBRATIONS, calibrations), (PRESETS, presets), (FITS, fits)):
        if several := {name: document for name in names if (document := read(name)) is not None}:
            sections.append(collect(several))
    sections += [
        write(document) for report, write in others.items() if (document := read(report)) is not None
    ]
    return "\n".join([ABOUT, table(short=False), "", *sections])


def add(report: Path) -> None:
    """Take a report in: all but the values of items, and when and with what it was measured."""
    whole = json.loads(report.read_text(encoding="utf-8"))
    kept = {
        key: value
        for key, value in whole.items()
        if key not in ("tracks", "seeds", "differences", "notes", "failed")
    }
    date = datetime.fromtimestamp(report.stat().st_mtime, UTC).date().isoformat()
    installed = {"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}}
    kept["measured"] = {"date": date, "versions": {"sepcli": __version__, **installed}}
    (HERE / "results").mkdir(exist_ok=True)
    write_text(HERE / "results" / report.name, json.dumps(kept, indent=1) + "\n")


def main(arguments: list[str]) -> int:
    """Write both files, or compare them; return the exit code."""
    if arguments[:1] == ["--add"]:
        for path in arguments[1:]:
            add(Path(path))
    texts = {ROOT / "README.md": readme(), HERE / "RESULTS.md": results()}
    unlike = {
        path: text
        for path, text in texts.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    if arguments == ["--check"]:
        for path in unlike:
            print(f"{path.relative_to(ROOT)} differs from the reports: run {Path(__file__).name}")
        return int(bool(unlike))
    for path, text in unlike.items():
        write_text(path, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
