"""Time and peak memory of ``sepcli evaluate`` on folders of full stereo tracks.

    python examples/benchmarks/full_tracks.py --tracks 50 --minutes 3.5 --jobs 2

The tracks are generated in a temporary folder: four stems of tones and noise at 44.1 kHz and 16 bits, and
estimates with additional noise. Only ``--distinct`` tracks are written, the others are hard links to them: 50
tracks of 3.5 minutes would need 15 GB. Times include start-up. The memory is the resident set of the largest
process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
STEMS = ("bass", "drums", "other", "vocals")
MEGABYTE = 1024 if sys.platform != "darwin" else 1024**2
"""Megabyte in the unit of ``getrusage``."""


def write_track(references: Path, estimates: Path, seconds: float, seed: int) -> None:
    """Write the stems of one track and their estimates, a second at a time."""
    rng = np.random.default_rng(seed)
    for number, stem in enumerate(STEMS):
        tone = rng.uniform(40.0, 2000.0, 2)
        files = [
            soundfile.SoundFile(folder / f"{stem}.wav", "w", RATE, 2, "PCM_16")
            for folder in (references, estimates)
        ]
        remaining, start = round(seconds * RATE), 0
        while remaining > 0:
            t = (start + np.arange(min(RATE, remaining)))[:, None] / RATE
            signal = 0.2 * np.sin(2 * np.pi * tone * t) + 0.02 * (number + 1) * rng.standard_normal(
                (len(t), 2)
            )
            for file, noise in zip(files, (0.0, 0.03), strict=True):
                file.write((signal + noise * rng.standard_normal(signal.shape)).clip(-1, 1))
            remaining, start = remaining - len(t), start + len(t)
        for file in files:
            file.close()


def write_tracks(folder: Path, tracks: int, distinct: int, seconds: float) -> tuple[Path, Path]:
    """Write the folders of estimates and references, and return them."""
    folders = folder / "estimates", folder / "references"
    for number in range(tracks):
        estimates, references = (kind / f"track {number:03d}" for kind in folders)
        estimates.mkdir(parents=True)
        references.mkdir(parents=True)
        if number < distinct:
            write_track(references, estimates, seconds, number)
            continue
        for kind in folders:
            for stem in STEMS:
                source = kind / f"track {number % distinct:03d}" / f"{stem}.wav"
                os.link(source, kind / f"track {number:03d}" / f"{stem}.wav")
    return folders


def cost(estimates: Path, references: Path, options: list[str]) -> dict[str, float]:
    """Score the estimates; return seconds, and the peak resident megabytes of the largest process so far."""
    command = [sys.executable, "-m", "sepcli", "evaluate", str(estimates), str(references)]
    started = time.perf_counter()
    subprocess.run([*command, "--quiet", *options], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / MEGABYTE
    return {"seconds": round(seconds, 1), "peak_mb": round(peak)}


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--distinct", type=int, default=5, help="number of different tracks")
    parser.add_argument("--minutes", type=float, default=3.5, help="length of every track")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--metric", default="sdr")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        distinct = max(1, min(arguments.distinct, arguments.tracks))
        folders = write_tracks(Path(name), arguments.tracks, distinct, 60 * arguments.minutes)
        options = ["--metric", arguments.metric, "--jobs", str(arguments.jobs)]
        few = cost(*write_tracks(Path(name) / "few", 1, 1, 60 * arguments.minutes), options)
        report = {
            **vars(arguments),
            "distinct": distinct,
            "one_track": few,
            "all_tracks": cost(*folders, options),
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
