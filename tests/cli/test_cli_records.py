"""run.json: its types and reader, what it never says, and what a run removes because of it."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from sepcli.cli.app import run
from sepcli.cli.records import MOST_BYTES, RunRecord, find_record, make_record, read_record
from sepcli.errors import FormatError, InputError, OutputError


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(60, 190, (12, 12), np.uint8)).save("x.png")
    return "x.png"


@pytest.fixture
def path(tiny_images: Path, image: str) -> Path:
    assert run(["separate", image, "--prior", str(tiny_images), "--set", "steps=2", "-o", "a", "-q"]) == 0
    return Path("a/x/run.json")


def entries(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_a_record_is_what_its_types_say(path: Path) -> None:
    record = read_record(path)
    assert record.outputs.keys() == {"digit-1.png", "digit-2.png", "contact.png"}
    assert list(record.listed()) == ["digit-1.png", "digit-2.png", "contact.png"]
    assert msgspec.convert(entries(path), RunRecord) == record
    assert record.versions.keys() >= {"sepcli", "python", "torch", "numpy", "pillow"}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1},
        {"seed": "0"},
        {"threads": 0},
        {"stems": []},
        {"stems": [["gone.png", "digit-2.png"]]},
        {"outputs": {"digit-1.png": "abc"}},
        {"outputs": {"../digit-1.png": "0" * 64}},
        {"outputs": {"/digit-1.png": "0" * 64}},
        {"note": "mine"},
        {"command": "train-prior"},
        {"format": 0},
        {"format": "1"},
        {"settings": {"steps": [1]}},
    ],
    ids=str,
)
def test_other_entries_are_refused(change: dict[str, Any], path: Path) -> None:
    with pytest.raises(msgspec.ValidationError):
        make_record(entries(path) | change)
    path.write_text(json.dumps(entries(path) | change))
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_record(path)
    assert find_record(path) is None


def test_a_newer_format_needs_the_version_that_wrote_it(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = entries(path) | {"format": 2, "future": True}
    newer["versions"]["sepcli"] = "7.1"
    path.write_text(json.dumps(newer))
    for read in (read_record, find_record):
        with pytest.raises(FormatError, match=r"sepcli >= 7\.1"):
            read(path)
    assert run(["separate", "--replay", str(path), "-o", "b"]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 2
    newer["versions"]["sepcli"] = "\x1b[31m"  # not the name of a version
    path.write_text(json.dumps(newer))
    with pytest.raises(FormatError, match="newer sepcli"):
        read_record(path)


def test_a_newer_record_is_neither_resumed_nor_replaced(path: Path, tiny_images: Path) -> None:
    path.write_text(json.dumps(entries(path) | {"format": 2}))
    command = ["separate", "x.png", "--prior", str(tiny_images), "--set", "steps=2", "-o", "a", "-q"]
    for option in ("--resume", "--overwrite"):
        assert run([*command, option]) == 4
    assert entries(path)["format"] == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(path: Path, tiny_images: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="regular"):
        read_record(path)
    with pytest.raises(OutputError, match="regular"):
        find_record(path)
    command = ["separate", "x.png", "--prior", str(tiny_images), "--set", "steps=2", "-o", "a", "-q"]
    for option in ("--resume", "--overwrite"):
        assert run([*command, option]) == 1
    assert run(["separate", "--replay", str(path), "-o", "b"]) == 1


def test_folders_and_large_files_are_refused(path: Path) -> None:
    with pytest.raises(InputError):
        read_record(path.parent)
    with pytest.raises(InputError, match="gone"):
        read_record(path.with_name("gone.json"))
    with path.open("r+b") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match="larger"):
        read_record(path)


@pytest.mark.parametrize("place", ["inside", "outside", "home"])
def test_no_user_host_or_absolute_path_is_recorded(
    place: str, tiny_colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "homes" / "zaphod"
    (home / "work").mkdir(parents=True)
    for name, value in (("HOME", str(home)), ("USER", "zaphod"), ("LOGNAME", "zaphod")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "gethostname", lambda: "heartofgold")
    assert (Path.home(), getpass.getuser()) == (home, "zaphod")
    monkeypatch.chdir(home / "work")
    source = {
        "inside": home / "work" / "x.png",
        "outside": tmp_path / "heartofgold" / "x.png",
        "home": home / "x.png",
    }[place]
    source.parent.mkdir(exist_ok=True)
    Image.new("L", (8, 8), 99).save(source)
    out = home / "work" / "out" if place != "home" else tmp_path / "elsewhere"
    words = ["--prior", str(tiny_colors), "--set", "steps=2", "-q", "-o", str(out)]
    assert run(["colorize", str(source), *words]) == 0
    text = (out / "x" / "run.json").read_text()
    for secret in ("zaphod", "heartofgold", str(tmp_path), os.sep + tmp_path.parts[1]):
        assert secret not in text
    expected = {"inside": "../../x.png", "outside": "x.png", "home": "x.png"}
    assert json.loads(text)["input"] == expected[place]
