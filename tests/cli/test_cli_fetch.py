"""``sepcli fetch-priors`` and ``--prior hf:owner/name``, from words to files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_scripts import TOY_FLOWS
from hub_server import Hub, Repo
from msgspec import structs
from PIL import Image

from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.cli import console
from sepcli.cli.app import run

WORD = "hf:tester/tiny"
BUNDLED = "slakh-drums-bass"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def catalog(hub: Hub, tiny_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalog: a bundled prior, and one on the Hub, ``far``, that is in tester/tiny too."""
    commit = hub.publish("tester/tiny", tiny_images, "v1")
    monkeypatch.setattr(index, "BUNDLED", tmp_path / "bundled")
    monkeypatch.setattr(index, "REMOTE", tmp_path / "remote")
    monkeypatch.setattr(index, "UNPINNED", {})
    shutil.copytree(tiny_images, tmp_path / "bundled" / "near")
    (tmp_path / "remote").mkdir()
    card = structs.replace(
        cards.read(tiny_images), name="far", repo="tester/tiny", revision=commit, licence="MIT"
    )
    cards.write(card, tmp_path / "remote")
    (tmp_path / "remote" / "card.toml").rename(tmp_path / "remote" / "far.toml")
    return tmp_path


def fetch(*arguments: str) -> int:
    return run(["fetch-priors", *arguments])


def document(capsys: Captured, key: str = "priors") -> Any:
    return json.loads(capsys.readouterr().out)[key]


def test_a_list_says_what_is_where(hub: Hub, catalog: Path, tiny_images: Path, capsys: Captured) -> None:
    assert fetch("--list") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["prior", "separates", "result", "engine", "size", "where"]
    assert [(line[0], line[3], line[-1]) for line in lines[1:3]] == [
        ("near", "score", "bundled"),
        ("far", "score", "fetch"),
    ]
    assert hub.asked == []
    assert fetch("far", "-q") == 0
    capsys.readouterr()
    assert fetch("--list", "--json", "far", "near", str(tiny_images), WORD, "hf:tester/other") == 0
    listed = document(capsys)
    assert [entry["where"] for entry in listed] == ["cached", "bundled", "folder", "to fetch", "to fetch"]
    assert listed[0]["bytes"] == sum(entry.size for entry in cards.read(tiny_images).files.values())
    assert (listed[0]["licence"], listed[0]["repo"], listed[0]["files"]) == ("MIT", "tester/tiny", 2)
    assert "bytes" not in listed[4]


def test_all_are_fetched_and_verified(hub: Hub, catalog: Path, capsys: Captured) -> None:
    assert fetch("--verify", "--json") == 0
    assert [entry["verified"] for entry in document(capsys)] == [True, False]
    assert fetch("--all") == 0
    near, far = capsys.readouterr().out.splitlines()
    assert near.startswith("near: bundled")
    assert far.startswith("far: cached")
    assert fetch("--verify") == 0
    assert capsys.readouterr().out.count("verified") == 2
    hub.asked.clear()
    assert fetch("--all", "-q") == 0
    assert fetch("--all", "--offline") == 0
    assert hub.asked == []


