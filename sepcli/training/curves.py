"""The validation curve of a run as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepcli.errors import OutputError


def save_curve(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw the denoising error on training and on held-out data over the steps; write it as PNG, atomically.

    Args:
        history: entries of ``sepcli.training.loop.Progress``.
        path: the picture's.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure  # half a second, once a run

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    labels = {
        "train_mse": "training, weights as they are",
        "valid_mse": "held out, mean of the weights",
        "valid_wiener": "held out, Wiener's filter",
    }
    for key, label in labels.items():
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        axes.plot([step for step, _ in points], [error for _, error in points], marker=".", label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("denoising error")
    axes.grid(alpha=0.3)
    axes.legend()
    part = path.with_name(f".{path.name}.part")
    try:
        figure.savefig(part, format="png", dpi=120)
        os.replace(part, path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}", "check the folder and its free space"
        ) from error
    finally:
        part.unlink(missing_ok=True)
