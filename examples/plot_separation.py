"""Plot spectrograms: the mixture at the left, a row per stem, and the true stems at the right.

    sepcli separate examples/song/mix.flac
    python examples/plot_separation.py examples/song/mix.flac separated/mix --truth examples/song/stems

These commands draw the picture of the README.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from matplotlib.figure import Figure
from PIL import Image

COLORS = 48
"""Colors of the file, which is a third as large as with all of them."""


def draw(axis: Any, path: Path, title: str, seconds: float) -> None:
    """Draw the spectrogram of a file's channels' mean, from -120 to -45 dB."""
    signal, rate = soundfile.read(
        path, always_2d=True, frames=round(seconds * soundfile.info(path).samplerate)
    )
    mono = signal.mean(axis=1) + 1e-6 * np.cos(np.arange(len(signal)))
    axis.specgram(mono, NFFT=2048, noverlap=1024, Fs=rate, vmin=-120, vmax=-45, cmap="magma")
    axis.set_yscale("symlog", linthresh=500)
    axis.set_ylim(30, 16000)
    axis.set_yticks([100, 1000, 10000], ["100", "1k", "10k"])
    axis.set_title(title, loc="left", fontsize=10)


def main() -> None:
    """Plot and save the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mixture", type=Path)
    parser.add_argument("stems", type=Path, help="folder with one audio file per stem")
    parser.add_argument("--truth", type=Path, help="folder with the true stems")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=Path("separation.png"))
    options = parser.parse_args()
    stems = sorted(options.stems.glob("*.[wf][al]*"))
    truths = {stem: options.truth / stem.name for stem in stems} if options.truth else {}
    columns = 3 if truths else 2
    figure = Figure(figsize=(3 * columns, 1.7 * len(stems)), layout="constrained")
    grid = figure.add_gridspec(len(stems), columns)
    axes = [figure.add_subplot(grid[:, 0])]
    draw(axes[0], options.mixture, "mixture", options.seconds)
    for row, stem in enumerate(stems):
        axes.append(figure.add_subplot(grid[row, 1], sharex=axes[0]))
        draw(axes[-1], stem, stem.stem, options.seconds)
        if stem in truths and truths[stem].exists():
            axes.append(figure.add_subplot(grid[row, 2], sharex=axes[0]))
            draw(axes[-1], truths[stem], f"{stem.stem}, true", options.seconds)
    for axis in axes:
        last = axis.get_subplotspec().is_last_row()
        axis.tick_params(labelbottom=last)
        axis.set_xlabel("s" if last else "")
    axes[0].set_ylabel("Hz")
    file = io.BytesIO()
    figure.savefig(file, dpi=100, facecolor="white")
    Image.open(file).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(
        options.out, optimize=True
    )


if __name__ == "__main__":
    main()
