"""One run of training per folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from sepcli.errors import OutputError
from sepcli.training.stopping import LOCK, only_run


def test_a_folder_is_of_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "prior"
    folder.mkdir(parents=True)
    with FileLock(folder / LOCK), pytest.raises(OutputError, match="prior") as refused, only_run(folder):
        raise AssertionError("a second run")
    assert refused.value.argument == "out"
    assert refused.value.hint
    with only_run(folder):
        (folder / "card.toml").write_text("")
    assert [path.name for path in folder.iterdir()] == ["card.toml"]


def test_a_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_run(tmp_path / "new" / "prior"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken"), only_run(tmp_path / "taken"):
        pass
