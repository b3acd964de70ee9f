"""Threads are chosen by the machine's share, and never against what the user has set."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sepcli.cli.threads import ARENA_MAX, SPINS, allow_threads, processors, share_heap


@pytest.mark.parametrize(
    ("quota", "given", "threads"),
    [
        ("50000 100000", {}, "1"),
        ("50000 100000", {"OMP_NUM_THREADS": "3"}, "3"),
        ("100000000 100000", {}, None),
        ("max 100000", {}, None),
        ("", {}, None),
    ],
)
def test_threads_fit_the_share_of_a_container(
    quota: str, given: dict[str, str], threads: str | None, tmp_path: Path
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    environment = dict(given)
    allow_threads(environment, tmp_path / "cpu.max")
    assert environment.get("OMP_NUM_THREADS") == threads
    assert environment["OMP_WAIT_POLICY"] == "passive"
    assert environment["GOMP_SPINCOUNT"] == SPINS


def test_the_policy_of_the_user_is_kept(tmp_path: Path) -> None:
    environment = {"OMP_WAIT_POLICY": "active"}
    allow_threads(environment, tmp_path / "none")
    assert environment == {"OMP_WAIT_POLICY": "active"}


def test_threads_share_a_heap_unless_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", "linux")
    environment: dict[str, str] = {}
    for _ in range(2):
        share_heap(environment)
    assert (calls, environment) == ([(ARENA_MAX, 1)], {"MALLOC_ARENA_MAX": "1"})
    share_heap({"MALLOC_ARENA_MAX": "4"})
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # a C library without it
    share_heap({})
    monkeypatch.setattr(sys, "platform", "darwin")
    share_heap({})
    assert len(calls) == 1


def test_processors_are_those_of_this_process() -> None:
    assert processors() >= 1
