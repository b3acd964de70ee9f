"""A cache of compiled functions where neither the installation nor a home can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sepcli.cli import numba_cache

HOMES = ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME")


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(numba_cache.VARIABLE, "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("atexit.register", lambda *_, **__: None)
    for name in HOMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_home")
def test_a_private_folder_is_used_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    numba_cache.ensure_numba_cache()
    folder = Path(os.environ[numba_cache.VARIABLE])
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0 or os.name == "nt"
    numba_cache.ensure_numba_cache()
    assert os.environ[numba_cache.VARIABLE] == str(folder)


@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize("name", ["installation", *HOMES])
def test_a_folder_that_can_be_written_stays_the_one(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if name != "installation":
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.setattr("os.access", lambda path, _: name == "installation" or Path(path) == tmp_path)
    numba_cache.ensure_numba_cache()
    assert not os.environ[numba_cache.VARIABLE]


def test_importing_the_package_sets_nothing() -> None:
    code = "import os, sepcli, sepcli.cli.app; assert 'NUMBA_CACHE_DIR' not in os.environ"
    left = {key: text for key, text in os.environ.items() if key not in (*HOMES, numba_cache.VARIABLE)}
    subprocess.run([sys.executable, "-c", code], check=True, env=left)
