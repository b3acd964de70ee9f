"""Kill runs at random moments, resume them, and compare with runs that nothing disturbed.

    python tests/kill_runs.py --kills 20 --seed 1 --out examples/reproduce/results/kills.json

Each run is a process of its own; a kill cannot be caught. Prints what was killed when, and what differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from fuzz_inputs import RATE
from PIL import Image
from tiny_priors import write_lass_prior

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Command:
    """A command that can be resumed.

    Attributes:
        words: its arguments; after those of Python.
        out: the folder that it writes into, which a copy of ``before`` replaces first.
        compared: names of the files that repeat to the byte; others hold times.
        before: what the folder holds at the start.
    """

    words: tuple[object, ...]
    out: Path
    compared: Callable[[Path], bool]
    before: Path | None = None

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Start the command."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, *map(str, self.words), *more]
        return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def clear(self) -> None:
        """Bring the folder into its first state."""
        shutil.rmtree(self.out, ignore_errors=True)
        if self.before is not None:
            shutil.copytree(self.before, self.out)

    def result(self) -> dict[str, bytes]:
        """The bytes of what it has written; temporary files count, because none may stay."""
        return {path.relative_to(self.out).as_posix(): _without_times(path) for path in self.files()}

    def files(self) -> list[Path]:
        """What it has written so far."""
        files = [path for path in self.out.rglob("*") if path.is_file()]
        return [path for path in files if self.compared(path) or path.name.startswith(".sepcli")]


def _without_times(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name != "run.json":
        return data
    return json.dumps(json.loads(data, object_hook=lambda o: {k: o[k] for k in o if k != "elapsed"})).encode()


def separate(folder: Path) -> Command:
    """A batch of six recordings."""
    rng, prior = np.random.default_rng(0), write_lass_prior(folder / "prior")
    (folder / "mixes").mkdir()
    for number in range(6):
        samples = 0.1 * rng.standard_normal((4 * RATE, 2))
        soundfile.write(folder / "mixes" / f"{number}.wav", samples.clip(-1, 1), RATE)
    words = ("-m", "sepcli", "separate", folder / "mixes", "--prior", prior, "-o", folder / "out", "-q")
    return Command(words, folder / "out", lambda path: True)


def train(folder: Path) -> Command:
    """A denoiser of small images; its card tells how long that took."""
    rng = np.random.default_rng(0)
    (folder / "data").mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / "data" / f"{number:02d}.png")
    out = folder / "out"
    return Command(
        (__file__, "--train", out), out, lambda path: path.name in ("model.safetensors", "config.json")
    )


def train_here(out: Path, resume: bool) -> None:
    """Train in this process, with a checkpoint at every step."""
    import torch
    from train_request import run

    from sepcli.training.task import LoopSettings

    loop = LoopSettings(seconds=None, steps=150, warmup=10, validations=3, checkpoint_seconds=0.0)
    request = {"family": "denoiser", "data": out.parent / "data", "out": out, "preset": "tiny", "batch": 4}
    run({**request, "loop": loop, "device": torch.device("cpu"), "resume": resume})


def fetch(folder: Path) -> Command:
    """A prior with two files of a megabyte, from a server that delivers them slowly."""
    from sepcli.catalog import card as cards

    rng, prior, home = random.Random(0), folder / "prior", folder / "home"
    for part in ("a", "b"):
        (prior / part).mkdir(parents=True)
        (prior / part / "model.safetensors").write_bytes(rng.randbytes(1_000_000))
    card = cards.Card(name="large", medium="image", engine="score", sources=("x",))
    cards.write(cards.with_files(card, prior), prior)
    return Command((__file__, "--fetch", home), home, lambda path: ".locks" not in path.parts)


def fetch_here(home: Path) -> None:
    """Fetch in this process, which also serves: the same command again goes on."""
    os.environ |= {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    from hub_server import running

    with running() as hub:
        os.environ["HF_ENDPOINT"] = hub.url
        hub.publish("tester/large", home.parent / "prior")
        hub.pace = 0.02
        from sepcli.cli.app import run

        code = run(["fetch-priors", "hf:tester/large", "-q"])
    sys.exit(code)


def count(folder: Path) -> Command:
    """Counts for a LASS prior."""
    rng, prior = np.random.default_rng(0), write_lass_prior(folder / "prior")
    shutil.rmtree(prior / "table")
    for number, split in enumerate(("train", "train", "validation")):
        track = folder / "data" / split / f"Track{number:05d}"
        (track / "stems").mkdir(parents=True)
        for stem in ("S00", "S01"):
            samples = 0.1 * rng.standard_normal(16_000)
            soundfile.write(track / "stems" / f"{stem}.flac", samples, RATE)
        (track / "metadata.yaml").write_text(
            "audio_dir: stems\nstems:\n  S00: {inst_class: Bass, audio_rendered: true}\n"
            "  S01: {inst_class: Drums, audio_rendered: true}\n"
        )
    words = (
        "-m",
        "sepcli",
        "build-likelihood",
        "--prior",
        folder / "out",
        "--data",
        folder / "data",
        *COUNT_OFTEN,
    )
    words += ("--cache", folder / "out" / "cache", "-q")
    return Command(words, folder / "out", lambda path: {"table", "cache"} & {*path.parts}, prior)


SETTINGS = ("pairs=4", "chunk_tokens=32", "held_out=1", "save_seconds=0")
COUNT_OFTEN = ("--tokens", 1000 * 128, *(word for setting in SETTINGS for word in ("--set", setting)))
COMMANDS: Mapping[str, Callable[[Path], Command]] = {
    "separate": separate,
    "train": train,
    "count": count,
    "fetch": fetch,
}


def kill_and_resume(name: str, moments: Iterable[float], folder: Path) -> list[dict[str, Any]]:
    """Kill a command at moments, parts of the time from its first file to its end; what came of each."""
    (folder / name).mkdir(parents=True)
    command = COMMANDS[name](folder / name)
    command.clear()
    process = command.start()
    _wait_for_files(command, process)
    start = time.monotonic()
    _finish(process)
    seconds, expected = time.monotonic() - start, command.result()
    lines = []
    for moment in moments:
        while not _killed(command, moment * seconds):
            moment *= 0.8  # it had ended already
        there = len(command.result())
        _finish(command.start("--resume"))
        result = command.result()
        unlike = sorted(n for n in {*expected, *result} if expected.get(n) != result.get(n))
        lines.append({"run": name, "moment": round(moment, 3), "files_left": there, "unlike": unlike})
    return lines


def _killed(command: Command, seconds: float) -> bool:
    """Start a command anew, kill it some seconds after its first file; whether it was running then."""
    command.clear()
    process = command.start()
    _wait_for_files(command, process)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    text, code = _drain(process), process.wait()
    assert code in (0, -signal.SIGKILL), text
    return code != 0


def _wait_for_files(command: Command, process: subprocess.Popen[bytes]) -> None:
    """Wait until a command has begun to write, or has ended."""
    while not command.files() and process.poll() is None:
        time.sleep(0.01)


def _drain(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    with process.stderr as stream:
        return stream.read().decode(errors="replace")


def _finish(process: subprocess.Popen[bytes]) -> None:
    text = _drain(process)
    assert process.wait() == 0, text


def kill_all(kills: int, seed: int, names: Sequence[str] = tuple(COMMANDS)) -> dict[str, Any]:
    """Kill commands in turn, at random moments; the document that is printed."""
    rng, start, lines = np.random.default_rng(seed), time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            share = len(range(number, kills, len(names)))
            if share:
                lines += kill_and_resume(name, rng.uniform(0.0, 1.0, share), Path(folder).resolve())
    return {
        "seed": seed,
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.monotonic() - start, 1),
        "killed": len(lines),
        "failures": sum(bool(line["unlike"]) for line in lines),
        "each": lines,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    parser.add_argument("--run", action="append", choices=[*COMMANDS], help="default: all")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fetch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.train:
        train_here(chosen.train, chosen.resume)
        return
    if chosen.fetch:
        fetch_here(chosen.fetch)
    report = json.dumps(kill_all(chosen.kills, chosen.seed, chosen.run or [*COMMANDS]), indent=1)
    if chosen.out:
        chosen.out.write_text(report + "\n", "utf-8")
    print(report)


if __name__ == "__main__":
    main()
