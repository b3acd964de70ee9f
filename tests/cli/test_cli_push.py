"""``sepcli push-prior``: checks, a list, one commit through the Hub's client, and back."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from example_scripts import TOY_FLOWS
from hub_server import Hub
from msgspec import structs
from PIL import Image

from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.cli.app import run

WORD = "hf:tester/new"
CONFIG, WEIGHTS = "denoiser/config.json", "denoiser/model.safetensors"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tiny_images: Path, tmp_path: Path) -> Path:
    """A prior with a licence, and what a training leaves beside it."""
    prior = Path(shutil.copytree(tiny_images, tmp_path / "prior"))
    cards.write(structs.replace(cards.read(prior), licence="MIT", title="Small digits"), prior)
    (prior / "denoiser" / "history.jsonl").write_text("[]")
    return prior


@pytest.fixture
def token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")


def push(folder: Path, *arguments: str, to: str = WORD) -> int:
    return run(["push-prior", str(folder), to, *arguments])


def relist(folder: Path, **changes: Any) -> None:
    cards.write(structs.replace(cards.read(folder), **changes), folder)


def files_of(hub: Hub, name: str = "tester/new", revision: str = "main") -> dict[str, bytes]:
    repo = hub.repos[name]
    return repo.commits[repo.refs[revision]]


@pytest.mark.usefixtures("token")
def test_without_yes_it_lists_what_would_be_uploaded(hub: Hub, folder: Path, capsys: Captured) -> None:
    assert push(folder) == 0
    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    assert [row[0] for row in rows[1:-1]] == ["card.toml", CONFIG, WEIGHTS, "README.md"]
    assert rows[3][-1] == f"{(folder / WEIGHTS).stat().st_size:,}"
    assert WORD in captured.out.splitlines()[-1]
    assert "denoiser/history.jsonl" in captured.err
    assert "--yes" in captured.err
    assert push(folder, "--json", "-q") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["commit"], document["left_out"]) == (None, ["denoiser/history.jsonl"])
    assert document["bytes"] == sum(document["files"].values())
    assert hub.asked == []


@pytest.mark.usefixtures("token")
def test_a_pushed_prior_is_fetched_and_separates(
    hub: Hub, folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert push(folder, "--yes") == 0
    (line,) = capsys.readouterr().out.splitlines()
    there = files_of(hub)
    assert line.endswith(hub.repos["tester/new"].refs["main"])
    assert hub.pushed == 1
    for name in ("card.toml", CONFIG, WEIGHTS):
        assert there[name] == (folder / name).read_bytes()
    assert there.keys() == {".gitattributes", "README.md", "card.toml", CONFIG, WEIGHTS}
    _, head, body = there["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "mit"
    assert "--prior hf:tester/new" in body
    Image.fromarray(np.full((12, 12), 120, np.uint8)).save(tmp_path / "mix.png")
    assert run(["fetch-priors", WORD, "-q"]) == 0
    images = []
    for prior, out in ((WORD, "a"), (str(folder), "b")):
        words = ["separate", str(tmp_path / "mix.png"), "--prior", prior, "--set", "steps=2", "-q"]
        assert run([*words, "--device", "cpu", "-o", str(tmp_path / out)]) == 0
        images.append((tmp_path / out / "mix" / "digit-1.png").read_bytes())
    assert images[0] == images[1]


@pytest.mark.usefixtures("hub")
def test_paths_of_this_machine_in_the_card_are_named(folder: Path, capsys: Captured) -> None:
    assert push(folder) == 0
    assert "warning" not in capsys.readouterr().err
    parts = dict(cards.read(folder).parts)
    command = (
        "sepcli train-prior --data=/home/jane/digits --out C:\\jane\\out --note https://x.example/a/b and/or"
    )
    parts["denoiser"] = cards.Part("denoiser", {"command": command})
    relist(folder, parts=parts)
    assert push(folder) == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("warning"))
    assert line.endswith(": /home/jane/digits, C:\\jane\\out")


@pytest.mark.usefixtures("token")
def test_again_to_a_branch_private_with_its_own_model_card(hub: Hub, folder: Path, capsys: Captured) -> None:
    (folder / "README.md").write_text("---\nlicense: mit\n---\nMine\n")
    (folder / "LICENSE").write_text("MIT\n")
    assert push(folder, "--yes", "--private", "--revision", "v2", "--json") == 0
    commit = json.loads(capsys.readouterr().out)["commit"]
    repo = hub.repos["tester/new"]
    assert (repo.private, repo.refs["v2"]) == (True, commit)
    assert files_of(hub, revision="v2")["README.md"] == (folder / "README.md").read_bytes()
    assert "LICENSE" in files_of(hub, revision="v2")
    assert "card.toml" not in files_of(hub)
    assert push(folder, "--yes", "-q", to=f"{WORD}@v2") == 0
    assert push(folder, "--yes", "-q") == 0
    assert run(["fetch-priors", f"{WORD}@v2", WORD, "-q"]) == 0


@pytest.mark.usefixtures("token")
def test_priors_inside_a_prior_go_with_it(hub: Hub, tmp_path: Path) -> None:
    folder = shutil.copytree(TOY_FLOWS, tmp_path / "toys")
    assert push(folder, "--yes", "-q") == 0
    assert "priors/3/card.toml" in files_of(hub)
    assert run(["fetch-priors", WORD, "-q"]) == 0
    assert run(["fetch-priors", WORD, "--verify", "-q"]) == 0
    path = folder / "priors" / "3" / "flow" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert push(folder, "-q") == 4


@pytest.mark.usefixtures("token")
def test_a_prior_that_only_names_others_comes_back(hub: Hub, tmp_path: Path) -> None:
    folder = shutil.copytree(index.BUNDLED / "songs", tmp_path / "songs")
    assert push(folder, "--yes", "-q") == 0
    for _ in range(2):
        assert run(["fetch-priors", WORD, "-q"]) == 0
    assert run(["fetch-priors", WORD, "--verify", "--offline", "-q"]) == 0
    mixture = str(TOY_FLOWS.parents[1] / "song" / "mix.flac")
    assert run(["separate", mixture, "--prior", WORD, "--dry-run", "-q"]) == 0


def out_of_the_folder(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "elsewhere")
    (folder / WEIGHTS).symlink_to(folder.parent / "elsewhere")


def listed(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    relist(folder, files={**cards.read(folder).files, name: cards.entry(folder / name)})


def unlisted(folder: Path) -> None:
    files = dict(cards.read(folder).files)
    del files[CONFIG]
    relist(folder, files=files)


@pytest.mark.parametrize(
    ("spoil", "subject"),
    [
        (lambda f: (f / "card.toml").unlink(), "card.toml"),
        (lambda f: (f / "card.toml").write_text("x"), "card.toml"),
        (lambda f: relist(f, files={}), "card.toml"),
        (lambda f: (f / WEIGHTS).write_bytes(b"x"), WEIGHTS),
        (lambda f: (f / WEIGHTS).unlink(), WEIGHTS),
        (unlisted, CONFIG),
        (out_of_the_folder, WEIGHTS),
        (lambda f: listed(f, "extra.pt", pickle.dumps(1)), "extra.pt"),
        (lambda f: listed(f, "extra.safetensors", pickle.dumps(1)), "extra.safetensors"),
        (lambda f: listed(f, "extra.json", pickle.dumps(1)), "extra.json"),
    ],
)
@pytest.mark.usefixtures("token")
def test_a_faulty_prior_stays_here(
    hub: Hub, folder: Path, spoil: Any, subject: str, capsys: Captured
) -> None:
    spoil(folder)
    assert push(folder, "--yes") == 4
    captured = capsys.readouterr()
    assert subject in captured.err
    assert (captured.out, len(captured.err.splitlines())) == ("", 2)
    assert hub.asked == []


@pytest.mark.parametrize("to", ["tester/new", "hf:new", "hf:tester/new@a b", "mnist"])
def test_names_of_no_repository(folder: Path, to: str, capsys: Captured) -> None:
    assert push(folder, to=to) == 2
    assert to in capsys.readouterr().err or "@" in to


@pytest.mark.parametrize(
    ("secret", "to", "status", "code", "subject"),
    [
        (None, WORD, None, 1, "token"),
        ("hf_bad", WORD, None, 1, "401"),
        ("hf_good", "hf:other/new", None, 1, "403"),
        ("hf_good", WORD, 404, 1, "404"),
        ("hf_good", WORD, 503, 1, "503"),
    ],
)
def test_the_hub_refuses(
    hub: Hub, folder: Path, secret: str | None, to: str, status: int | None, code: int, subject: str,
    capsys: Captured,
) -> None:  # fmt: skip
    hub.status = status
    token = () if secret is None else ("--token", secret)
    assert push(folder, "--yes", "-q", *token, to=to) == code
    error = capsys.readouterr().err
    assert subject in error
    assert "hf_" not in error.lower().replace("hf_token", "")
    assert len(error.splitlines()) == 2
    assert hub.pushed == 0


@pytest.mark.usefixtures("token")
def test_offline(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert push(folder) == 0
        assert push(folder, "--yes") == 4
        assert "HF_HUB_OFFLINE" in capsys.readouterr().err
    assert hub.asked == []
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert push(folder, "--yes", "-q") == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.usefixtures("token")
def test_what_the_hub_leaves_out_is_noticed(hub: Hub, folder: Path, capsys: Captured) -> None:
    hub.ignored = {CONFIG}
    assert push(folder, "--yes", "-q") == 1
    assert CONFIG in capsys.readouterr().err


@pytest.mark.usefixtures("token")
def test_a_model_card_that_the_hub_refuses(hub: Hub, folder: Path, capsys: Captured) -> None:
    (folder / "README.md").write_text("---\nlicense: nonsense\n---\n")
    assert push(folder, "--yes", "-q") == 1
    assert "README.md" in capsys.readouterr().err
    assert hub.pushed == 0


@pytest.mark.usefixtures("hub")
def test_a_prior_that_names_others_needs_no_files(capsys: Captured) -> None:
    assert cards.read(index.BUNDLED / "songs").files == {}
    assert push(index.BUNDLED / "songs") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {row[0] for row in rows[1:-1]} == {"LICENSE", "README.md", "card.toml"}
