"""The Slurm script of training, with stubs of Slurm's programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from torchrun import LONGEST, environment, wait_for
from train_request import read_history

SCRIPT = Path(__file__).parents[2] / "examples" / "cluster" / "train_prior.sbatch"
DIGITS = Path(__file__).parents[1] / "data" / "digits"
STUBS = {
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    "scontrol": 'if [ "$1" = requeue ]; then echo "$2" > "$REQUEUED"; else echo localhost; fi\n',
    "torchrun": f'exec "{sys.executable}" -m torch.distributed.run "$@"\n',
}
"""``srun`` runs the command once, on this machine."""
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


def start(folder: Path, words: Sequence[object], **more: str) -> subprocess.Popen[str]:
    """Start the script as Slurm does, on a machine with two processes."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in STUBS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (programs / name).chmod(0o755)
    variables = environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        SLURM_JOB_ID=str(os.getpid()),
        SLURM_JOB_NODELIST="localhost",
        SLURM_JOB_NUM_NODES="1",
        SLURM_GPUS_ON_NODE="2",
        REQUEUED=str(folder / "requeued"),
        **more,
    )
    command = ["bash", str(SCRIPT), *map(str, words)]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_slurm_reads_all_options_of_the_script() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    lines = SCRIPT.read_text().splitlines()
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH --")]
    assert len(options) == 9
    assert all(line.startswith("#") for line in lines[: options[-1]])  # it stops at the first command


@pytest.mark.slow
def test_a_job_that_is_stopped_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    part, steps = tmp_path / "p" / "denoiser", 400
    words = ["--family", "denoiser", "--data", DIGITS, "--out", tmp_path / "p", "--preset", "tiny"]
    words += ["--batch", 8, "--steps", steps, "--device", "cpu"]
    job = start(tmp_path, words)
    wait_for((part / "history.jsonl").exists, job)
    time.sleep(0.1)
    job.send_signal(signal.SIGTERM)  # to the script only, as by --signal=B:TERM
    _, text = job.communicate(timeout=LONGEST)
    assert job.returncode != 0, text
    assert (tmp_path / "requeued").read_text().strip() == str(os.getpid())
    assert sum("--resume" in line for line in text.splitlines()) == 1
    assert {path.name for path in part.iterdir()} == {
        "checkpoint.safetensors",
        "history.jsonl",
        "model.safetensors",
    }
    (tmp_path / "requeued").unlink()
    job = start(tmp_path, words, PROCESSES_PER_NODE="1")
    out, text = job.communicate(timeout=LONGEST)
    assert job.returncode == 0, text
    assert f"{steps} " in out
    assert not (tmp_path / "requeued").exists()
    history = read_history(part)
    assert [entry["step"] for entry in history] == list(range(steps // 10, steps + 1, steps // 10))
    sizes = [entry.get("world_size", 1.0) for entry in history]
    assert sizes == sorted(sizes, reverse=True)
    assert {sizes[0], sizes[-1]} == {2.0, 1.0}
    assert history[-1]["valid_loss"] < 0.9 * history[0]["valid_loss"]
