"""Time and memory of this version beside an earlier one, in one run: the same work by both in turns.

    python examples/benchmarks/against.py 88fd68d --work song files busy --mnist MNIST --out against.json

Both versions run as processes of this Python, with the libraries that are installed. Printed, and written as
JSON, are the medians of the wall seconds, the peak memory, and the ratio of this version to the earlier one.

Work:
    song: a stereo recording of three minutes, whose channels differ.
    mono: the same with equal channels, which is half the work since the difference is separated, too.
    files: twelve recordings of three seconds in one call.
    busy: as files, beside a process that keeps one core busy.
    digits: 64 sums of two digits, by successive halving (with --mnist).
    estimates: finished estimates of 50 tracks of four stems, by two workers.
    training: chunks per second of a denoiser of audio.
    start: seconds to the first thing on the screen, of a recording of three seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import pty
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from psutil import Process

ROOT = Path(__file__).parents[2]
SONG = ROOT / "examples" / "song" / "mix.flac"
RATE = 44100
BUSY = "while True: pass"
SAFE: Mapping[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Options of extraction; Python 3.11 has filters since 3.11.4."""


class Run(NamedTuple):
    """What one run took: wall seconds, and megabytes of memory at most."""

    seconds: float
    megabytes: float


class Place(NamedTuple):
    """A folder for inputs and outputs, and where the digits are."""

    folder: Path
    mnist: Path | None

    def song(self, name: str, seconds: float, stereo: bool) -> Path:
        """Write repetitions of the example; of one channel twice, or of a channel and its delayed copy."""
        signal, rate = soundfile.read(SONG, dtype="float32", always_2d=True)
        mono = np.resize(signal.mean(axis=1), round(seconds * rate))
        other = np.roll(mono, rate // 50) if stereo else mono
        path = self.folder / name
        soundfile.write(path, 0.5 * np.stack([mono, other], axis=1), rate, "PCM_16")
        return path


EARLIER = {"--jobs": "--workers"}
"""Options by the names that earlier versions had for them."""
Work = Callable[[Place], Sequence[str]]
"""Makes the input; returns the arguments of the command, which has OUT where its output goes."""


def song(place: Place) -> list[str]:
    """``separate`` of a stereo recording."""
    path = place.song("song.wav", 180.0, stereo=True)
    return ["separate", str(path), "--prior", "slakh-drums-bass", "--out", "OUT", "--quiet"]


def mono(place: Place) -> list[str]:
    """``separate`` of a recording of equal channels."""
    path = place.song("mono.wav", 180.0, stereo=False)
    return ["separate", str(path), "--prior", "slakh-drums-bass", "--out", "OUT", "--quiet"]


def files(place: Place) -> list[str]:
    """``separate`` of many short recordings."""
    paths = [str(place.song(f"short{number}.wav", 3.0, stereo=False)) for number in range(12)]
    return ["separate", *paths, "--prior", "slakh-drums-bass", "--out", "OUT", "--quiet"]


def digits(place: Place) -> list[str]:
    """``evaluate`` of sums of digits."""
    if place.mnist is None:
        raise SystemExit("the work 'digits' needs --mnist FOLDER")
    options = ["--dataset", "mnist", "--data", str(place.mnist), "--pairs", "64", "--metric", "psnr"]
    return ["evaluate", *options, "--prior", "mnist", "--out", "OUT.json", "--quiet"]


def estimates(place: Place) -> list[str]:
    """``evaluate`` of finished estimates, 20 s each."""
    rng, stems = np.random.default_rng(0), ("vocals", "drums", "bass", "other")
    for track in range(50):
        for stem in stems:
            signal = 0.1 * rng.standard_normal((20 * 8000, 2))
            for kind, error in (("references", 0.0), ("estimates", 0.03)):
                folder = place.folder / kind / f"{track:02d}"
                folder.mkdir(parents=True, exist_ok=True)
                noise = error * rng.standard_normal(signal.shape)
                soundfile.write(folder / f"{stem}.wav", signal + noise, 8000, "PCM_16")
    folders = [str(place.folder / kind) for kind in ("estimates", "references")]
    return ["evaluate", *folders, "--metric", "sdr", "--jobs", "2", "--out", "OUT.json", "--quiet"]


def training(place: Place) -> list[str]:
    """``train-prior`` of a denoiser of the built-in size, for 40 steps."""
    folder = place.folder / "recordings"
    folder.mkdir(exist_ok=True)
    for number in range(4):
        (place.folder / f"part{number}.wav").unlink(missing_ok=True)
        place.song(f"recordings/{number}.wav", 60.0, stereo=False)
    options = ["--family", "denoiser", "--preset", "small", "--steps", "40"]
    return ["train-prior", *options, "--data", str(folder), "--out", "OUT", "--quiet"]


WORKS: Mapping[str, Work] = {
    "song": song,
    "mono": mono,
    "files": files,
    "busy": files,
    "digits": digits,
    "estimates": estimates,
    "training": training,
    "start": files,
}


def unpack(commit: str, folder: Path) -> None:
    """Unpack the package as it was at a commit."""
    archive = folder / "sepcli.tar"
    command = ["git", "-C", str(ROOT), "archive", "--output", str(archive), commit, "sepcli"]
    subprocess.run(command, check=True)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, **SAFE)
    archive.unlink()


