"""The Slurm script of separation, with stubs of Slurm's programs, and what a catalogue takes."""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_sound import make_sound
from torchrun import LONGEST, environment, wait_for

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"
SCRIPT, PROGRAM = FOLDER / "separate.sbatch", FOLDER / "catalogue_cost.py"
PRIOR = """
import time


class Slow:
    def score(self, x, sigma):
        time.sleep(0.3)
        return -x / (0.1 + sigma**2)


own = Slow()
"""
STUBS = {
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    "scontrol": 'if [ "$1" = requeue ]; then echo "$2" > "$REQUEUED"; else echo localhost; fi\n',
    "ray": f'exec "{sys.executable}" -m ray.scripts.scripts "$@"\n',
    "python": f'exec "{sys.executable}" "$@"\n',
    "sepcli": f'exec "{sys.executable}" -m sepcli "$@"\n',
}
"""``srun`` runs the command once, on this machine."""
bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


def start(folder: Path, words: Sequence[object]) -> subprocess.Popen[str]:
    """Start the script as Slurm does on a single machine."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in STUBS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (programs / name).chmod(0o755)
    paths = [environment()["PYTHONPATH"], os.environ.get("PYTHONPATH", "")]
    variables = environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        PYTHONPATH=os.pathsep.join(path for path in paths if path),
        HOME=str(folder),
        SLURM_JOB_ID=str(os.getpid()),
        SLURM_JOB_NODELIST="localhost",
        SLURM_JOB_NUM_NODES="1",
        SLURM_NODEID="0",
        SLURM_CPUS_PER_TASK="2",
        REQUEUED=str(folder / "requeued"),
    )
    command = ["bash", str(SCRIPT), *map(str, words)]
    return subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@bash
def test_slurm_reads_all_options_of_the_script() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    lines = SCRIPT.read_text().splitlines()
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH --")]
    assert len(options) == 9
    assert all(line.startswith("#") for line in lines[: options[-1]])  # it stops at the first command


@bash
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
def test_a_catalogue_that_is_stopped_is_queued_again_and_completed(tmp_path: Path) -> None:
    (tmp_path / "prior.py").write_text(PRIOR)
    (tmp_path / "images").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    words = [
        "images",
        "--prior",
        "prior.py:own",
        "--sampler",
        "projected",
        "--set",
        "steps=10",
        "--out",
        "out",
    ]
    words += ["--set", "sigma_max=1"]
    job = start(tmp_path, words)
    wait_for(lambda: any((tmp_path / "out").glob("*/run.json")), job)
    job.send_signal(signal.SIGTERM)  # to the script only, as by --signal=B:TERM
    _, text = job.communicate(timeout=LONGEST)
    assert job.returncode == 130, text
    assert (tmp_path / "requeued").read_text().strip() == str(os.getpid())
    finished = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not [path for path in finished if path.name.startswith(".")]
    assert 1 <= len([path for path in finished if path.name == "run.json"]) < 6
    job = start(tmp_path, words)
    out, text = job.communicate(timeout=LONGEST)
    assert job.returncode == 0, text
    assert len([*(tmp_path / "out").glob("*/run.json")]) == 6
    assert len(out.splitlines()) == 6 - len([path for path in finished if path.name == "run.json"])
    assert {path: path.read_bytes() for path in finished} == finished


def program() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


def test_the_formula() -> None:
    module = program()
    constants = module["Constants"](10.0, 2.0, 0.5, 0.01, 10**9, 40_000.0, 60_000.0)
    row = module["predict"](constants, 1000, 2.0, 4)
    assert row["hours"] == pytest.approx((10 + 1000 * (0.01 + (2 + 120 * 0.5) / 4)) / 3600)
    assert row["megabytes_per_second"] == pytest.approx(1000 * 120 * 0.1 / (3600 * row["hours"]))


def test_the_readme_has_the_table_of_its_report(tmp_path: Path) -> None:
    module = program()
    report = json.loads((FOLDER / "catalogue.json").read_text())
    constants = module["Constants"](**report["constants"])
    for row in report["predictions"]:
        again = module["predict"](constants, report["songs"], report["minutes"], row["workers"])
        assert row == pytest.approx(again)
    copy = tmp_path / "README.md"
    shutil.copy(FOLDER / "README.md", copy)
    module["write_readme"](report, copy)
    assert copy.read_text() == (FOLDER / "README.md").read_text()


@pytest.mark.slow
def test_constants_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = program()
    priors = [make_sound(tmp_path / name, name, {"steps": 2}) for name in ("violin", "cello")]
    words = ["--songs", "10", "--minutes", "1", "--workers", "2", "--files", "1", "--seconds", "0.5", "2"]
    words += ["--tiny-files", "2"]
    words += ["--prior", priors[0], "--prior", priors[1], "--out", str(tmp_path / "r.json")]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words])
    module["main"]()
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "r.json").read_text())
    assert report["constants"]["start"] > 0
    assert report["constants"]["read"] > 1000
    assert report["constants"]["memory"] > 50e6
    assert report["predictions"][0]["hours"] > 0
    assert "| workers |" in module["table"](report)
