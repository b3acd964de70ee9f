"""Cards: written, read, found, refused."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sepcli.catalog import card as cards
from sepcli.catalog.card import Card
from sepcli.errors import OutputError, PriorError

CARD = Card(
    name="a",
    family="lass",
    sources=("drums", "bass"),
    weights=(0.5, 0.25),
    sample_rate=22050,
    title='Größe \N{EM DASH} "quoted"',
    settings={"sampler": "beam", "lam": 1.5, "width": 8},
    stream={"window": 3.0, "draws": 2},
    files={"codec/model.safetensors": {"sha256": "ab" * 32, "size": 3}},
    training={"codec": {"steps": 7, "hours_of_data": {"drums": 1.5}, "note": None}},
    figures={"sdr": {"drums": 10.0}},
)


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.toml").write_text(text, encoding="utf-8")
    return folder


PLAIN = 'name = "a"\nfamily = "lass"\nsources = ["x", "y"]\nweights = [1, 0.5]\nsample_rate = 8000\n'


def test_a_card_comes_back_as_it_was(tmp_path: Path) -> None:
    cards.write(CARD, tmp_path)
    training = {"codec": {"steps": 7, "hours_of_data": {"drums": 1.5}}}  # None has no place in TOML
    assert cards.read(tmp_path) == replace(CARD, training=training)
    assert os.listdir(tmp_path) == ["card.toml"]


def test_a_plain_card_has_defaults(tmp_path: Path) -> None:
    card = cards.read(write(tmp_path, PLAIN))
    assert card.weights == (1.0, 0.5)
    assert (card.title, card.settings, card.files) == ("", {}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", r"card\.toml"),
        ("\x00", r"card\.toml"),
        ('name = "a"\n', "sources"),
        (PLAIN + "nonsense = 1\n", "nonsense"),
        (PLAIN.replace('"a"', "7"), "name"),
        (PLAIN.replace("8000", '"fast"'), "sample_rate"),
        (PLAIN.replace("8000", "0"), "sample_rate"),
        (PLAIN.replace("[1, 0.5]", '["one", "half"]'), r"card\.toml"),
        (PLAIN.replace("[1, 0.5]", "[1]"), "weight"),
        (PLAIN.replace("[1, 0.5]", "[1, nan]"), "weights"),
        (PLAIN.replace("[1, 0.5]", "[1, 0]"), "weights"),
        (PLAIN.replace('"y"', '"x"'), "sources"),
        (PLAIN.replace('["x", "y"]', "[]").replace("[1, 0.5]", "[]"), "sources"),
        (PLAIN.replace('["x", "y"]', "3"), r"card\.toml"),
        (PLAIN + "settings = 3\n", "settings"),
        (PLAIN + 'files = ["a"]\n', "files"),
        (PLAIN + 'files = {a = "b"}\n', "sha256"),
        (PLAIN + "files = {a = {size = 1}}\n", "sha256"),
        (PLAIN + 'files = {a = {size = "1", sha256 = "00"}}\n', "size"),
        (PLAIN + "score = 3\n", "score"),
        (PLAIN + "training = {prior = 3}\n", "training"),
        (PLAIN + "score = {priors = 3}\n", "score"),
        (PLAIN + "score = {priors = [1, 2]}\n", "priors"),
        (PLAIN + 'score = {priors = ["a", "\\u001b[2J"]}\n', "priors"),
        (PLAIN + 'score = {priors = ["a"]}\n', "score"),
        (PLAIN + 'score = {priors = ["a", "b"], c = 1}\n', "score"),
        (PLAIN.replace('"lass"', '"score"') + 'score = {priors = ["a", "b"]}\n', "score"),
        (PLAIN + 'score = {priors = ["a", "../b"]}\n', r"card\.toml"),
        (PLAIN + 'score = {priors = ["/a", "b"]}\n', r"card\.toml"),
        (PLAIN + 'settings = {method = "score"}\n', "method"),
        (PLAIN + 'settings = {method = "nmf"}\nscore = {priors = ["a", "b"]}\n', "method"),
        (PLAIN + "revision = 7\n", "revision"),
        (PLAIN + 'title = "\\u001b[2J"\n', r"card\.toml"),
        (PLAIN + "resolution = [32]\n", "resolution"),
        (PLAIN + "resolution = [32, 0]\n", "resolution"),
        (PLAIN + "resolution = 32\n", r"card\.toml"),
    ],
)
def test_bad_cards_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PriorError, match=message) as refused:
        cards.read(write(tmp_path, text))
    assert str(tmp_path) in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "codec/../../x", "..\\\\x", "C:/x", "", "."])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    text = PLAIN + f'[files."{name}"]\nsha256 = "00"\nsize = 1\n'
    with pytest.raises(PriorError, match=r"card\.toml"):
        cards.read(write(tmp_path, text))


def test_a_card_of_images_on_the_hub(tmp_path: Path) -> None:
    card = replace(CARD, family="other", sample_rate=0, resolution=(32, 48), repo="a/b", revision="v1")
    cards.write(card, tmp_path)
    found = cards.read(tmp_path)
    assert (found.resolution, found.repo, found.revision) == ((32, 48), "a/b", "v1")


def test_names_and_folders_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "BUNDLED", tmp_path / "bundled")
    assert cards.names() == ()
    for name in ("slakh-drums-bass", "toy"):
        cards.write(replace(CARD, name=name), write(tmp_path / "bundled" / name, PLAIN))
    (tmp_path / "bundled" / "no-card").mkdir()
    assert cards.names() == ("slakh-drums-bass", "toy")
    card, folder = cards.find("toy")
    assert (card.name, folder) == ("toy", tmp_path / "bundled" / "toy")
    own = write(tmp_path / "own", PLAIN)
    assert cards.find(str(own)) == (cards.read(own), own)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("slakh-drum-bass", "slakh-drum-bass", "slakh-drums-bass"),
        ("zzzz", "zzzz", "slakh-drums-bass"),
        ("", "prior", "slakh-drums-bass"),
        ("x" * 300, "x" * 30, "slakh-drums-bass"),
        ("\x00", "prior", "slakh-drums-bass"),
        ("empty", "card.toml", "sepcli train-prior"),
    ],
)
def test_what_is_not_found(
    name: str, message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "BUNDLED", tmp_path / "bundled")
    write(tmp_path / "bundled" / "slakh-drums-bass", PLAIN)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PriorError) as refused:
        cards.find(name)
    assert message in refused.value.message
    assert hint in refused.value.hint
    assert refused.value.exit_code == 4


def test_the_files_of_a_folder_are_listed_and_verified(tiny_prior: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    shutil.copytree(tiny_prior, folder)
    (folder / "codec" / "history.json").write_text("[]")  # not part of the prior
    card = cards.with_files(cards.read(folder), folder)
    assert set(card.files) == {
        "codec/config.json",
        "codec/model.safetensors",
        "prior/config.json",
        "prior/model.safetensors",
        "table/table.safetensors",
    }
    cards.verify(card, folder)


@pytest.mark.parametrize("harm", ["flip", "cut", "grow", "remove", "folder"])
def test_changed_files_are_noticed(tiny_prior: Path, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "p"
    shutil.copytree(tiny_prior, folder)
    path = folder / "prior" / "model.safetensors"
    data = path.read_bytes()
    path.unlink()
    if harm == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "cut":
        path.write_bytes(data[:-1])
    elif harm == "grow":
        path.write_bytes(data + b"\0")
    elif harm == "folder":
        path.mkdir()
    with pytest.raises(PriorError, match=r"prior/model\.safetensors"):
        cards.verify(cards.read(folder), folder)


def test_a_card_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"card\.toml"):
        cards.write(CARD, tmp_path / "missing")
