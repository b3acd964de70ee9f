"""16,384 codes: counting, back-off, nearest codes and search in memory that follows what was counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STATED = 256
"""Megabytes for 200,000 triples, beside what the imports need; a matrix of codes × codes alone has 1,024."""
PROGRAM = """
import re, torch
from pathlib import Path
from sepcli.priors.lass.codebook import Codebook
from sepcli.priors.lass.gpt import GptConfig, GptPrior
from sepcli.priors.lass.posterior import LassPosterior
from sepcli.priors.lass.quantizer import VectorQuantizer
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.table_job import nearest_seen
from sepcli.samplers.beam import Beam

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

codes = 16384
torch.manual_seed(0)
torch.randn(64, 64) @ torch.randn(64, 64)
before = peak()
counter = TripleCounter(codes, symmetric=True)
counter.add(*torch.randint(codes, (3, 100_000)))
table = LikelihoodTable.of(counter, "codec")
kept = table.prune(50_000)
for quantizer in (Codebook(codes, 16), VectorQuantizer(codes, 16)):
    quantizer.codebook.copy_(torch.randn(codes, 16))
    quantizer.nearest(torch.randn(20_000, 16))
nearest_seen(quantizer.codebook, kept)
prior = GptPrior(GptConfig(codes, ("image",), dim=16, layers=1, heads=1, context=16)).of((0, 0))
found = Beam(4)(LassPosterior(prior, kept, torch.randint(codes, (2, 16))))
assert found.tokens.shape == (2, 4, 16, 2)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_memory_follows_what_was_counted() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < STATED