def test_priors_in_a_prior_are_named_by_it(tmp_path: Path, capsys: Captured) -> None:
    folder = shutil.copytree(TOY_FLOWS, tmp_path / "waves")
    expected = [str(folder), *(f"{folder}/priors/{number}" for number in (1, 2, 3, 4))]
    assert run(["fetch-priors", "--verify", str(folder)]) == 0
    names = [line.partition(": folder")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == expected
    assert run(["fetch-priors", "--verify", str(folder), "--json"]) == 0
    assert [entry["name"] for entry in document(capsys)] == expected


def test_model_cards_are_shown(hub: Hub, catalog: Path, capsys: Captured) -> None:
    assert fetch("--show", "far") == 0
    text = capsys.readouterr().out
    assert text.startswith("---\nlicense: mit\n")
    assert "sepcli separate mixture.png --prior far" in text
    assert fetch("--show", "far", "near", "--json") == 0
    assert [entry["model_card"].count("# far") for entry in document(capsys)] == [1, 0]
    (catalog / "bundled" / "near" / "README.md").write_text("Mine\n")
    assert fetch("--show", "near") == 0
    assert capsys.readouterr().out == "Mine\n"
    assert hub.asked == []
    assert fetch("--show", WORD) == 4
    assert WORD in capsys.readouterr().err
    assert fetch("--show") == fetch("--show", "--verify") == 2


def test_a_dry_run_fetches_nothing(hub: Hub, catalog: Path, capsys: Captured) -> None:
    assert fetch("near", "far", WORD, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["near", "far", WORD]
    assert "far: 2 files" in lines[1]
    assert not (catalog / "hf").exists()
    assert fetch("far", "--dry-run", "--json") == 0
    (entry,) = document(capsys)
    assert entry["bytes_to_fetch"] == sum(entry["to_fetch"].values()) == entry["bytes"]
    assert fetch("far") == 0
    capsys.readouterr()
    assert fetch("far", "--dry-run") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("far: ")
    assert "2 files" not in line


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["far", "--all"],
        ["--all", "--revision", "main"],
        ["near", "--revision", "main"],
        ["far", "--list", "--dry-run"],
        ["--all", "--verify", "--dry-run"],
        ["hf:tiny"],
        ["far", "hf:tiny"],
    ],
)
def test_contradictions_are_refused(catalog: Path, words: list[str], capsys: Captured) -> None:
    assert fetch(*words) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("  →")


def test_some_fail_and_others_do_not(hub: Hub, catalog: Path, capsys: Captured) -> None:
    assert fetch("fat", "-q") == 4
    assert "far" in capsys.readouterr().err
    assert fetch("fat", "far", "hf:tester/other", "--json") == 3
    captured = capsys.readouterr()
    done = json.loads(captured.out)
    assert [entry["name"] for entry in done["priors"]] == ["far"]
    assert [entry["input"] for entry in done["failed"]] == ["fat", "hf:tester/other"]
    assert "tester/other" in captured.err
    assert fetch("fat", "hf:tester/other") == 4
    assert fetch("--verify", WORD, "-q") == 4


def test_a_tampered_file_is_not_kept(hub: Hub, catalog: Path, tiny_images: Path, capsys: Captured) -> None:
    data = (tiny_images / "denoiser" / "model.safetensors").read_bytes()
    hub.instead[hashlib.sha256(data).hexdigest()] = bytes(len(data))
    assert fetch("far") == 4
    captured = capsys.readouterr()
    assert "denoiser/model.safetensors" in captured.err
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2
    assert not [p for p in (catalog / "hf").rglob("*") if p.is_file() and "blobs" in p.parts]


