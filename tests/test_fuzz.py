"""Damaged files are read or refused; killed runs resume to the same bytes. By hand: fuzz.py, kill_runs.py."""

from __future__ import annotations

from pathlib import Path

import fuzz_mutations
import numpy as np
import pytest
from fuzz import Tally, read_numbers
from fuzz_mutations import BINARY, TEXT
from kill_runs import kill_and_resume

INPUTS = 1200
"""About a minute."""


@pytest.mark.slow
def test_damaged_files_are_read_or_refused() -> None:
    tally = Tally()
    for line in read_numbers(0, iter(range(INPUTS)), limit=60.0):
        tally.add(line)
    report = tally.report(0, 1.0)
    assert report["failed"] == []
    assert report["inputs"] == INPUTS
    assert all(kind["read"] for kind in report["kinds"].values())
    assert sum(kind["refused"] for kind in report["kinds"].values()) > INPUTS // 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moment"), [("separate", 0.6), ("train", 0.5), ("count", 0.4), ("fetch", 0.4)]
)
def test_killed_runs_resume_to_the_same_bytes(name: str, moment: float, tmp_path: Path) -> None:
    (line,) = kill_and_resume(name, [moment], tmp_path)
    assert line["unlike"] == []


@pytest.mark.parametrize("name", sorted({*BINARY, *TEXT}))
def test_mutations_repeat_and_change_something(name: str) -> None:
    data = b'[table]\nnumber = 12\nname = "one"\nlist = [1, 2, 3]\n' * 4
    mutation = getattr(fuzz_mutations, name)
    results = [mutation(data, np.random.default_rng(seed)) for seed in range(8)]
    assert results == [mutation(data, np.random.default_rng(seed)) for seed in range(8)]
    assert any(result != data for result in results)
    for short in (b"", b"x"):
        assert isinstance(mutation(short, np.random.default_rng(0)), bytes)


def test_the_tally_counts_and_keeps_failures() -> None:
    tally = Tally()
    tally.add({"kind": "audio", "end": "read", "seconds": 0.5})
    tally.add({"kind": "audio", "end": "failed", "error": "x"})
    report = tally.report(3, 2.0)
    assert (report["inputs"], report["failures"], report["slowest_input_seconds"]) == (2, 1, 0.5)
    assert report["kinds"] == {"audio": {"read": 1, "refused": 0, "failed": 1}}
