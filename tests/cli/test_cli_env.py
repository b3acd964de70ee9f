"""``sepcli env``: the facts of a bug report, without names of people."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from sepcli import __version__
from sepcli.cli import env
from sepcli.cli.app import run

Captured = pytest.CaptureFixture[str]


def test_it_says_what_is_installed_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    home = tmp_path / "jane"
    (home / "hub").mkdir(parents=True)
    (home / "hub" / "blob").write_bytes(bytes(2_500_000))
    (home / "hub" / "link").symlink_to("blob")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("getpass.getuser", lambda: "jane")
    assert run(["env", "--json"]) == 0
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert said["versions"]["sepcli"] == __version__
    assert said["packages"]["torch"] == metadata.version("torch")
    assert said["extras"]["examples"].startswith("mido ")
    assert "cpu" in said["devices"]
    assert said["threads"]["torch"] == torch.get_num_threads()
    assert said["caches"] == {"Hugging Face Hub": str(Path("~") / "hub") + ", 2.5 MB"}
    assert said["environment"]["HF_TOKEN"] == "set"
    assert run(["env"]) == 0
    text = capsys.readouterr().out
    assert f"  sepcli: {__version__}" in text.splitlines()
    assert "hf_secret" not in text + captured.out
    assert "jane" not in text + captured.out


@pytest.mark.parametrize(("text", "share"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None)])
def test_the_share_of_a_container(tmp_path: Path, text: str, share: float | None) -> None:
    (tmp_path / "quota").write_text(text)
    assert env.describe(tmp_path / "quota")["threads"].get("cgroup") == share


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/jane", "~"),
        ("/home/jane/.cache/hub", "~/.cache/hub"),
        ("/home/janet/hub", "/home/janet/hub"),
        ("/data/jane/hub", "/data/USER/hub"),
        ("/data/jane", "/data/USER"),
        ("https://hub.example", "https://hub.example"),
    ],
)
def test_names_of_people_are_left_out(path: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    monkeypatch.setattr("getpass.getuser", lambda: "jane")
    assert env.without_names(path) == expected


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setitem(sys.modules, "torch", None)
    said = env.describe()
    assert set(said["packages"].values()) == {"missing"}
    assert "torch" in said["devices"]
    assert "torch" not in said["threads"]
