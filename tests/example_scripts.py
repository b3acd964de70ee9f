"""Runs the scripts of ``examples/`` as a shell does, with the programs of this Python first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
TOY_FLOWS = EXAMPLES / "reproduce" / "toy-flows"
"""A prior with four others in its folder, which is not bundled."""


def run_script(script: str, *words: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a script below ``examples/`` prints; it must succeed. Without bash the test is skipped."""
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(EXAMPLES / script), *map(str, words)]
    variables = {**os.environ, "PATH": path, **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done
