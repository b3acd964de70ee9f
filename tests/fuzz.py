"""Damage files at random, and see that sepcli reads or refuses each of them.

    python tests/fuzz.py --minutes 30 --seed 1 --out examples/reproduce/results/fuzz.json

Inputs are numbered; a seed and a number give the same input again (``--first N --count 1 --here``). They are
read by another process, which is replaced if it crashes or takes too long: decoders are foreign code. The
test of CI reads a fixed number in its own process. Prints the number of inputs tried, and what broke a
promise.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sepcli import __version__

LIMIT = 20.0
"""Seconds for one input."""
MEMORY = 12 << 30
"""Bytes of address space that the reading process may use."""


@dataclass
class Tally:
    """What came of the inputs: counts by kind and end, and failures."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, line: dict[str, Any]) -> None:
        """Count one input."""
        self.counts[line["kind"], line["end"]] += 1
        self.slowest = max(self.slowest, line.get("seconds", 0.0))
        if line["end"] == "failed":
            self.failures.append(line)

    def report(self, seed: int, seconds: float) -> dict[str, Any]:
        """The document that is printed."""
        kinds = sorted({kind for kind, _ in self.counts})
        return {
            "seed": seed,
            "measured": measured(),
            "inputs": self.counts.total(),
            "seconds": round(seconds, 1),
            "slowest_input_seconds": round(self.slowest, 2),
            "failures": len(self.failures),
            "kinds": {
                kind: {end: self.counts[kind, end] for end in ("read", "refused", "failed")} for kind in kinds
            },
            "failed": self.failures,
        }


def measured() -> dict[str, Any]:
    """The date, and the versions of what read the inputs."""
    names = ("torch", "numpy", "av", "soundfile", "pillow", "safetensors")
    versions = {"sepcli": __version__, "python": platform.python_version()}
    versions |= {name: version(name) for name in names}
    return {"date": datetime.now(UTC).date().isoformat(), "versions": versions}


def read_numbers(seed: int, numbers: Iterator[int], limit: float) -> Iterator[dict[str, Any]]:
    """Read inputs in this process; yield what came of each."""
    from fuzz_targets import Bench, kind_of, try_one

    with tempfile.TemporaryDirectory() as name, _stderr() as leaked:
        bench = Bench(Path(name).resolve() / "bench")
        leaked()
        for number in numbers:
            line = {"number": number, "kind": kind_of(seed, number)}
            start = time.monotonic()
            try:
                with _time_limit(limit), warnings.catch_warnings():
                    warnings.simplefilter("error")
                    line["end"] = try_one(bench, seed, number)[1]
                if text := leaked():
                    raise AssertionError(f"a decoder printed: {text[:200]}")
            except Exception as error:
                leaked()
                line |= {
                    "end": "failed",
                    "error": f"{type(error).__name__}: {error}"[:300],
                    "at": _place(error),
                }
            yield {**line, "seconds": round(time.monotonic() - start, 3)}


def read_elsewhere(seed: int, first: int, deadline: float, limit: float) -> Iterator[dict[str, Any]]:
    """Read inputs in another process until a moment; yield what came of each."""
    number = first
    while time.monotonic() < deadline:
        words = [sys.executable, __file__, "--here", "--seed", str(seed), "--first", str(number)]
        worker = subprocess.Popen([*words, "--limit", str(limit), "--lines"], stdout=subprocess.PIPE)
        assert worker.stdout is not None
        try:
            patience = 120.0  # libraries load, and inputs are made
            while time.monotonic() < deadline:
                ready = select.select([worker.stdout], [], [], patience)[0]
                text = worker.stdout.readline() if ready else b""
                if not text:
                    from fuzz_targets import kind_of

                    error = f"the process ended: {worker.wait()}" if ready else "no answer in time"
                    yield {"number": number, "kind": kind_of(seed, number), "end": "failed", "error": error}
                    number += 1
                    break
                yield json.loads(text)
                number, patience = number + 1, 3 * limit
        finally:
            worker.kill()
            worker.wait()


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after some seconds, where the system has a timer."""
    alarm, timer = getattr(signal, "SIGALRM", None), getattr(signal, "setitimer", None)
    if alarm is None or timer is None:
        yield
        return

    def stop(*_: object) -> None:
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(alarm, stop)
    timer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        timer(signal.ITIMER_REAL, 0)
        signal.signal(alarm, before)


@contextlib.contextmanager
def _stderr() -> Iterator[Any]:
    """Yield a function that returns what C libraries have printed since its last call."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)

        def leaked() -> str:
            size = os.lseek(file.fileno(), 0, os.SEEK_END)
            text = os.pread(file.fileno(), size, 0)
            os.ftruncate(file.fileno(), 0)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            return text.decode(errors="replace")

        try:
            yield leaked
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "sepcli" in Path(frame.filename).parts] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--count", type=int, help="number of inputs, with --here")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one input")
    parser.add_argument("--kills", type=int, default=0, help="also kill and resume runs, see kill_runs.py")
    parser.add_argument("--here", action="store_true", help="read in this process")
    parser.add_argument("--lines", action="store_true", help="print a line of JSON per input")
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    chosen = parser.parse_args()
    start, tally = time.monotonic(), Tally()
    if chosen.here:
        with contextlib.suppress(ImportError):
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        numbers = itertools.islice(itertools.count(chosen.first), chosen.count)
        lines = read_numbers(chosen.seed, numbers, chosen.limit)
    else:
        lines = read_elsewhere(chosen.seed, chosen.first, start + 60 * chosen.minutes, chosen.limit)
    for line in lines:
        tally.add(line)
        if chosen.lines:
            print(json.dumps(line), flush=True)
    document = tally.report(chosen.seed, time.monotonic() - start)
    if chosen.kills:
        from kill_runs import kill_all

        document["kills"] = kill_all(chosen.kills, chosen.seed)
    report = json.dumps(document, indent=1)
    if chosen.out:
        chosen.out.write_text(report + "\n", "utf-8")
    if not chosen.lines:
        print(report)


if __name__ == "__main__":
    main()
