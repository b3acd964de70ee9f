"""Plot spectrograms of a mixture and its stems, one above the other.

python examples/plot_separation.py examples/song/mix.flac separated/mix --truth examples/song/stems
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile


def main() -> None:
    """Plot and save the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mixture", type=Path)
    parser.add_argument("stems", type=Path, help="folder with one audio file per stem")
    parser.add_argument("--truth", type=Path, help="folder with the true stems")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=Path("separation.png"))
    options = parser.parse_args()
    rows = [("mixture", options.mixture)]
    for stem in sorted(options.stems.glob("*.[wf][al]*")):
        rows.append((stem.stem, stem))
        truth = options.truth / stem.name if options.truth else None
        if truth and truth.exists():
            rows.append((f"{stem.stem}, true", truth))
    figure, axes = plt.subplots(len(rows), 1, figsize=(9, 1.7 * len(rows)), sharex=True, layout="constrained")
    for axis, (title, path) in zip(np.atleast_1d(axes), rows, strict=True):
        signal, rate = soundfile.read(path, always_2d=True)
        mono = signal[: round(options.seconds * rate)].mean(axis=1)
        axis.specgram(
            mono + 1e-6 * np.cos(np.arange(len(mono))),
            NFFT=2048,
            noverlap=1536,
            Fs=rate,
            vmin=-130,
            vmax=-40,
            cmap="magma",
        )
        axis.set_yscale("symlog", linthresh=500)
        axis.set_ylim(30, 16000)
        axis.set_yticks([100, 1000, 10000], ["100", "1k", "10k"])
        axis.set_ylabel("Hz")
        axis.set_title(title, loc="left", fontsize=10)
    axes[-1].set_xlabel("s")
    figure.savefig(options.out, dpi=80)


if __name__ == "__main__":
    main()