def run(package: Path, arguments: Sequence[str], out: Path, screen: bool) -> Run:
    """Run a command by the package of a folder; with ``screen``, until it says something on a terminal."""
    if package != ROOT:
        arguments = [EARLIER.get(argument, argument) for argument in arguments]
    filled = [str(out) + argument[3:] if argument.startswith("OUT") else argument for argument in arguments]
    command = [sys.executable, "-m", "sepcli", *(a for a in filled if not (screen and a == "--quiet"))]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    if screen:
        return first_words(command, environment, out.parent)
    peak, started = 0, time.perf_counter()
    with subprocess.Popen(command, env=environment, cwd=out.parent, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Run(time.perf_counter() - started, peak / 2**20)


def first_words(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Run:
    """Run a command on a terminal until it says something."""
    terminal, screen = pty.openpty()
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, cwd=folder, stdout=screen, stderr=screen, stdin=screen
    ) as process:
        os.read(terminal, 1)
        seconds = time.perf_counter() - started
        process.kill()
    os.close(screen)
    os.close(terminal)
    return Run(seconds, 0.0)


def memory(pid: int) -> int:
    """Return the resident bytes of a process and its children, 0 when it has ended."""
    try:
        parent = Process(pid)
        return sum(process.memory_info().rss for process in (parent, *parent.children(recursive=True)))
    except Exception:  # it ends while it is looked at
        return 0


def compare(name: str, commit: str, repeats: int, mnist: Path | None) -> dict[str, Any]:
    """Do the work of a name by both versions in turns; return medians and ratio."""
    with tempfile.TemporaryDirectory() as parent:
        before, place = Path(parent) / "before", Path(parent) / "work"
        before.mkdir()
        place.mkdir()
        unpack(commit, before)
        arguments = WORKS[name](Place(place, mnist))
        runs: dict[str, list[Run]] = {"before": [], "now": []}
        for number in range(repeats):
            for label, package in (("before", before), ("now", ROOT)):
                out = place / f"{label}{number}"
                busy = subprocess.Popen([sys.executable, "-c", BUSY]) if name == "busy" else None
                try:
                    runs[label].append(run(package, arguments, out, name == "start"))
                finally:
                    if busy is not None:
                        busy.kill()
                        busy.wait()
    medians = {label: statistics.median(one.seconds for one in each) for label, each in runs.items()}
    return {
        "work": name,
        **{f"seconds_{label}": round(median, 2) for label, median in medians.items()},
        "ratio": round(medians["now"] / medians["before"], 3),
        **{f"megabytes_{label}": round(max(one.megabytes for one in each)) for label, each in runs.items()},
    }


def main() -> None:
    """Measure, print a line per work, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("commit", help="the earlier version")
    parser.add_argument(
        "--work", nargs="+", choices=WORKS, default=["song", "mono", "files", "busy", "start"]
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each version")
    parser.add_argument("--mnist", type=Path, help="folder of MNIST, for digits")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    given = parser.parse_args()
    rows = []
    for name in given.work:
        rows.append(compare(name, given.commit, given.repeats, given.mnist))
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    report = {
        "before": given.commit,
        "repeats": given.repeats,
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
        "torch": version("torch"),
        "rows": rows,
    }
    if given.out:
        given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
