"""Histograms of reports: what they show, and that nothing half-written stays."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepcli.errors import OutputError
from sepcli.evaluation.plots import BINS, histogram, save_figure
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Report, make_report
from sepcli.evaluation.score import TrackScore


def report(*values: float) -> Report:
    scores = [
        TrackScore(str(track), method, stem, "psnr", value + offset)
        for method, offset in (("sepcli", 10.0), ("average", 0.0))
        for track, value in enumerate(values)
        for stem in ("first", "second")
    ]
    return make_report(Protocol(("psnr",), "test", ("first", "second"), "sum", len(values)), scores)


def test_every_finite_value_is_in_a_bin_and_means_are_marked() -> None:
    shown = report(1.0, 2.0, 6.0)
    axes = histogram(shown, "psnr").axes[0]
    assert all(word in axes.get_xlabel() for word in ("PSNR", "dB"))
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx([13.0, 3.0])  # type: ignore[index]
    legend = axes.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["sepcli: mean 13.0 dB", "average: mean 3.0 dB"]
    outline = axes.patches[0].get_path().vertices  # type: ignore[attr-defined]
    assert np.asarray(outline)[:, 1].max() == 2  # the two stems of a track are alike
    assert len(np.unique(np.asarray(outline)[:, 0])) == BINS + 1


def test_infinite_values_have_no_mark() -> None:
    axes = histogram(report(math.inf, 1.0), "psnr").axes[0]
    assert len(axes.lines) == 0
    assert axes.patches


@pytest.mark.parametrize("values", [(2.0,), (math.nan, math.inf)])
def test_files_are_whole(values: tuple[float, ...], tmp_path: Path) -> None:
    save_figure(histogram(report(*values), "psnr"), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        image.load()
        assert image.format == "PNG"
        assert min(image.size) > 300
    save_figure(histogram(report(*values), "psnr"), tmp_path / "plot.svg")
    assert "</svg>" in (tmp_path / "plot.svg").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plot.png", "plot.svg"]


def test_an_error_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plot.png").write_bytes(b"before")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutputError, match=r"(?i)no space"):
        save_figure(histogram(report(1.0), "psnr"), tmp_path / "plot.png")
    assert [p.name for p in tmp_path.iterdir()] == ["plot.png"]
    assert (tmp_path / "plot.png").read_bytes() == b"before"
