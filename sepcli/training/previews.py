"""The validation curve of a run as an image."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepcli.atomic import write_whole

DENOISING: Mapping[str, str] = {
    "train_mse": "training, weights as they are",
    "valid_mse": "held out, mean of the weights",
    "valid_wiener": "held out, Wiener's filter",
}
"""Figure of a denoiser → what it is."""


def save_curve(
    history: Sequence[Mapping[str, float]],
    path: Path,
    labels: Mapping[str, str] = DENOISING,
    what: str = "denoising error",
) -> None:
    """Draw figures of training and of held-out data over the steps; write it as PNG, atomically.

    Args:
        history: entries of ``sepcli.training.loop.Progress``.
        path: the image's.
        labels: figure → what the legend calls it.
        what: the name of the axis.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure  # half a second, once a run

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for key, label in labels.items():
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        axes.plot([step for step, _ in points], [error for _, error in points], marker=".", label=label)
    axes.set_xlabel("step")
    axes.set_ylabel(what)
    axes.grid(alpha=0.3)
    axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    write_whole(path, file.getvalue())
