"""Time of separation per second of audio, and peak memory over the length of the input.

    python examples/benchmarks/separate_cost.py --minutes 0.05 3 --memory 1 10 60

For every length, a file of repetitions of ``examples/song/mix.flac`` is separated by ``sepcli separate`` in a
new process. Times include start-up; ``cpu_seconds`` are those of the processor, which other programs lengthen
less. The lengths of ``--memory`` are separated with four steps of the sampler, which is faster and needs the
same memory. LASS has no such steps: ``--minutes 3 --options --method lass --prior slakh-drums-bass``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

SONG = Path(__file__).parents[1] / "song" / "mix.flac"
MEGABYTE = 1024 if sys.platform != "darwin" else 1024**2


def stretch(path: Path, minutes: float) -> None:
    """Write a file of ``minutes`` of audio, a block at a time."""
    song, rate = soundfile.read(SONG, dtype="int16")
    remaining = round(60 * minutes * rate)
    with soundfile.SoundFile(path, "w", rate, song.shape[1], "PCM_16") as file:
        while remaining > 0:
            file.write(np.ascontiguousarray(song[:remaining]))
            remaining -= len(song)


def cost(minutes: float, options: list[str]) -> dict[str, float]:
    """Separate a file of ``minutes``; return wall seconds and peak resident megabytes of the process."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "long.wav"
        stretch(source, minutes)
        command = [
            sys.executable,
            "-c",
            PROGRAM,
            "separate",
            str(source),
            "-o",
            str(Path(folder) / "out"),
            "-q",
            *options,
        ]
        started = time.perf_counter()
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    processor, peak = json.loads(finished.stderr.splitlines()[-1])
    return {
        "minutes": minutes,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(processor, 1),
        "realtime_factor": round(seconds / (60 * minutes), 3),
        "peak_mb": peak,
    }


PROGRAM = f"""
import resource, sys, time
from sepcli.cli.app import run
code = run(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // {MEGABYTE}
print([time.process_time(), peak], file=sys.stderr)
sys.exit(code)
"""


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="*", default=[0.05, 3.0])
    parser.add_argument("--memory", type=float, nargs="*", default=[])
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="options of sepcli separate")
    arguments = parser.parse_args()
    fast = ["--set", "steps=4"]
    report = {
        "speed": [cost(minutes, arguments.options) for minutes in arguments.minutes],
        "memory": [cost(minutes, [*fast, *arguments.options]) for minutes in arguments.memory],
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
