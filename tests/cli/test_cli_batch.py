"""Batches: what is checked first, two runs in one folder, and what is said in the end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from msgspec import structs
from PIL import Image

import sepcli
from sepcli.atomic import lock_of
from sepcli.catalog import card as cards
from sepcli.cli import separate_images
from sepcli.cli.app import run
from sepcli.cli.work import Loaded, Outcome

Separate = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def separate(
    tiny_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Separate:
    """Separate images in an empty folder; return exit code, lines of stdout and of stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, list[str], list[str]]:
        code = run(["separate", *words, "--prior", str(tiny_images), "--set", "steps=2"])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return call


def write(*names: str) -> None:
    for seed, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8), np.uint8)).save(name)


def there(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("wrong", [["--set", "stepps=3"], ["--set", "eta=much"], ["--sampler", "projectd"]])
def test_settings_are_checked_before_what_exists(separate: Separate, wrong: list[str]) -> None:
    write("a.png")
    assert separate("a.png")[0] == 0
    code, _, (first, second) = separate("a.png", *wrong)
    assert code == 2
    assert wrong[1].partition("=")[0] in first
    assert "exists" not in first + second


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize("out", ["shut", "shut/new", "taken", "taken/new"])
def test_a_folder_that_cannot_be_written_is_said_at_once(
    separate: Separate, monkeypatch: pytest.MonkeyPatch, dry: list[str], out: str
) -> None:
    write("a.png")
    Path("shut").mkdir()
    Path("taken").write_text("a file")
    monkeypatch.setattr(separate_images, "separate_image", lambda *args, **more: pytest.fail("it computes"))
    monkeypatch.setattr("os.access", lambda path, mode: not (mode & os.W_OK and Path(path).name == "shut"))
    code, lines, (first, second) = separate("a.png", "-o", out, *dry)
    assert (code, lines) == (1, [])
    assert out.partition("/")[0] in first
    assert "--out" in second
    assert there("shut") == []


@pytest.mark.parametrize(
    ("inputs", "template", "hinted", "other"),
    [
        (("x/a.png", "y/a.png"), "{stem}-{track}.{ext}", "{folder}", "{track}"),
        (("x/a.png", "x/b.png"), "{folder}/{stem}.{ext}", "{track}", "{folder}"),
        (("x/a.png", "x/b.png"), "{stem}.{ext}", "{track}", "{folder}"),
        (("x/a.png", "x/a.bmp"), "{folder}/{track}/{stem}.{ext}", "--out", "{"),
        (("x/a.png", "x/a.bmp"), "{stem}.{ext}", "--out", "{"),
    ],
)
def test_a_collision_names_a_field_that_helps(
    separate: Separate, inputs: tuple[str, ...], template: str, hinted: str, other: str
) -> None:
    write(*inputs)
    code, _, lines = separate(*inputs, "--filename", template)
    assert code == 3
    first, second = lines[-3:-1]
    assert inputs[1] in first
    assert hinted in second
    assert other not in second


def test_a_track_that_another_run_writes_is_left_to_it(separate: Separate) -> None:
    write("a.png", "b.png")
    Path("separated/b").mkdir(parents=True)
    for more in ((), ("--overwrite",), ("--resume",)):
        with FileLock(lock_of(Path("separated/b/run.json"))):
            code, _, (first, second) = separate("b.png", *more)
            assert code == 1
            assert "separated/b" in first.replace("\\", "/")
            assert "--out" in second
            code, lines, err = separate("a.png", "b.png", "--overwrite")
            assert (code, len(lines), err[-1]) == (3, 1, "1 done, 1 failed")
        assert there("separated/b") in ([], [lock_of(Path("run.json")).name])
    assert separate("b.png")[0] == 0
    assert there("separated/b") == ["contact.png", "digit-1.png", "digit-2.png", "run.json"]
    assert not lock_of(Path("separated/a/run.json")).exists()


@pytest.mark.parametrize(
    ("more", "code", "last"), [((), 3, "1 done, 1 failed"), (("--resume",), 0, "1 done, 1 skipped")]
)
def test_what_another_run_has_written_meanwhile_is_not_replaced(
    separate: Separate, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], code: int, last: str
) -> None:
    write("a.png", "b.png")
    real = separate_images.separate_image
    tracks = []

    def meanwhile(loaded: Loaded, job: Any, on_part: Any, **options: Any) -> Outcome:
        tracks.append(job.track)
        outcome = real(loaded, job, on_part, **options)
        if job.track == "a":
            assert separate("b.png", *more)[0] == 0
        return outcome

    monkeypatch.setattr(separate_images, "separate_image", meanwhile)
    found, _, err = separate("a.png", "b.png", *more)
    assert (found, err[-1]) == (code, last)
    assert tracks == ["a", "b"]  # the second time by the other run


