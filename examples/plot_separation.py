"""Separate a recording, and plot spectrograms: the mixture at the left, a row per stem, and the true stems.

    python examples/plot_separation.py examples/song/mix.flac --truth examples/song/stems --out separation.png

This command draws the picture of the README.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

import sepcli

COLORS = 48
"""Colors of the file, which is a third as large as with all of them."""

Signal = NDArray[np.float64]  # (T, C)


def draw(axis: Any, signal: Signal, rate: int, title: str, seconds: float) -> None:
    """Draw the spectrogram of the first seconds of the channels' mean, from -120 to -45 dB."""
    mono = signal[: round(seconds * rate)].mean(axis=1)
    mono = mono + 1e-6 * np.cos(np.arange(len(mono)))
    axis.specgram(mono, NFFT=2048, noverlap=1024, Fs=rate, vmin=-120, vmax=-45, cmap="magma")
    axis.set_yscale("symlog", linthresh=500)
    axis.set_ylim(30, 16000)
    axis.set_yticks([100, 1000, 10000], ["100", "1k", "10k"])
    axis.set_title(title, loc="left", fontsize=10)


def plot(
    mixture: Signal, stems: dict[str, Signal], truths: dict[str, Signal], rate: int, seconds: float
) -> Figure:
    """Return the figure of a mixture, its stems in alphabetical order, and the true ones that there are."""
    columns = 3 if truths else 2
    figure = Figure(figsize=(3 * columns, 1.7 * len(stems)), layout="constrained")
    grid = figure.add_gridspec(len(stems), columns)
    axes = [figure.add_subplot(grid[:, 0])]
    draw(axes[0], mixture, rate, "mixture", seconds)
    for row, (name, stem) in enumerate(sorted(stems.items())):
        axes.append(figure.add_subplot(grid[row, 1], sharex=axes[0]))
        draw(axes[-1], stem, rate, name, seconds)
        if name in truths:
            axes.append(figure.add_subplot(grid[row, 2], sharex=axes[0]))
            draw(axes[-1], truths[name], rate, f"{name}, true", seconds)
    for axis in axes:
        last = axis.get_subplotspec().is_last_row()
        axis.tick_params(labelbottom=last)
        axis.set_xlabel("s" if last else "")
    axes[0].set_ylabel("Hz")
    return figure


def main() -> None:
    """Separate, plot and save the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mixture", type=Path)
    parser.add_argument("--truth", type=Path, help="folder with the true stems")
    parser.add_argument("--prior", default="slakh-drums-bass")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=Path("separation.png"))
    options = parser.parse_args()
    mixture, rate = soundfile.read(options.mixture, always_2d=True)
    result = sepcli.load(options.prior).separate(mixture, sample_rate=rate, channel_axis=1, seed=0)
    stems = {name: np.asarray(result[name]) for name in result.names}
    files = sorted(options.truth.glob("*.[wf][al]*")) if options.truth else []
    truths = {path.stem: soundfile.read(path, always_2d=True)[0] for path in files}
    file = io.BytesIO()
    plot(mixture, stems, truths, rate, options.seconds).savefig(file, dpi=100, facecolor="white")
    Image.open(file).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(
        options.out, optimize=True
    )


if __name__ == "__main__":
    main()
