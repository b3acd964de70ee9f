"""Files that are there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.atomic import failed_write, remove_leftovers, temporary, write_whole
from sepcli.datasets.cache import gather
from sepcli.datasets.image_decoder import Decoder
from sepcli.datasets.image_folder import open_images
from sepcli.errors import OutputError
from sepcli.evaluation.external import Demucs, separate_tracks
from sepcli.evaluation.folder_layouts import read_references
from sepcli.evaluation.journal import resume_journal
from sepcli.training.stopping import only_run


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_whole(file, b"first")
    write_whole(file, b"second")
    assert file.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [file]


def test_links_are_replaced_never_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    (tmp_path / "a").symlink_to(other)
    write_whole(tmp_path / "a", b"new")
    assert other.read_bytes() == b"mine"
    assert (tmp_path / "a").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "other"]


def test_two_writers_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, replace = tmp_path / "a", os.replace

    def slow(part: Path, place: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        write_whole(file, b"second")  # while the first is about to give its file its name
        assert file.read_bytes() == b"second"
        replace(part, place)

    monkeypatch.setattr(os, "replace", slow)
    write_whole(file, b"first, and longer")
    assert file.read_bytes() == b"first, and longer"
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    for place in (
        tmp_path / "file" / "a",
        tmp_path / "folder",
        tmp_path / "none" / "a",
        tmp_path / (300 * "x"),
    ):
        with pytest.raises(OutputError, match=re.escape(str(place))):
            write_whole(place, b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    ("error", "free", "writable", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1 << 40, True, "space"),
        (PermissionError(errno.EACCES, "Permission denied"), 0, True, "Permission denied"),
        (OSError(errno.EROFS, "Read-only file system"), 0, False, "Read-only"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), 0, True, "No such file"),
        (RuntimeError("System error."), 1 << 40, False, "may not be written"),  # as libsndfile says it
        (RuntimeError("System error."), 0, True, "space"),
        (RuntimeError("System error."), 1 << 40, True, "failed"),
    ],
    ids=str,
)
def test_a_failed_write_has_its_own_reason(
    error: Exception, free: int, writable: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(1 << 41, 0, free))
    monkeypatch.setattr("os.access", lambda *_: writable)
    found = failed_write(tmp_path / "new" / "a.wav", error)
    assert said in found.message
    assert str(tmp_path / "new" / "a.wav") in found.message
    assert ("space" in found.message) == ("free some" in found.hint) == (said == "space")


def ended(path: Path) -> Path:
    """A temporary name in the folder of a file, of a process that has ended."""
    name = temporary(path).name.split("-")
    return path.with_name("-".join([*name[:2], "4194304999", *name[3:]]))


def test_leftovers_of_ended_processes_are_removed_with_what_they_hold(tmp_path: Path) -> None:
    left, kept = ended(tmp_path / "a"), temporary(tmp_path / "a")
    for folder in (left, kept):
        folder.mkdir()
        (folder / "0.i16").write_bytes(b"12")
    link, target = ended(tmp_path / "a"), tmp_path / "target"
    target.mkdir()
    link.symlink_to(target)
    remove_leftovers(tmp_path)
    assert {*tmp_path.iterdir()} == {kept, target}


def test_training_removes_the_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    (tmp_path / "denoiser" / "previews").mkdir(parents=True)
    folders = (tmp_path, tmp_path / "denoiser", tmp_path / "denoiser" / "previews")
    for folder in folders:
        ended(folder / "a").write_bytes(b"12")
        (folder / "kept").touch()
    with only_run(tmp_path):
        assert {path for folder in folders for path in folder.glob(".sepcli*")} == set()
    assert all((folder / "kept").exists() for folder in folders)


def test_a_cache_removes_the_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    left = ended(tmp_path / "songs")
    left.mkdir()
    bank = gather([(0, 0, np.arange(3, dtype=np.int16))], ["drums"], 8000, tmp_path / "songs")
    assert bank.names == ("drums",)
    assert [path.name for path in tmp_path.iterdir()] == ["songs"]


def test_a_cache_of_images_removes_the_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    images, cache = tmp_path / "images", tmp_path / "cache"
    images.mkdir()
    cache.mkdir()
    Image.new("L", (8, 8)).save(images / "a.png")
    ended(cache / "a").write_bytes(b"12")
    assert len(open_images(images, "train", Decoder(), cache=cache).images) == 1
    assert [path.suffix for path in cache.iterdir()] == [".npy"]


def test_an_evaluation_removes_the_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    ended(tmp_path / "report.json").write_bytes(b"12")
    journal = tmp_path / "report.json.partial"
    assert resume_journal(journal, "fingerprint", replace=False, images=True) == {}
    assert [*tmp_path.iterdir()] == [journal]


DEMUCS = """
import pathlib, shutil, sys
model, out, mixture = sys.argv[2], pathlib.Path(sys.argv[4]), pathlib.Path(sys.argv[6])
stems = out / model / mixture.stem
stems.mkdir(parents=True)
shutil.copy(mixture, stems / "drums.wav")
"""
"""A program with the command line of demucs."""


def test_estimates_of_another_program_are_complete_or_missing(tmp_path: Path) -> None:
    track, out = tmp_path / "references" / "song", tmp_path / "estimates"
    track.mkdir(parents=True)
    for stem in ("drums", "bass"):
        soundfile.write(track / f"{stem}.wav", np.full(100, 0.25), 8000)
    left = ended(out / "mixture")
    (left / "out").mkdir(parents=True)
    (tmp_path / "demucs.py").write_text(DEMUCS)
    demucs = Demucs((sys.executable, str(tmp_path / "demucs.py")), "htdemucs", None, os.environ)
    assert separate_tracks(read_references(tmp_path / "references"), out, demucs) == []
    written = out / "htdemucs" / "song" / "drums.wav"
    assert {path for path in out.rglob("*") if path.is_file()} == {written}
    assert [*out.iterdir()] == [out / "htdemucs"]
    np.testing.assert_allclose(soundfile.read(written)[0], 0.5)
