"""What of a folder can be data, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepcli.media.folders import data_entries, find_files, is_data, passed_over

CLUTTER = (
    *("#recycle", "@eaDir", ".@__thumb", "@Recycle", "$RECYCLE.BIN", "__MACOSX", "lost+found"),
    *(".DS_Store", "._drums.wav", "Thumbs.db", "System Volume Information", ".hidden"),
)


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("name", CLUTTER)
def test_what_devices_and_systems_leave_is_no_data(name: str, tmp_path: Path) -> None:
    assert not is_data(name)
    make(tmp_path, f"{name}/song.wav", "song.wav")
    assert data_entries(tmp_path) == [tmp_path / "song.wav"]
    assert find_files(tmp_path, (".wav",))[0] == [tmp_path / "song.wav"]


@pytest.mark.parametrize("name", ["#1 Crush", "@home", "song.wav", "$ave", "recycle", "~", "A.hidden"])
def test_songs_may_have_such_names(name: str) -> None:
    assert is_data(name)


def test_files_are_found_and_the_rest_is_listed(tmp_path: Path) -> None:
    make(tmp_path, "b.WAV", "a/d.wav", "a/c/e.wav", "a/notes.txt", ".f.wav", "@eaDir/g.wav", ".DS_Store")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    files, others = find_files(tmp_path, (".wav",))
    assert [str(path.relative_to(tmp_path)) for path in files] == ["b.WAV", "a/d.wav", "a/c/e.wav"]
    names = [".DS_Store", ".f.wav", "@eaDir", "link", "a/notes.txt"]
    assert [str(path.relative_to(tmp_path)) for path in others] == names
    (note,) = passed_over(tmp_path, others)
    assert note == f"{tmp_path}: 4 entries are passed over: .f.wav, @eaDir/, link/, a/notes.txt"


def test_a_note_has_few_names(tmp_path: Path) -> None:
    assert passed_over(tmp_path, []) == passed_over(tmp_path, [tmp_path / "Thumbs.db"]) == ()
    (note,) = passed_over(tmp_path, [tmp_path / f"{n}.txt" for n in range(200)])
    assert note.endswith("200 entries are passed over: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, …")


def test_a_folder_that_cannot_be_read_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/b.wav", "c.wav")

    def refuse(path: object) -> object:
        if Path(str(path)).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)  # type: ignore[call-overload]

    from os import scandir

    monkeypatch.setattr("os.scandir", refuse)
    assert find_files(tmp_path, (".wav",)) == ([tmp_path / "c.wav"], [tmp_path / "a"])
