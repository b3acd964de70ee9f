"""What the separation of a catalogue takes, from constants that are measured here.

    python examples/cluster/catalogue_cost.py --songs 1000000 --minutes 3.5 --out catalogue.json
    python examples/cluster/catalogue_cost.py --readme catalogue.json

``examples/song/mix.flac``, cut or repeated, is separated by one worker in three runs of ``sepcli
separate``: some short files, twice as many, and as many longer ones; the differences are the constants of a
worker. Those of the driver, which distributes the songs, come from two runs of very short files by a method
that takes little time. On processors times are those of the processes (user and system), which other
programs hardly change; with a GPU (``--device cuda``) those of a clock. ``--readme`` writes the table of a
report into the README beside this program.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

HERE = Path(__file__).parent
SONG = HERE.parent / "song" / "mix.flac"
README, MARKS = HERE / "README.md", ("<!-- catalogue -->", "<!-- end of catalogue -->")
WORKERS = (1, 100, 1000)
PROGRAM = """
import json, resource, sys
from sepcli.cli.app import run
code = run(sys.argv[1:])
driver, worker = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
times = [use.ru_utime + use.ru_stime for use in (driver, worker)]
print(json.dumps([*times, worker.ru_maxrss]), file=sys.stderr)
sys.exit(code)
"""


class Run(NamedTuple):
    """What a run took.

    Attributes:
        wall: seconds by a clock.
        driver: processor seconds of the process that distributes the songs.
        worker: processor seconds of the worker.
        memory: bytes of the worker at most.
    """

    wall: float
    driver: float
    worker: float
    memory: int


class Constants(NamedTuple):
    """What separation takes.

    Attributes:
        start: seconds until a worker begins.
        song: seconds per song besides those of its length: reading, hashing, writing, the record.
        second: seconds per second of audio.
        driver: seconds per song of the process that distributes the songs, which does it alone.
        memory: bytes of a worker, of short songs.
        read: bytes per second of audio that are read.
        written: likewise written.
    """

    start: float
    song: float
    second: float
    driver: float
    memory: int
    read: float
    written: float


def separate(folder: Path, count: int, seconds: float, options: Sequence[str]) -> tuple[Run, int, int]:
    """Separate files of some length by one worker; return what it took, and bytes read and written."""
    source, out = folder / f"{count}x{seconds:g}", folder / f"out-{count}x{seconds:g}"
    source.mkdir()
    song, rate = soundfile.read(SONG, dtype="int16")
    frames = round(seconds * rate)
    samples = np.tile(song, (-(-frames // len(song)), 1))[:frames]
    for number in range(count):
        soundfile.write(source / f"{number}.flac", samples, rate)
    command = [sys.executable, "-c", PROGRAM, "separate", str(source), "--out", str(out), "--quiet"]
    command += ["--executor", "processes", "--jobs", "1", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    wall = time.perf_counter() - started
    driver, worker, memory = json.loads(done.stderr.splitlines()[-1])
    sizes = (sum(path.stat().st_size for path in place.rglob("*.flac")) for place in (source, out))
    return Run(wall, driver, worker, memory * (1 if sys.platform == "darwin" else 1024)), *sizes


def measure(
    files: int, lengths: tuple[float, float], tiny_files: int, options: Sequence[str], clock: bool
) -> Constants:
    """Return the constants, from files of two lengths in seconds, and tiny ones; ``clock``: of wall time."""
    short, long = lengths
    with tempfile.TemporaryDirectory() as name:
        few, _, _ = separate(Path(name), files, short, options)
        many, _, _ = separate(Path(name), 2 * files, short, options)
        longer, read, written = separate(Path(name), files, long, options)
        tiny = [separate(Path(name), tiny_files * times, 0.1, ["--method", "hpss"])[0] for times in (1, 5)]

    def seconds(run: Run) -> float:
        return run.wall if clock else run.worker

    each = (seconds(many) - seconds(few)) / files
    second = max(0.0, (seconds(longer) - seconds(few)) / (files * (long - short)))
    audio = files * long
    return Constants(
        start=max(0.0, seconds(few) - files * each),
        song=max(0.0, each - second * short),
        second=second,
        driver=max(1e-6, (tiny[1].driver - tiny[0].driver) / (4 * tiny_files)),
        memory=longer.memory,
        read=read / audio,
        written=written / audio,
    )


def predict(constants: Constants, songs: int, minutes: float, workers: int) -> dict[str, float]:
    """Return what a catalogue takes with so many workers; see the README for the formula."""
    song = constants.song + 60 * minutes * constants.second
    seconds = constants.start + songs * (constants.driver + song / workers)
    traffic = songs * 60 * minutes * (constants.read + constants.written)
    return {
        "workers": workers,
        "hours": seconds / 3600,
        "megabytes_per_second": traffic / seconds / 1e6,
    }


def table(report: Mapping[str, Any]) -> str:
    """Return the constants and what follows from them as Markdown."""
    c, audio = report["constants"], 60 * report["minutes"]
    lines = [
        f"Measured on {report['machine']}, prior {report['prior']}:",
        "",
        "| constant | value |",
        "| --- | --- |",
        f"| s, start of a worker | {c['start']:.2g} s |",
        f"| o, a song besides its length | {c['song']:.2g} s |",
        f"| r, a second of audio | {c['second']:.2g} s |",
        f"| d, the driver, a song | {1000 * c['driver']:.2g} ms |",
        f"| memory of a worker, at least | {c['memory'] / 1e9:.2g} GB |",
        f"| a song read, and its stems written | {c['read'] * audio / 1e6:.3g} and"
        f" {c['written'] * audio / 1e6:.3g} MB |",
        f"| workers at which half of the time is the driver's | {report['most_workers']:,} |",
        "",
        f"{report['songs']:,} songs of {report['minutes']:g} minutes:",
        "",
        "| workers | time | input and output |",
        "| --- | --- | --- |",
    ]
    for row in report["predictions"]:
        time_text = f"{row['hours'] / 24:,.3g} days" if row["hours"] > 48 else f"{row['hours']:.3g} hours"
        lines.append(f"| {row['workers']:,} | {time_text} | {row['megabytes_per_second']:.3g} MB/s |")
    return "\n".join(lines)


def write_readme(report: Mapping[str, Any], readme: Path = README) -> None:
    """Put the table of a report between the marks of the README."""
    before, _, rest = readme.read_text("utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    readme.write_text(f"{before}{MARKS[0]}\n{table(report)}\n{MARKS[1]}{after}", "utf-8")


def report_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, and return the report."""
    device = arguments.device
    options = ["--device", device, *(word for prior in arguments.prior for word in ("--prior", prior))]
    constants = measure(
        arguments.files, arguments.seconds, arguments.tiny_files, options, clock=device != "cpu"
    )
    songs, minutes = arguments.songs, arguments.minutes
    song = constants.song + 60 * minutes * constants.second
    return {
        "songs": songs,
        "minutes": minutes,
        "prior": "+".join(Path(prior).name for prior in arguments.prior) or "slakh-drums-bass",
        "machine": f"{platform.machine()}, {'one thread' if device == 'cpu' else device} per worker",
        "measured": {"files": arguments.files, "seconds": arguments.seconds},
        "constants": constants._asdict(),
        "most_workers": int(song / constants.driver),
        "predictions": [predict(constants, songs, minutes, workers) for workers in arguments.workers],
    }


def main() -> None:
    """Measure and print a report, or write one into the README."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--songs", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=3.5, help="length of a song")
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    parser.add_argument("--files", type=int, default=4, help="number of files of a measurement")
    parser.add_argument("--seconds", type=float, nargs=2, default=[10.0, 60.0], help="lengths of the files")
    parser.add_argument("--tiny-files", type=int, default=30, help="files by which the driver is measured")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prior", action="append", default=[], help="repeatable; default: slakh-drums-bass")
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    parser.add_argument("--readme", type=Path, metavar="REPORT", help="write this report into the README")
    arguments = parser.parse_args()
    if arguments.readme:
        return write_readme(json.loads(arguments.readme.read_text("utf-8")))
    text = json.dumps(report_of(arguments), indent=1)
    if arguments.out:
        arguments.out.write_text(f"{text}\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
