"""Libraries that take seconds to load are loaded by what needs them alone."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys, torch
with torch.device("meta"):
    torch.nn.Linear(2, 2)  # some releases of torch load sympy for it
before = set(sys.modules)
import sepcli.evaluation.tasks.folders
from sepcli.priors.noise import NoiseEmbedding
with torch.device("meta"):
    NoiseEmbedding(8, 2.0)
slow = ("sklearn", "pandas", "museval", "librosa", "sympy")
print(json.dumps([name for name in slow if name in sys.modules.keys() - before]))
"""


def test_evaluation_and_networks_load_no_slow_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
