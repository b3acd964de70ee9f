"""Previews of a training run: validation curve, sample images and sample signals."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from sepcli.atomic import make_folder, write_whole

CURVE, SHEET, SIGNALS = "validation.png", "samples.png", "samples"
"""Their names in a prior's folder."""


def save_curve(
    history: Sequence[Mapping[str, float]], path: Path, labels: Mapping[str, str], what: str
) -> None:
    """Plot figures of training and of held-out data over the steps; write the plot as PNG, atomically.

    Args:
        history: entries of ``sepcli.training.checkpoints.Progress``.
        path: of the plot.
        labels: figure → its name in the legend.
        what: label of the vertical axis.

    Raises:
        OutputError: the file cannot be written.
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


def save_sheet(path: Path, images: Tensor, columns: int) -> None:
    """Write images (N, C, H, W), N a multiple of ``columns``, as one PNG file; replace what was there.

    Raises:
        OutputError: the file cannot be written.
    """
    from sepcli.media.contact_sheet import contact_sheet
    from sepcli.media.image_writer import write_images
    from sepcli.media.images import RasterImage

    rows = images.view(-1, columns, *images.shape[1:]).numpy()
    sheet = contact_sheet(list(map(list, rows)), [""] * columns, [""] * len(rows))
    write_images([(path, RasterImage(sheet))], overwrite=True)


def save_signals(folder: Path, signals: Tensor, rate: int) -> None:
    """Write signals (N, T) as ``01.flac`` and so on, each of them atomically.

    Raises:
        OutputError: they cannot be written.
    """
    import soundfile

    make_folder(folder)
    for number, signal in enumerate(signals.clamp(-1.0, 1.0), 1):
        file = io.BytesIO()
        soundfile.write(file, signal.numpy(), rate, format="FLAC", subtype="PCM_16")
        write_whole(folder / f"{number:02d}.flac", file.getvalue())