def test_an_interrupt_keeps_what_is_finished(
    hub: Hub, catalog: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    real = huggingface_hub.hf_hub_download

    def interrupted(repo: str, name: str, **options: Any) -> str:
        if name.endswith("model.safetensors"):
            raise KeyboardInterrupt
        return real(repo, name, **options)

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.hf_hub_download", interrupted)
        assert fetch("far") == 130
    _, last = capsys.readouterr().err.splitlines()
    assert last == "interrupted"
    hub.asked.clear()
    assert fetch("far") == 0
    assert not any(path.endswith("config.json") for path in hub.fetched())


def test_progress_is_drawn_on_a_terminal(hub: Hub, catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text: list[str] = []

    class Terminal:
        encoding = "utf-8"

        def write(self, words: str) -> int:
            text.append(words)
            return len(words)

        def flush(self) -> None: ...

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with console.progress("x"):  # what a bar draws at least
        pass
    assert text
    text.clear()
    assert fetch("far", "--cache-dir", str(catalog / "one"), "-q") == 0
    assert text == []
    assert fetch("far", "--cache-dir", str(catalog / "two")) == 0
    assert "far" in "".join(text)
    assert "model.safetensors" not in "".join(text)  # no bars of the client's own


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).integers(60, 190, (12, 12), np.uint8)
    Image.fromarray(data).save(tmp_path / "mix.png")
    return tmp_path / "mix.png"


def separate(mixture: Path, out: Path, *more: str) -> int:
    words = ["separate", str(mixture), "-o", str(out), "--set", "steps=2", "--device", "cpu", *more]
    return run(words)


def test_a_prior_of_the_hub_separates(
    hub: Hub, catalog: Path, mixture: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert separate(mixture, catalog / "none", "--prior", "far") == 4
    assert "`sepcli fetch-priors far`" in capsys.readouterr().err
    assert hub.asked == []
    assert separate(mixture, catalog / "a", "--prior", f"{WORD}@v1") == 0
    assert f"{WORD}@v1" in capsys.readouterr().err
    record = json.loads((catalog / "a" / "mix" / "run.json").read_text())
    assert set(record["files"]) == {"denoiser/config.json", "denoiser/model.safetensors"}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert separate(mixture, catalog / "b", "--prior", f"{WORD}@v1") == 0
    assert separate(mixture, catalog / "c", "--prior", "far") == 0
    assert capsys.readouterr().err == ""
    assert separate(mixture, catalog / "d", "--prior", WORD) == 4  # main has not been fetched
    assert hub.asked == []
    images = [(catalog / out / "mix" / "digit-1.png").read_bytes() for out in "abc"]
    assert images[0] == images[1] == images[2]


def test_pickles_never_separate(hub: Hub, mixture: Path, tmp_path: Path, capsys: Captured) -> None:
    hub.repos["tester/pickle"] = Repo()
    hub.repos["tester/pickle"].commit({"pytorch_model.bin": b"x"})
    assert separate(mixture, tmp_path / "out", "--prior", "hf:tester/pickle") == 4
    assert "tester/pickle" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_environment_is_respected(hub: Hub, tiny_images: Path, mixture: Path, tmp_path: Path) -> None:
    hub.publish("tester/tiny", tiny_images)
    hub.repos["tester/tiny"].gated = True
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    home = {**clean, "HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "NO_COLOR": "1"}

    def sepcli(*words: str, **environment: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "sepcli", *words],
            capture_output=True,
            text=True,
            env={**home, **environment},
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    code, _, err = sepcli("fetch-priors", WORD)
    assert code == 4
    assert "tester/tiny" in err
    code, _, err = sepcli("fetch-priors", WORD, HF_TOKEN="hf_bad")
    assert code == 4
    assert "hf_bad" not in err
    words = ["separate", str(mixture), "--prior", WORD, "-o", str(tmp_path / "out"), "--set", "steps=1"]
    code, _, err = sepcli(*words, "--device", "cpu", HF_TOKEN="hf_good")
    assert (code, len(err.splitlines())) == (0, 1)
    assert WORD in err
    assert (tmp_path / "home" / "hub" / "models--tester--tiny").is_dir()
    hub.asked.clear()
    code, _, err = sepcli("fetch-priors", WORD, HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path / "empty"))
    assert code == 4
    assert WORD in err
    assert hub.asked == []


def test_a_bundled_prior_works_at_once() -> None:
    assert fetch(BUNDLED, "-q") == 0
    assert fetch(BUNDLED, "--offline", "--verify", "-q") == 0


def test_the_size_of_a_prior_is_that_of_all_its_networks(capsys: Captured) -> None:
    assert fetch("--list", "--json", "songs", "songs-drums", "songs-bass", "songs-other") == 0
    songs, *priors = (entry["bytes"] for entry in document(capsys))
    assert songs == sum(priors) > 1_000_000
