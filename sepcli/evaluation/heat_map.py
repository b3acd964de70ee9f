"""A cross-likelihood table as an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sepcli.evaluation.cross_likelihood import CrossLikelihood
from sepcli.evaluation.plots import save_figure


def heat_map(table: CrossLikelihood) -> Figure:
    """Means by prior and source, every column shaded by how far below its best they are, logarithmically.

    The cell of every source and its prior has a frame.
    """
    means, count = table.means, len(table.sources)
    below = np.log10(1e-3 + means.max(axis=0) - means)
    figure = Figure(figsize=(2.6 + 1.1 * count, 1.6 + 0.8 * count), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(-below, cmap="viridis", aspect="auto")
    middle = (below.max() + below.min()) / 2
    for (row, column), value in np.ndenumerate(means):
        tint = "white" if below[row, column] > middle else "black"
        axes.text(column, row, f"{value:.3g}", ha="center", va="center", color=tint)
    for k in range(count):
        axes.add_patch(Rectangle((k - 0.5, k - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=2))
    axes.set_xticks(range(count), table.sources, parse_math=False)
    axes.set_yticks(range(count), table.priors, parse_math=False)
    axes.set_xlabel("test items")
    axes.set_ylabel("prior")
    axes.set_title("mean log-likelihood, nats per sample", fontsize="medium")
    return figure


def save_heat_map(table: CrossLikelihood, path: Path) -> None:
    """Write ``heat_map`` to a file whose name ends in the format, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    save_figure(heat_map(table), path)
