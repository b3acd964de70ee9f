"""Figures of a calibration: histograms of ranks with their band, and the coverage of TARP."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from sepcli.evaluation.calibration import Calibration

BAND = 0.99
"""Probability that a bin of a calibrated histogram is within its band."""


def calibration_figure(result: Calibration) -> Figure:
    """Return one panel per scalar with its ranks, and one with the coverage of credible regions."""
    panels = len(result.ranks) + 1
    figure = Figure(figsize=(3.0 * panels, 2.8), layout="constrained")
    axes = figure.subplots(1, panels)
    for panel, name in zip(axes, result.ranks, strict=False):
        counts = result.histogram(name)
        low, high = stats.binom.interval(BAND, result.mixtures, 1 / len(counts))
        panel.axhspan(low, high, color="0.85")
        panel.bar(np.arange(len(counts)), counts, width=1.0, edgecolor="white")
        panel.set_xticks([])
        panel.set_xlabel(f"rank of the {name}", fontsize="small")
    axes[0].set_ylabel("mixtures")
    levels = np.linspace(0.0, 1.0, 101)
    low, high = (edge / result.mixtures for edge in stats.binom.interval(BAND, result.mixtures, levels))
    axes[-1].fill_between(levels, low, high, color="0.85")
    axes[-1].plot(levels, levels, color="0.5", linewidth=0.8)
    axes[-1].plot(levels, result.coverage(levels))
    axes[-1].set_xlabel("credibility (TARP)", fontsize="small")
    axes[-1].set_ylabel("coverage", fontsize="small")
    return figure