def test_a_lock_of_a_killed_run_goes(separate: Separate) -> None:
    write("a.png")
    assert separate("a.png")[0] == 0
    before = there("separated/a")
    lock_of(Path("separated/a/run.json")).touch()
    assert separate("a.png", "--resume", "-q") == (0, [], [])
    assert there("separated/a") == before


def test_a_batch_ends_with_its_counts(separate: Separate) -> None:
    write("in/a.png", "in/b.png", "in/c.png", "in/d.png", "in/e.png")
    assert separate("in/a.png") == (0, [separate_line("a")], [])
    code, _, err = separate("in/a.png", "in/b.png")
    assert (code, err[-1]) == (3, "1 done, 1 failed")
    Path("in/bad.png").write_text("no image")
    assert separate("in/c.png", "in/d.png")[2] == ["2 done"]
    code, lines, err = separate("in", "--resume")
    assert (code, lines) == (3, [separate_line("e")])
    assert err[-1] == "1 done, 1 failed, 4 skipped"
    assert all(name in err[0] for name in ("a.png", "b.png", "c.png"))
    assert "d.png" not in err[0]
    Path("in/bad.png").unlink()
    (line,) = separate("in", "--resume")[2]
    assert "5 of 5" in line
    assert separate("in", "--resume", "-q") == (0, [], [])
    code, lines, err = separate("in", "nowhere.png", "--resume", "--json")
    document = json.loads("\n".join(lines))
    assert [len(document["results"]), len(document["failed"])] == [5, 1]
    assert err[-1] == "0 done, 1 failed, 5 skipped"


def separate_line(track: str) -> str:
    return f"{Path('separated', track)}: digit-1, digit-2, contact.png"


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_a_track_folder_that_is_a_link_is_named(separate: Separate, dry: list[str]) -> None:
    write("a.png")
    Path("elsewhere").mkdir()
    Path("real").mkdir()
    Path("out").symlink_to("real", target_is_directory=True)
    Path("out/a").symlink_to(Path("elsewhere").absolute(), target_is_directory=True)
    code, _, (note,) = separate("a.png", "-o", "out", *dry)
    assert code == 0
    assert str(Path("out/a")) in note
    assert str(Path("elsewhere").resolve()) in note
    assert bool(there("elsewhere")) == (not dry)
    assert separate("a.png", "-o", "out", "-q", "--overwrite")[2] == []


def test_samples_are_mentioned(separate: Separate) -> None:
    write("a.png")
    _, (first, second), _ = separate("a.png", "--samples", "3")
    assert first.startswith(f"{Path('separated/a')}: 3 samples of digit-1, digit-2, ")
    assert second.startswith("  3 samples, best first by ")


def test_a_barely_trained_prior_gets_one_note(
    separate: Separate,
    tiny_images: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    prior = Path(shutil.copytree(tiny_images, "prior"))
    write("a.png", "b.png")
    for training, history, noted in (
        ({"steps": 20, "seconds": 900}, (), True),
        ({"steps": 2000, "seconds": 9}, (), True),
        ({"steps": 20, "seconds": 9}, ({"steps": 5000, "seconds": 600},), False),
        ({"steps": 2000, "seconds": 600}, (), False),
        ({"steps": "many", "seconds": float("nan")}, (), False),
        ({}, (), False),
    ):
        part = cards.Part("denoiser", training, history)
        cards.write(structs.replace(cards.read(prior), parts={"denoiser": part}), prior)
        words = ["separate", "a.png", "b.png", "--prior", str(prior), "--set", "steps=2", "--overwrite"]
        assert run(words) == 0
        *notes, _ = capsys.readouterr().err.splitlines()
        assert ["prior images" in note for note in notes] == [True] * noted
        assert run([*words, "-q"]) == 0
        assert capsys.readouterr().err == ""
        caplog.clear()
        sepcli.load(prior)
        assert [record.name for record in caplog.records] == ["sepcli"] * noted


def test_a_file_of_another_medium_than_the_prior(
    separate: Separate, tiny_prior: Path, tiny_images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("photo.png")
    assert run(["separate", "photo.png", "--prior", str(tiny_prior)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "photo.png is an image" in first
    assert "mnist" in second
    Path("song.wav").touch()
    assert run(["separate", "song.wav", "--prior", str(tiny_images)]) == 2
    assert "song.wav is audio" in capsys.readouterr().err
